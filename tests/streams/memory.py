"""What do the state and the log look like without a database and a broker?

`MemoryWriter` and `MemoryLog` pass the same contract tests as `TimescaleWriter` and `KafkaLog`. What goes wrong is
scripted: each entry of `trouble` is met by one call, in order.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from schemas.errors import DependencyUnavailable
from schemas.kpi import ADDITIVE
from schemas.window import TIERS, Tier
from streams.core.batch import Arrival, DeadLetter, Record
from streams.core.fold import Cell, Cells, Fold, Folded, Key, added_up, no_cells
from streams.store.writer import Lane, LaneBatch, Outcome, Position, PositionMoved
from streams.versions import RegisteredPack, Version
from tests.streams import naive

Trouble = Callable[[], None]

Place = tuple[Tier, Key, int]
"""A bucket's row: tier, key and shard."""


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


class Kept(NamedTuple):
    """An event that was taken in, and the version that counted it."""

    arrival: Arrival
    version: Version


class Rows:
    """The KPI tables. A fold's open cells come first, then those that correct what has closed."""

    def __init__(self) -> None:
        """All buckets are empty."""
        self.now: dict[Place, Cell] = {}
        self.closed_with: dict[Place, Cell | None] = {}

    def add(self, folded: Folded, shard: int) -> None:
        """Adds what a batch brought."""
        for tier in TIERS:
            for key, cell in folded.cells[tier].items():
                self.put((tier, key, shard), cell)
            for key, cell in folded.late[tier].items():
                self.close((tier, key, shard))
                self.put((tier, key, shard), cell)
            for key, cell in folded.reported[tier].items():
                # The first report is what its bucket closes with, whatever row it lies in.
                if any(place[:2] == (tier, key) for place in self.now):
                    self.close((tier, key, shard))
                self.put((tier, key, shard), cell)

    def put(self, place: Place, cell: Cell) -> None:
        """Adds a cell to a row."""
        tier, key, _ = place
        self.now[place] = joined(tier, key, [self.now[place], cell]) if place in self.now else cell

    def close(self, place: Place) -> None:
        """Keeps what a bucket closed with, before it changes for the first time since."""
        self.closed_with.setdefault(place, self.now.get(place))

    @property
    def cells(self) -> dict[Tier, Cells]:
        """All rows, added up over shards."""
        return _over_shards(self.now)

    @property
    def first(self) -> dict[Tier, Cells]:
        """What all buckets closed with, or hold where they have not changed since."""
        rows = self.now | self.closed_with
        return _over_shards({place: cell for place, cell in rows.items() if cell is not None})


