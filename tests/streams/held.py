"""What does a bucket hold, whoever counted it: the fold, the tables, or `tests.streams.naive`?"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from schemas.distinct import estimate
from schemas.exercise import is_drill
from schemas.sketch import bin_of, merge_bins
from schemas.window import Tier
from streams.core.fold import Cells, Folded, added_up
from tests.streams.naive import Amount, Bucket

_LATEST_BIN = -(2**31)


class Held(NamedTuple):
    """`total` is in millionths; `bins` are of all values of a histogram, in order; `different` how many items."""

    n: int
    total: int
    low: float | None
    high: float | None
    bins: tuple[int, ...]
    different: int


Buckets = dict[Bucket, Held]
"""All buckets of real events that hold something; those of drills are looked at apart (`test_exercise`)."""


def of_amounts(amounts: Mapping[Bucket, Amount]) -> Buckets:
    """As it was counted by hand."""
    return _filled(
        (bucket, Held(one.n, one.total, one.low, one.high, tuple(sorted(map(bin_of, one.values))), len(one.items)))
        for bucket, one in amounts.items()
    )


def of_cells(tiers: Mapping[Tier, Cells]) -> Buckets:
    """As it was folded."""
    return _filled(
        ((tier.value, kpi, area, dim, start_s), _of_cell(cell))
        for tier, cells in tiers.items()
        for (kpi, area, dim, _, start_s), cell in cells.items()
    )


def of_folds(folds: Iterable[Folded]) -> Buckets:
    """As it was folded in batches, whether the buckets had closed or not."""
    parts = [part for folded in folds for part in folded.parts]
    if not parts:
        return {}
    none: dict[Tier, Cells] = {tier: {} for tier in Tier}
    return of_cells(added_up([Folded(cells=part, late=none, reported=none, touched={}) for part in parts]).cells)


def of_rows(tier: Tier, rows: Iterable[Mapping[str, Any]], *, first: bool = False) -> Buckets:
    """As it is stored, with all shards together; or as it was stored when the buckets closed."""
    shards: dict[Bucket, list[Mapping[str, Any]]] = {}
    for row in rows:
        bucket = (tier.value, row["kpi"], row["area"], row["dim"], int(row["bucket"].timestamp()))
        shards.setdefault(bucket, []).append(row)
    return _filled((bucket, _of_rows(some, first=first)) for bucket, some in shards.items())


def _of_cell(cell: list[Any]) -> Held:
    n, total, low, high, items = cell
    if isinstance(items, dict):
        bins = tuple(bin_ for bin_, times in sorted(items.items()) for _ in range(times))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return Held(n, total, low, high, bins, 0)
    return Held(n, total, low, high, (), len(items or ()))


def _of_rows(rows: list[Mapping[str, Any]], *, first: bool) -> Held:
    def read(row: Mapping[str, Any], name: str) -> Any:
        return row[f"first_{name}"] if first and row["first_n"] is not None else row[name]

    n = sum(read(row, "n") for row in rows)
    totals = [Decimal(read(row, "total") or 0) for row in rows]
    assert all(total == int(total) for total in totals)
    lows = [read(row, "low") for row in rows if read(row, "low") is not None]
    highs = [read(row, "high") for row in rows if read(row, "high") is not None]
    sketches = [read(row, "sketch") for row in rows if read(row, "sketch") is not None]
    total = int(sum(totals))
    if rows[0]["bin"] == _LATEST_BIN:
        total = int(max(((read(row, "high") or 0.0, one) for row, one in zip(rows, totals, strict=True)))[1])
    bins: tuple[int, ...] = ()
    different = 0
    if sketches and all(row["n"] == 0 and row["first_n"] in (None, 0) for row in rows):
        different = int(estimate(sketches))
    elif sketches:
        bins = tuple(bin_ for bin_, times in sorted(merge_bins(sketches).items()) for _ in range(times))
    return Held(n, total, min(lows, default=None), max(highs, default=None), bins, different)


def _filled(buckets: Iterable[tuple[Bucket, Held]]) -> Buckets:
    return {bucket: held for bucket, held in buckets if (held.n or held.different) and not is_drill(bucket[1])}
