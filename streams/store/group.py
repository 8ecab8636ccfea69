"""How do lanes that want to commit at the same time share a transaction?

A small batch costs a transaction's round trips, whatever is in it. Under a load of small batches on many partitions
the lanes that wait while a transaction is under way go together into the next one; a lane that is alone waits for
nobody.
"""

import asyncio
from collections import deque
from typing import NamedTuple
from uuid import UUID

from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane, LaneBatch, Outcome, Position, PositionMoved
from streams.versions import RegisteredPack

TRANSACTIONS_MAX = 2
"""Transactions under way at once: while the database works on one, the worker folds the next."""

ARRIVALS_MAX = 20_000
"""Arrivals in one transaction, unless a single lane brings more. A long one would hold the change feed back."""


class _Waiting(NamedTuple):
    batch: LaneBatch
    outcome: asyncio.Future[Outcome]


class GroupCommit:
    """The Writer that lanes share."""

    def __init__(self, writer: TimescaleWriter) -> None:
        """Commits through `writer`, which others may use besides."""
        self._writer = writer
        self._waiting: deque[_Waiting] = deque()
        self._transactions: set[asyncio.Task[None]] = set()

    async def position(self, lane: Lane, topic_id: UUID) -> Position:
        """See Writer."""
        return await self._writer.position(lane, topic_id)

    async def site(self, number: int) -> RegisteredPack:
        """See Writer."""
        return await self._writer.site(number)

    async def commit(self, batch: LaneBatch) -> Outcome:
        """See Writer. A caller that is cancelled may have its batch committed all the same."""
        waiting = _Waiting(batch, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._begin()
        return await waiting.outcome

    def _begin(self) -> None:
        if self._waiting and len(self._transactions) < TRANSACTIONS_MAX:
            transaction = asyncio.create_task(self._commit_group())
            self._transactions.add(transaction)
            transaction.add_done_callback(self._end)

    def _end(self, transaction: asyncio.Task[None]) -> None:
        self._transactions.discard(transaction)
        self._begin()

    async def _commit_group(self) -> None:
        # Taken when the task runs, not when it is made: lanes that wake up in the same turn go together.
        group = self._take()
        if not group:
            return
        try:
            outcomes = await self._writer.commit_all([waiting.batch for waiting in group])
        except Exception as error:
            # Each lane decides by itself what the error means to it; the worker halts on what is not foreseen.
            for waiting in group:
                if not waiting.outcome.done():
                    waiting.outcome.set_exception(error)
            return
        for waiting, outcome in zip(group, outcomes, strict=True):
            if waiting.outcome.done():
                continue
            if outcome is None:
                waiting.outcome.set_exception(PositionMoved())
            else:
                waiting.outcome.set_result(outcome)

    def _take(self) -> list[_Waiting]:
        """What goes into the next transaction, in the order of coming; a lane's second batch waits for the next."""
        group: dict[Lane, _Waiting] = {}
        arrivals = 0
        while self._waiting:
            waiting = self._waiting[0]
            full = arrivals + len(waiting.batch.arrivals) > ARRIVALS_MAX
            if waiting.batch.lane in group or (group and full):
                break
            self._waiting.popleft()
            if not waiting.outcome.done():  # else its lane was taken away while it waited
                group[waiting.batch.lane] = waiting
                arrivals += len(waiting.batch.arrivals)
        return list(group.values())
