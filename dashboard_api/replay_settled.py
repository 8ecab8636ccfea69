"""Up to which moment is everything committed that says of itself when it happened?

A version's `at`, and an event's `committed_at`, are moments inside the transaction that writes them, and its commit
comes later. Whoever reads up to the present would so pass by what commits next with an earlier moment. A transaction
has its number before it takes such a moment: what had none when somebody looked takes a later one. So a moment is
settled when none of those that had a number then is running any more.
"""

from collections import deque
from datetime import datetime, timedelta
from typing import NamedTuple

from dashboard_api.database import Reader
from dashboard_api.statements import load_statements

LONGEST = timedelta(seconds=60)
"""A transaction that runs for longer is waited for no more: what it commits with a moment from before is not told."""

LOOKS_MAX = 256
"""Looks of which none has settled yet. Of more the newest stands for the one before it, so it is settled later."""

_SQL = load_statements("replay")


class Look(NamedTuple):
    """Which transactions had a number at a moment of the database's clock, or soon after it."""

    at: datetime
    running: frozenset[str]


class Settled:
    """What follows from all looks of a process. They come in order."""

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._looks: deque[Look] = deque()

    def after(self, look: Look) -> datetime:
        """Up to when everything is committed, for whoever begins to read after this look."""
        if len(self._looks) == LOOKS_MAX:
            self._looks.pop()
        self._looks.append(look)
        done = [at for at, one in enumerate(self._looks) if one.running.isdisjoint(look.running)]
        if done:
            self._at = self._looks[done[-1]].at
            for _ in range(done[-1] + 1):
                self._looks.popleft()
        oldest = look.at - LONGEST
        return oldest if self._at is None else max(self._at, oldest)


async def read_look(reader: Reader) -> Look:
    """Looks at what is running now. Not within a transaction that goes on to read: that sees less than it says."""
    row = await reader.fetchrow(_SQL["read_running"])
    assert row is not None, "it is one row"
    return Look(row["at"], frozenset(row["running"]))
