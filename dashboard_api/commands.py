"""What became of a command, and how is somebody told as soon as it is decided?

Whoever waits is entered in one list, and the list is looked up in one statement: at once when the workers say that
they committed, and now and then besides. So a thousand who wait cost the database as much as one.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from dashboard_api import metrics
from dashboard_api.config import DashboardConfig
from dashboard_api.database import Database, Reader
from dashboard_api.position import Position
from dashboard_api.statements import load_statements
from schemas.case import Refusal
from schemas.command import Actor
from schemas.errors import DependencyUnavailable

WAIT_MAX_S = 30.0
"""Nobody waits longer in one request."""

GAP_S = 0.01
"""Between two looks at the list, however many commits there are."""

CITIZEN_CHARS = 16
"""Of the hash of a tracking secret that stand in the source of a citizen's commands."""

_SQL = load_statements("commands")
_log = logging.getLogger(__name__)


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a command. `pending`: it has not been decided yet, or nobody has ever sent it.

    `case` is what it was about, `case_state` and `version` how that stood after the decision.
    """

    id: str
    source: str
    state: Literal["pending", "applied", "rejected"]
    case: str | None = None
    action: str | None = None
    reason: str | None = None
    detail: str = ""
    case_state: str | None = None
    version: int | None = None
    made_at: datetime | None = None
    decided_at: datetime | None = None


Key = tuple[str, str]
"""A command's source and id."""


def source_of(actor: Actor) -> str:
    """What stands as the source in the events of somebody's commands."""
    return f"citizen:{actor.tracking[:CITIZEN_CHARS]}" if actor.tracking is not None else f"person:{actor.id}"


async def read_outcomes(reader: Reader, keys: Collection[Key]) -> dict[Key, Outcome]:
    """The outcomes of those that have been decided."""
    rows = await reader.fetch(_SQL["outcomes"], [source for source, _ in keys], [id_ for _, id_ in keys])
    return {(row["source"], row["id"]): _outcome(row) for row in rows}


async def read_decided(
    reader: Reader, after: Position, through: Position, sources: Collection[str], limit: int
) -> list[tuple[int, Outcome]]:
    """What was decided in (after, through] of these sources' commands, each with its transaction; at most `limit`."""
    rows = await reader.fetch(_SQL["decided_between"], str(after.xid), str(through.xid), sorted(sources), limit)
    return [(row["xid"], _outcome(row)) for row in rows]


def outcome_text(outcome: Outcome) -> str:
    """An outcome as the live feed tells it."""
    return msgspec.json.encode(outcome).decode()


class Waiting:
    """Those who wait for outcomes, in one process. Beyond `waiters_max` nobody waits: the answer is what is known."""

    def __init__(self, config: DashboardConfig, database: Database) -> None:
        self._database = database
        self._bounds = config.bounds
        self._waiters: dict[Key, set[asyncio.Future[Outcome]]] = {}
        self._count = 0
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something was committed, or somebody began to wait."""
        self._wake.set()

    async def outcome(self, key: Key, wait_s: float) -> Outcome:
        """The outcome, as soon as it is there, and at the latest after so long. Raises DependencyUnavailable."""
        pending = Outcome(id=key[1], source=key[0], state="pending")
        if wait_s <= 0 or self._count >= self._bounds.waiters_max:
            async with self._database.reading("commands") as reader:
                return (await read_outcomes(reader, [key])).get(key, pending)
        async with self._entered(key) as waiter:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, WAIT_MAX_S)):
                    return await waiter
        return pending

    async def run(self) -> None:
        """Looks the list up whenever it is woken, and every `poll_s` while somebody waits. Never ends by itself."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._bounds.poll_s if self._waiters else None):
                    await self._wake.wait()
            self._wake.clear()
            if not self._waiters:
                continue
            try:
                await self._look()
            except Exception:
                # Those who wait are answered `pending` in time; the next look may find what this one did not.
                _log.exception("outcomes could not be looked up")
            await asyncio.sleep(GAP_S)

    async def _look(self) -> None:
        keys = list(self._waiters)
        try:
            async with self._database.reading("commands") as reader:
                found = await read_outcomes(reader, keys)
        except DependencyUnavailable as away:
            if self._database.state.state == "up":
                # It was only too slow this once: all who wait would be told that it is away.
                return
            for key in keys:
                for waiter in self._waiters.get(key, ()):
                    if not waiter.done():
                        waiter.set_exception(away)
            return
        for key, outcome in found.items():
            for waiter in self._waiters.get(key, ()):
                if not waiter.done():
                    waiter.set_result(outcome)

    @asynccontextmanager
    async def _entered(self, key: Key) -> AsyncGenerator["asyncio.Future[Outcome]"]:
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(key, set()).add(waiter)
        self._count += 1
        metrics.WAITERS.set(self._count)
        self.wake()
        try:
            yield waiter
        finally:
            waiters = self._waiters[key]
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[key]
            self._count -= 1
            metrics.WAITERS.set(self._count)
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # looked at, so that nobody warns of one that came too late


# asyncpg's records have no column types.
def _outcome(row: Any) -> Outcome:  # noqa: ANN401
    # Nothing is said of a case to somebody who may not know that it exists.
    is_hidden = row["reason"] == Refusal.UNKNOWN_CASE
    return Outcome(
        id=row["id"],
        source=row["source"],
        state="applied" if row["is_applied"] else "rejected",
        case=row["subject"],
        action=row["action"],
        reason=row["reason"],
        detail=row["detail"],
        case_state=None if is_hidden else row["state"],
        version=None if is_hidden else row["version"],
        made_at=row["made_at"],
        decided_at=row["decided_at"],
    )
