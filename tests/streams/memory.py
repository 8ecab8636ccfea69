"""What do the state and the log look like without a database and a broker?

`MemoryWriter` and `MemoryLog` pass the same contract tests as `TimescaleWriter` and `KafkaLog`. What goes wrong is
scripted: each entry of `trouble` is met by one call, in order.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from uuid import UUID

from schemas.errors import DependencyUnavailable
from schemas.window import TIERS, Tier
from streams.core.batch import Arrival, DeadLetter, Record
from streams.core.fold import Cell, Cells
from streams.store.writer import Lane, LaneBatch, Outcome, Position, PositionMoved

Trouble = Callable[[], None]


def away(dependency: str = "database") -> Trouble:
    """The dependency does not answer: nothing happens."""

    def trouble() -> None:
        raise DependencyUnavailable(dependency, "it is away")

    return trouble


class AnswerLost(Exception):
    """What is asked for happens, but whoever asked hears that the dependency is away."""


def answer_lost() -> None:
    """The answer does not come back."""
    raise AnswerLost


def works() -> None:
    """Nothing goes wrong this time."""


class MemoryWriter:
    """The Writer in a few dictionaries. A commit changes all of them without awaiting, so it is a transaction."""

    def __init__(self) -> None:
        """Nothing is known, and nothing goes wrong."""
        self.positions: dict[Lane, Position] = {}
        self.events: dict[tuple[str, str], Arrival] = {}
        self.cells: dict[Tier, Cells] = {tier: {} for tier in TIERS}
        self.trouble: deque[Trouble] = deque()
        self.commits = 0

    async def position(self, lane: Lane, topic_id: UUID) -> Position:
        """See Writer."""
        await self._meet_trouble()
        return self.positions.setdefault(lane, Position(topic_id, 0))

    async def commit(self, batch: LaneBatch) -> Outcome:
        """See Writer."""
        lost = False
        try:
            await self._meet_trouble()
        except AnswerLost:
            lost = True
        if self.positions.get(batch.lane) != batch.expected:
            raise PositionMoved
        counted: list[Arrival] = []
        kept = dict(self.events)
        for arrival in batch.arrivals:
            identity = (arrival.event.source, arrival.event.id)
            if not batch.unique or identity not in kept:
                counted.append(arrival)
            if batch.unique:
                kept.setdefault(identity, arrival)
        folded = batch.fold(counted)
        self.positions[batch.lane] = Position(batch.expected.topic_id, batch.next_offset)
        self.events = kept
        for tier, cells in folded.cells.items():
            for key, cell in cells.items():
                _add(self.cells[tier], key, cell)
        self.commits += 1
        if lost:
            raise DependencyUnavailable("database", "its answer was lost")
        return Outcome(counted=len(counted), duplicates=len(batch.arrivals) - len(counted))

    async def _meet_trouble(self) -> None:
        await asyncio.sleep(0)
        if self.trouble:
            self.trouble.popleft()()


class MemoryLog:
    """The Log as lists of records."""

    def __init__(self) -> None:
        """There are no topics."""
        self.ids: dict[str, UUID] = {}
        self.records: dict[Lane, list[Record]] = {}
        self.dead: list[DeadLetter] = []
        self.trouble: deque[Trouble] = deque()

    def append(self, lane: Lane, records: Sequence[Record]) -> None:
        """Puts records on a partition."""
        self.records.setdefault(lane, []).extend(records)

    async def topic_id(self, topic: str) -> UUID | None:
        """See Log."""
        await self._meet_trouble()
        return self.ids.get(topic)

    async def end(self, lane: Lane) -> int:
        """See Log."""
        await self._meet_trouble()
        records = self.records.get(lane)
        return records[-1].offset + 1 if records else 0

    async def tail(self, lane: Lane, before_offset: int, horizon_ms: int) -> AsyncGenerator[Sequence[Record]]:
        """See Log. One record at a time, so that whoever reads must put them together."""
        await self._meet_trouble()
        below = [record for record in self.records.get(lane, []) if record.offset < before_offset]
        for record in below:
            if record.timestamp >= below[-1].timestamp - horizon_ms:
                yield [record]

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """See Log."""
        await self._meet_trouble()
        self.dead.extend(letters)

    async def _meet_trouble(self) -> None:
        await asyncio.sleep(0)
        if self.trouble:
            self.trouble.popleft()()


def _add(cells: Cells, key: tuple[str, str, str, int, int], addend: Cell) -> None:
    kept = cells.get(key)
    if kept is None:
        cells[key] = list(addend)
    else:
        cells[key] = [kept[0] + addend[0], kept[1] + addend[1], min(kept[2], addend[2]), max(kept[3], addend[3])]
