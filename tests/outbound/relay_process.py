"""A relay that is killed after its receiver has a message and before that is noted: `url`."""

import asyncio
import os
import signal
import sys

from streams.outbound.channels import Failure, Webhook
from streams.outbound.relay import Relay
from streams.store.outbox import Claimed, Outbox


class Killed:
    """A webhook whose process ends as soon as the receiver has answered."""

    def __init__(self) -> None:
        self._webhook = Webhook()

    async def __call__(self, claimed: Claimed) -> Failure | None:
        """See Channel."""
        assert await self._webhook(claimed) is None
        os.kill(os.getpid(), signal.SIGKILL)
        return None


if __name__ == "__main__":
    asyncio.run(Relay(Outbox(sys.argv[1]), {"webhook": Killed()}).run(asyncio.Event()))
