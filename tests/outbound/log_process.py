"""What writes to the log and is killed when the broker has it, before that is noted: `url kafka prefix`."""

import asyncio
import os
import signal
import sys
from typing import Any

from streams.outbound.log_channel import LogChannel


class Killed(LogChannel):
    """A channel whose process ends as soon as the broker has acknowledged."""

    async def _send(self, rows: Any) -> Any:
        outcomes = await super()._send(rows)
        if all(outcome is None for outcome in outcomes):
            os.kill(os.getpid(), signal.SIGKILL)
        return outcomes


if __name__ == "__main__":
    asyncio.run(Killed(*sys.argv[1:4]).run(asyncio.Event()))