class MemoryWriter:
    """The Writer in a few dictionaries. A commit changes all of them without awaiting, so it is a transaction.

    It takes one event after the other, and asks of each anew which ones count now.
    """

    def __init__(self) -> None:
        """Nothing is known, and nothing goes wrong."""
        self.positions: dict[Lane, Position] = {}
        self.switches: dict[tuple[Lane, int], int] = {}
        self.sites: dict[int, RegisteredPack] = {}
        self.events: dict[tuple[str, str], Kept] = {}
        self.rows = Rows()
        self.trouble: deque[Trouble] = deque()
        self.commits = 0

    async def position(self, lane: Lane, topic_id: UUID) -> Position:
        """See Writer."""
        await self._meet_trouble()
        return self.positions.setdefault(lane, Position(topic_id, 0))

    async def site(self, number: int) -> RegisteredPack:
        """See Writer."""
        await self._meet_trouble()
        return self.sites[number]

    async def commit(self, batch: LaneBatch) -> Outcome:
        """See Writer."""
        lost = False
        try:
            await self._meet_trouble()
        except AnswerLost:
            lost = True
        before = self.positions.get(batch.lane)
        if before is None or before[:2] != batch.expected[:2] or before.site_version > batch.reached.site_version:
            raise PositionMoved
        if batch.arrivals:
            batch.version.fold(batch.arrivals)  # one that fails changes nothing
        counted = sum([self._take(batch, arrival) for arrival in batch.arrivals])
        self.positions[batch.lane] = batch.reached
        if before.site_version != batch.reached.site_version:
            self.switches[batch.lane, batch.reached.site_version] = before.next_offset
        self.commits += 1
        if lost:
            raise DependencyUnavailable("database", "its answer was lost")
        return Outcome(counted=counted, duplicates=len(batch.arrivals) - counted)

    def _take(self, batch: LaneBatch, arrival: Arrival) -> bool:
        """Whether it was new."""
        shard, fold = batch.lane.partition, batch.version.fold
        if not batch.unique:
            self.rows.add(fold([arrival]), shard)
            return True
        identity = (arrival.event.source, arrival.event.id)
        if identity in self.events:
            return False
        before = self._countable()
        self.events[identity] = Kept(arrival, batch.version)
        after = self._countable()
        for gone in before - after:
            self._retract(self.events[gone], arrival, shard, after - {identity})
        if identity in after:
            self.rows.add(fold([arrival]), shard)
        return True

    def _countable(self) -> set[tuple[str, str]]:
        counted = naive.countable(kept.arrival.event for kept in self.events.values())
        return {(event.source, event.id) for event in counted}

    def _retract(self, gone: Kept, cause: Arrival, shard: int, remaining: Collection[tuple[str, str]]) -> None:
        arrival = msgspec.structs.replace(gone.arrival, watermark_s=cause.watermark_s, logged_ms=cause.logged_ms)
        version, rows = gone.version, self.rows
        for part, is_closed in zip(version.fold([arrival]).parts, (False, True, True), strict=True):
            for tier, cells in part.items():
                for key, cell in cells.items():
                    adds_up = version.site.kpis.base(key[0]).measure in ADDITIVE
                    own = (tier, key, shard)
                    places = [own] if adds_up else [own, *(place for place in rows.now if place[:2] == own[:2])]
                    if is_closed:
                        for place in places:
                            rows.close(place)
                    if adds_up:
                        rows.put(own, _negative(cell))
                        continue
                    for place in places:
                        rows.now.pop(place, None)
                    found = self._found_anew(tier, key, version, remaining)
                    if found is not None:
                        rows.put(own, found)

    def _found_anew(
        self, tier: Tier, key: Key, version: Version, remaining: Collection[tuple[str, str]]
    ) -> Cell | None:
        fold = Fold([version.site.kpis.base(key[0])], version.site.areas)
        folded = fold([self.events[identity].arrival for identity in remaining])
        return folded.cells[tier].get(key) or folded.reported[tier].get(key)

    async def _meet_trouble(self) -> None:
        await asyncio.sleep(0)
        if self.trouble:
            self.trouble.popleft()()


def _negative(cell: Cell) -> Cell:
    """What takes a cell away again, of a measure that adds up."""
    bins = None if cell[4] is None else {bin_: -n for bin_, n in cell[4].items()}
    return [-cell[0], -cell[1], None, None, bins]


def joined(tier: Tier, key: Key, cells: Sequence[Cell]) -> Cell:
    """Cells of one bucket together."""
    folds = [
        Folded(cells=no_cells() | {tier: {key: cell}}, late=no_cells(), reported=no_cells(), touched={})
        for cell in cells
    ]
    return added_up(folds).cells[tier][key]


def _over_shards(rows: Mapping[Place, Cell]) -> dict[Tier, Cells]:
    found: dict[Tier, Cells] = no_cells()
    for (tier, key, _), cell in rows.items():
        cells = found[tier]
        cells[key] = joined(tier, key, [cells[key], cell]) if key in cells else cell
    return found


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

    async def between(self, lane: Lane, first_offset: int, before_offset: int) -> AsyncGenerator[Sequence[Record]]:
        """See Log. One record at a time."""
        await self._meet_trouble()
        for record in self.records.get(lane, []):
            if first_offset <= record.offset < before_offset:
                yield [record]

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """See Log."""
        await self._meet_trouble()
        self.dead.extend(letters)

    async def _meet_trouble(self) -> None:
        await asyncio.sleep(0)
        if self.trouble:
            self.trouble.popleft()()
