"""A worker that looks at rules a few steps at a time, and is killed by SIGKILL at some statement."""

import asyncio
import os
import random
import signal
import sys
from typing import Any

import asyncpg

from streams.alerts import look as looking
from streams.alerts.look import claim, commit, look_at
from tests.alerts.hall import version_of
from tests.alerts.rules import MANY

STATEMENTS_MAX = 100
"""A look at a rule takes about a dozen statements."""


class Deadly:
    """A connection that ends its process at one of its statements."""

    def __init__(self, connection: Any, statements: int) -> None:
        self._connection = connection
        self._left = statements

    def __getattr__(self, name: str) -> Any:
        if name in {"fetch", "fetchval", "fetchrow", "execute"}:
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return getattr(self._connection, name)


async def main(database_url: str, now_s: float) -> None:
    """Looks until nothing is left to decide, or until it is killed."""
    looking.STEPS_MAX = 12
    looking.LEASE_S = 0.1
    version = version_of(MANY)
    connection: Any = Deadly(await asyncpg.connect(database_url), random.randrange(STATEMENTS_MAX))
    while (claimed := await claim(connection, version.site)) is not None:
        found = await look_at(connection, version.site, claimed, now_s)
        await commit(connection, version.site, claimed, found)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
