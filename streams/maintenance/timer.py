"""Who does what is due?

A timer is a row. Whoever is up claims it when it is due, and sets it anew in the transaction that does the work: of
several workers one does it, and one that is killed has done nothing.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import StrEnum
from importlib.resources import files
from typing import Literal

from schemas.statements import parse_statements
from streams.repair.history import REPAIR
from streams.store.cells import Connection
from streams.store.timescale import FENCE

SQL = parse_statements((files("streams.maintenance") / "maintenance.sql").read_text())


class Timer(StrEnum):
    """What is due from time to time. The value is the row's name."""

    RETENTION = "retention"
    COMPACTION = "compaction"
    ACROSS = "across"
    HISTORY = "history"


class Claim:
    """A timer that is held. `rearm` says what came of it, and when it is due again."""

    def __init__(self, connection: Connection, timer: Timer) -> None:
        self._connection = connection
        self._timer = timer

    async def rearm(self, after_s: float, outcome: str) -> None:
        """Sets the timer anew."""
        await self._connection.execute(SQL["rearm"], self._timer.value, after_s, outcome)


async def is_due(connection: Connection, timer: Timer) -> bool:
    """Whether a timer is due, and nobody is putting anything right."""
    due: bool = await connection.fetchval(SQL["is_due"], timer.value)
    return due and not await connection.fetchval(SQL["is_repairing"], REPAIR)


@asynccontextmanager
async def claimed(
    connection: Connection, timer: Timer, isolation: Literal["read_committed", "repeatable_read"] = "read_committed"
) -> AsyncGenerator[Claim | None]:
    """A transaction that holds a timer, and keeps corrections and rebuilds out. None where one of those or another
    worker is at it.
    """
    async with connection.transaction(isolation=isolation):
        is_held = await connection.fetchval(SQL["claim"], timer.value) is not None
        is_free = is_held and await connection.fetchval(SQL["try_fence"], FENCE)
        yield Claim(connection, timer) if is_free else None
