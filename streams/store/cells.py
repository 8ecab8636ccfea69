"""How do a fold's cells become rows?

Histograms and sketches do not add up in SQL: a bucket's own row is read, merged here and written back. Nobody else
writes that row, for each partition has rows of its own and its position is held; and the row is held from the reading
on, so that it is not merged away (`streams.maintenance`) in between.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from schemas.distinct import merge, sketch_of
from schemas.sketch import encode_bins, merge_bins
from schemas.statements import for_tier, parse_statements
from schemas.window import TIERS, Tier
from streams.core.fold import Cells, Folded, Key

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]"

# What is wrong with the data stays wrong: classes 21, 22, 23 and 54, and what asyncpg cannot encode.
REFUSED = (
    asyncpg.CardinalityViolationError,
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)

Place = tuple[Tier, int, Key]
"""A bucket's row: its tier, shard and key."""

MERGED_SHARD = -1
"""The shard of rows that were merged once their bucket had closed for all partitions."""

Items = set[str] | dict[int, int]
"""What a sketch takes in: different values, or the counts of a histogram by its bins."""

Learned = dict[Place, set[str]]

ITEMS_MAX = 500_000
"""Items of sketches that one worker remembers having stored. When they are full all are forgotten, and read again."""

SQL = parse_statements((files("streams.store") / "statements.sql").read_text())


def _all_tiers(name: str) -> str:
    """A statement on all three tables at once, for on small batches it is the round trips that cost."""
    *others, last = (for_tier(f"{SQL[name]} {SQL['merge']}", tier) for tier in TIERS)
    parts = [f"given AS ({SQL['given_cells']})", *(f"tier_{at} AS ({one})" for at, one in enumerate(others))]
    return f"WITH {', '.join(parts)} {last}"


_ADD = _all_tiers("add")
_CORRECT = _all_tiers("correct")
_TABLES = {tier: f"kpi_{tier.value}" for tier in TIERS}


class KnownItems:
    """Which items the sketches on disk hold already, as far as this process knows.

    A detection names a camera that the bucket has seen thousands of times: then nothing has to be written.
    """

    def __init__(self, items_max: int = ITEMS_MAX) -> None:
        """Knows nothing."""
        self._items_max = items_max
        self._known: Learned = {}
        self._size = 0

    def unknown(self, place: Place, items: set[str]) -> set[str]:
        """Those of the items that may be new to a bucket."""
        known = self._known.get(place)
        return items - known if known else items

    def learn(self, learned: Learned) -> None:
        """Notes what has been committed."""
        for place, items in learned.items():
            known = self._known.setdefault(place, set())
            self._size += len(items - known)
            known |= items
        if self._size > self._items_max:
            self._known.clear()
            self._size = 0


async def write_cells(
    connection: Connection, added: Sequence[tuple[int, Folded]], known: KnownItems | None = None
) -> Learned:
    """Adds the cells of folds, each with its shard. Returns what `known` may learn once it is committed."""
    learned: Learned = {}
    sketches = await _merged(connection, added, known, learned)
    for number in range(3):
        rows = [
            row
            for shard, folded in added
            for tier, cells in folded.parts[number].items()
            for row in _rows(tier, shard, cells, sketches[number])
        ]
        if not rows:
            continue
        columns = list(zip(*rows, strict=True))
        if number == 0:
            await connection.execute(_ADD, *columns)
        else:
            await connection.execute(_CORRECT, *columns, number == 2)
    return learned


def _rows(tier: Tier, shard: int, cells: Cells, sketches: Mapping[Place, bytes]) -> Iterable[tuple[object, ...]]:
    table = _TABLES[tier]
    for key, (n, total, low, high, items) in cells.items():
        if items is None:
            yield table, shard, *key, n, str(total), low, high, None
        elif (sketch := sketches.get((tier, shard, key))) is not None:
            yield table, shard, *key, n, str(total), low, high, sketch


async def _merged(
    connection: Connection, added: Sequence[tuple[int, Folded]], known: KnownItems | None, learned: Learned
) -> tuple[dict[Place, bytes], dict[Place, bytes], dict[Place, bytes]]:
    """The sketches to write, one mapping for each part of a fold; what brings nothing new is left out."""
    results: tuple[dict[Place, bytes], dict[Place, bytes], dict[Place, bytes]] = ({}, {}, {})
    wanted: list[tuple[int, Place, Items]] = []
    for shard, folded in added:
        for number, part in enumerate(folded.parts):
            for tier, cells in part.items():
                for key, cell in cells.items():
                    if cell[4] is None:
                        continue
                    place = (tier, shard, key)
                    items: Items = cell[4]
                    if known is not None and isinstance(items, set):
                        items = known.unknown(place, items)
                    if items:
                        wanted.append((number, place, items))
    if not wanted:
        return results
    stored = await _stored(connection, {place for _, place, _ in wanted})
    for number, place, items in wanted:
        present = [] if place not in stored else [stored[place]]
        if isinstance(items, set):
            sketch = merge([*present, sketch_of(items)])
            learned.setdefault(place, set()).update(items)
        else:
            sketch = encode_bins(merge_bins([*present, encode_bins(items)]))
        stored[place] = results[number][place] = sketch
    return results


async def _stored(connection: Connection, places: set[Place]) -> dict[Place, bytes]:
    found: dict[Place, bytes] = {}
    for tier in TIERS:
        some = [place for place in places if place[0] is tier]
        if not some:
            continue
        keys = [(key[0], key[1], key[4], key[2], shard) for _, shard, key in some]
        for row in await connection.fetch(for_tier(SQL["read_sketches"], tier), *zip(*keys, strict=True)):
            found[some[row["ordinal"] - 1]] = row["sketch"]
    return found


async def empty_cells(connection: Connection, keys: Mapping[Tier, Mapping[Key, bool]]) -> None:
    """Takes everything out of these buckets, in every shard; the value says whether the bucket had closed."""
    for tier, closed in keys.items():
        if closed:
            rows = [(*key, is_closed) for key, is_closed in closed.items()]
            await connection.execute(for_tier(SQL["empty"], tier), *zip(*rows, strict=True))
