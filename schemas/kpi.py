"""What is an indicator, and how does it come out of what was added up?

A KPI is declared in the site pack. What events feed is a `Base`: `streams` adds up a `Partial` for each of its
buckets, and only what merges is stored, so any range of time and any set of areas can be put together on read. What
is computed from other indicators (a ratio, a balance, who is silent) is derived here, from the values of its bases.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Any, Literal

import msgspec
from msgspec import Struct

from schemas.case import Kind
from schemas.data_field import data_fields
from schemas.distinct import estimate
from schemas.filter import Filter, Where, compile_filter
from schemas.interval import UNKNOWN, Interval, difference, greatest, least, quotient, scaled, share
from schemas.period import Grain, grain_of
from schemas.sketch import quantile, quantile_range

DIM_SEPARATOR = "\x1f"
"""Between the dimension values of a bucket's key, in the order of the KPI's `dimensions`."""

ALL_DIM = ""
"""The dimension value of a KPI that has no dimension, and of an event that does not give it."""

SUPERVISION = "supervision"

_STEP = "ioc.case.step.v1"

MICRO = 1_000_000
"""Values are added up as whole millionths: a sum of integers is the same in every order."""

LATEST_BIN = -(2**31)
"""The bin of a `latest` row. `high` is when it was true (epoch seconds), `total` what it was; the last one holds."""


class Measure(StrEnum):
    """How events, or other indicators, become a number."""

    COUNT = "count"  # events
    SUM = "sum"  # of `value`
    MEAN = "mean"  # of `value`
    MIN = "min"  # of `value`
    MAX = "max"  # of `value`
    LATEST = "latest"  # the `value` that was true last in each area, put together `across` areas and dimensions
    PERCENTILE = "percentile"  # `q` of `value`
    DISTINCT = "distinct"  # different values of `of`
    IN_TIME = "in_time"  # the share of events whose `time` is not after the instant in `due`
    WITHIN = "within"  # the share of events whose `value` is at most `within_s`
    RATIO = "ratio"  # `numerator` over `denominator`, times `per`
    BALANCE = "balance"  # what `plus` has brought and `minus` has not taken away, since the beginning
    SILENT = "silent"  # how many of those that `of` has seen over `lookback_days` it does not see in the bucket


DERIVED = frozenset({Measure.RATIO, Measure.BALANCE, Measure.SILENT})
"""Measures that are computed from other indicators and store nothing."""

ADDITIVE = frozenset({Measure.COUNT, Measure.SUM, Measure.MEAN, Measure.PERCENTILE, Measure.IN_TIME, Measure.WITHIN})
"""Measures whose partials can be taken away again by adding their negative."""

Across = Literal["sum", "mean", "min", "max"]

Audience = Literal["all", "supervision"]
"""Whom an indicator is for. Complaints about officials are counted for supervising agencies alone: what is for all
counts none of them, and what is for supervision counts nothing else."""


class Operand(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A measure of events that belongs to one ratio and has no life of its own. Fields as in `Kpi`."""

    measure: Measure
    event: str
    value: str | None = None
    since: str | None = None
    due: str | None = None
    within_s: float | None = None
    of: str | None = None
    dimensions: list[str] = []
    where: Where = {}
    period: Grain | None = None
    across: Across = "sum"


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a KPI has to reach in [`start`, `end`) in an area and all below it. The narrowest target holds."""

    value: float
    area: str | None = None
    start: date | None = None
    end: date | None = None


class Thresholds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a value turns from good to a warning, and from a warning to bad; the KPI's direction says which side."""

    warning: float
    bad: float


class Kpi(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One indicator of the catalogue.

    `event`        the CloudEvents type that feeds it
    `value`        the field of the event's `data` to measure, a number
    `since`        instead of `value`: an instant in `data`; what is measured is the time from it to the event, in s
    `due`, `of`    fields of `data`: the instant for `in_time`, the name to tell apart for `distinct`
    `dimensions`   fields of `data` to split by
    `where`        which events count; see `schemas.filter`
    `period`       of what authorities report: the length of the periods whose reports count
    `across`       for `latest`: how the values of several areas or dimensions make one
    `numerator`, `denominator`   ids of other KPIs, or Operands
    `plus`, `minus`, `of` (for `silent`)   ids of other KPIs
    `direction`    which way is better
    `freshness_s`  without news for longer than this, the value on a board is stale
    `group`        with which others it is judged together, within its pillar
    `document`     where the indicator is laid down
    `audience`     whom it is for; see `Audience`
    """

    id: str
    names: dict[str, str]
    unit: str
    measure: Measure
    event: str | None = None
    value: str | None = None
    since: str | None = None
    due: str | None = None
    within_s: float | None = None
    q: float | None = None
    of: str | None = None
    dimensions: list[str] = []
    where: Where = {}
    period: Grain | None = None
    across: Across = "sum"
    numerator: str | Operand | None = None
    denominator: str | Operand | None = None
    per: float = 1.0
    plus: str | None = None
    minus: str | None = None
    lookback_days: int = 7
    pillar: str | None = None
    group: str | None = None
    owner: str | None = None
    document: str | None = None
    direction: Literal["higher", "lower"] | None = None
    thresholds: Thresholds | None = None
    target: list[Target] = []
    freshness_s: int = 900
    audience: Audience = "all"


class Base(Struct, frozen=True, kw_only=True):
    """A measure that events feed, under the id that its buckets are stored with. Fields as in `Kpi`.

    `conduct`  the categories of complaints about officials, where events of this type may be about one
    """

    id: str
    event: str
    measure: Measure
    value: str | None = None
    since: str | None = None
    due: str | None = None
    within_s: float | None = None
    of: str | None = None
    dimensions: tuple[str, ...] = ()
    where: Where = {}
    period: Grain | None = None
    across: Across = "sum"
    audience: Audience = "all"
    conduct: tuple[str, ...] = ()


class Partial(Struct, frozen=True, kw_only=True):
    """What is stored of a bucket, by dimension and sketch bin.

    `n` events; `total` the sum of what they measure (of 1 for an event in time, 0 for a late one), in the KPI's unit;
    `low`, `high` the extremes, kept for `min` and `max`; `sketch` a serialised `schemas.distinct` sketch.
    """

    dim: str = ALL_DIM
    bin: int = 0
    n: int
    total: float = 0.0
    low: float | None = None
    high: float | None = None
    sketch: bytes | None = None


class Value(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What people read. `value` is the headline; a ratio keeps its numerator and denominator.

    `value` is None when there is nothing to divide by: no closed report is not 0 % in time. Where a redrawn map makes
    an exact answer impossible, `exact` is false, `value` is what is certain, and the truth lies in [`lower`, `upper`]
    (None: no bound can be given).
    """

    value: float | None
    n: int
    numerator: float | None = None
    denominator: float | None = None
    p50: float | None = None
    p95: float | None = None
    exact: bool = True
    lower: float | None = None
    upper: float | None = None


def base_value(measure: Measure, partials: Iterable[Partial], q: float = 0.5, across: Across = "sum") -> Value:
    """Puts partials of any buckets, areas, dimensions and shards together and reads the measure off them."""
    rows = [row for row in partials if row.n or row.sketch is not None]
    if measure is Measure.LATEST:
        return _latest(rows, across)
    n = sum(row.n for row in rows)
    total = sum(row.total for row in rows)
    match measure:
        case Measure.COUNT:
            return Value(value=float(n), n=n)
        case Measure.SUM:
            return Value(value=total, n=n)
        case Measure.MEAN:
            return Value(value=total / n if n else None, n=n)
        case Measure.IN_TIME | Measure.WITHIN:
            return Value(value=total / n if n else None, n=n, numerator=total, denominator=float(n))
        case Measure.MIN:
            return Value(value=min((row.low for row in rows if row.low is not None), default=None), n=n)
        case Measure.MAX:
            return Value(value=max((row.high for row in rows if row.high is not None), default=None), n=n)
        case Measure.PERCENTILE:
            bins = [(row.bin, row.n) for row in rows]
            return Value(value=quantile(bins, q), n=n, p50=quantile(bins, 0.5), p95=quantile(bins, 0.95))
        case Measure.DISTINCT:
            found = estimate(row.sketch for row in rows if row.sketch is not None)
            return Value(value=found, n=int(found))
        case Measure.RATIO | Measure.BALANCE | Measure.SILENT:
            raise AssertionError(f"{measure} is derived")


def _latest(rows: Sequence[Partial], across: Across) -> Value:
    """The last value of each place and dimension; `n` is how many of them there are.

    A row of several (`n`) holds what they make together.
    """
    if len(rows) == 1:
        # Tables ask for thousands of places, each by itself.
        return Value(value=rows[0].total, n=rows[0].n)
    last: dict[str, Partial] = {}
    for row in rows:
        before = last.get(row.dim)
        if before is None or (row.high or 0.0, row.total) > (before.high or 0.0, before.total):
            last[row.dim] = row
    if not last:
        return Value(value=None, n=0)
    n, values = sum(row.n for row in last.values()), [row.total for row in last.values()]
    match across:
        case "sum":
            value = sum(values)
        case "mean":
            value = sum(row.total * row.n for row in last.values()) / n
        case "min":
            value = min(values)
        case "max":
            value = max(values)
    return Value(value=value, n=n)


def ratio_value(kpi: Kpi, numerator: Value, denominator: Value) -> Value:
    """`numerator` over `denominator`, times the KPI's `per`; within bounds where one of them is."""
    above, below = numerator.value, denominator.value
    value = None if above is None or not below else above / below * kpi.per
    ratio = Value(value=value, n=denominator.n, numerator=above, denominator=below)
    if numerator.exact and denominator.exact:
        return ratio
    return _within(ratio, scaled(quotient(_interval(numerator), _interval(denominator)), kpi.per))


def balance_value(plus: Value, minus: Value) -> Value:
    """What `plus` has brought and `minus` has not taken away. Both from the beginning to one moment."""
    value = None if plus.value is None or minus.value is None else plus.value - minus.value
    balance = Value(value=value, n=plus.n + minus.n)
    if plus.exact and minus.exact:
        return balance
    return _within(balance, difference(_interval(plus), _interval(minus)))


def silent_value(seen: Value, heard: Value) -> Value:
    """How many of those that were `seen` over the days looked back on were not `heard` in the bucket at their end.

    Both are distinct counts, of which the longer one holds the shorter one; beyond some thousands they are estimates.
    """
    value = None if seen.value is None or heard.value is None else max(0.0, seen.value - heard.value)
    silent = Value(value=value, n=seen.n)
    if seen.exact and heard.exact:
        return silent
    lower, upper = difference(_interval(seen), _interval(heard))
    return _within(silent, (None if lower is None else max(0.0, lower), None if upper is None else max(0.0, upper)))


class Catalogue:
    """All KPIs of a site by id, in the order of the file, and the bases that they are read from."""

    def __init__(self, kpis: Iterable[Kpi], conduct: Iterable[str] = ()) -> None:
        """Takes KPIs with distinct ids that name each other without circles (`kpi_table.parse_kpis` checks).

        `conduct` are the categories of complaints about officials.
        """
        self.kpis: tuple[Kpi, ...] = tuple(kpis)
        self._conduct = tuple(sorted(conduct))
        self._by_id: Mapping[str, Kpi] = {kpi.id: kpi for kpi in self.kpis}
        self._bases: dict[str, Base] = {}
        self._parts: dict[str, tuple[str, ...]] = {}
        for kpi in self.kpis:
            self._parts[kpi.id] = tuple(self._add(kpi))
        self._readers: dict[str, list[str]] = {}
        for kpi in self.kpis:
            for base in self.bases_of(kpi.id):
                self._readers.setdefault(base.id, []).append(kpi.id)

    def __contains__(self, kpi_id: object) -> bool:
        return kpi_id in self._by_id

    def __getitem__(self, kpi_id: str) -> Kpi:
        return self._by_id[kpi_id]

    @property
    def conduct(self) -> tuple[str, ...]:
        """The categories of complaints about officials."""
        return self._conduct

    @property
    def bases(self) -> tuple[Base, ...]:
        """Everything that events feed."""
        return tuple(self._bases.values())

    def base(self, base_id: str) -> Base:
        """The base of this id."""
        return self._bases[base_id]

    def bases_of(self, kpi_id: str) -> tuple[Base, ...]:
        """What a KPI is read from: itself where events feed it, else the bases of its parts, in their order."""
        found: dict[str, Base] = {}
        for part in self._parts[kpi_id]:
            if part in self._bases:
                found[part] = self._bases[part]
            else:
                found |= {base.id: base for base in self.bases_of(part)}
        return tuple(found.values())

    def parts_of(self, kpi_id: str) -> tuple[str, ...]:
        """Of a ratio the ids of numerator and denominator, of a balance those of plus and minus, else one id.

        Each is the id of a base or of another KPI.
        """
        return self._parts[kpi_id]

    def dimensions_of(self, kpi_id: str) -> tuple[str, ...]:
        """What a KPI can be split by: of a ratio what its numerator can, of a balance what both of its parts can."""
        if kpi_id not in self._by_id or self[kpi_id].measure not in DERIVED:
            return self.base(kpi_id).dimensions
        split = [self.dimensions_of(part) for part in self.parts_of(kpi_id)]
        if self[kpi_id].measure is Measure.RATIO:
            return split[0]
        return tuple(name for name in split[0] if all(name in names for names in split))

    def is_for_supervision(self, kpi_id: str) -> bool:
        """Whether an indicator, or one that it is computed from, is for supervising agencies alone."""
        pending, seen = [kpi_id], set[str]()
        while pending:
            one = pending.pop()
            if one in seen or one not in self:
                continue
            seen.add(one)
            if self[one].audience == SUPERVISION:
                return True
            pending += self._parts[one]
        return False

    def readers_of(self, base_id: str) -> Sequence[str]:
        """The KPIs whose value changes when this base does."""
        return self._readers.get(base_id, ())

    def fed_by(self, event_type: str) -> list[Base]:
        """The bases that events of this type feed."""
        return [base for base in self.bases if base.event == event_type]

    def _add(self, kpi: Kpi) -> Iterable[str]:
        if kpi.measure not in DERIVED:
            self._bases[kpi.id] = _base(kpi.id, kpi, kpi.audience, self._conduct)
            yield kpi.id
            return
        named = {"numerator": kpi.numerator, "denominator": kpi.denominator, "plus": kpi.plus, "minus": kpi.minus}
        if kpi.measure is Measure.SILENT:
            named = {"of": kpi.of}
        for part, operand in named.items():
            if isinstance(operand, str):
                yield operand
            elif operand is not None:
                id_ = f"{kpi.id}/{part}"
                self._bases[id_] = _base(id_, operand, kpi.audience, self._conduct)
                yield id_


def _base(id_: str, declared: Kpi | Operand, audience: Audience, conduct: tuple[str, ...]) -> Base:
    assert declared.event is not None, "events feed every base (`parse_kpis` checks)"
    # A site without such complaints asks no event whether it is one.
    is_told_apart = "category" in data_fields(declared.event)
    return Base(
        id=id_,
        event=declared.event,
        measure=declared.measure,
        value=declared.value,
        since=declared.since,
        due=declared.due,
        within_s=declared.within_s,
        of=declared.of,
        dimensions=tuple(declared.dimensions),
        where=declared.where,
        period=declared.period,
        across=declared.across,
        audience=audience,
        conduct=conduct if is_told_apart else (),
    )


def filter_of(base: Base) -> Filter:
    """Which events of its type a base counts.

    A year, its first quarter, month and day begin at one moment, and so share a bucket: only reports of one length
    count, or one would take another's place.
    """
    filter_, grain = _for_audience(base, compile_filter(base.where)), base.period
    if grain is None:
        return filter_

    def accepts(values: Sequence[Any]) -> bool:
        return grain_of(values[-1]) is grain and filter_.accepts(values[:-1])

    return Filter((*filter_.fields, "period"), accepts)


def _for_audience(base: Base, filter_: Filter) -> Filter:
    """The filter less complaints about officials, or for supervision these alone. A step of a case says its kind."""
    is_wanted = base.audience == SUPERVISION
    if not base.conduct and not is_wanted:
        return filter_
    field, words = ("kind", {Kind.CONDUCT.value}) if base.event == _STEP else ("category", frozenset(base.conduct))

    def accepts(values: Sequence[Any]) -> bool:
        return (values[-1] in words) is is_wanted and filter_.accepts(values[:-1])

    return Filter((*filter_.fields, field), accepts)


PartialsByBase = Mapping[str, Sequence[Partial]]
"""What is stored of some areas and buckets, by the id of the base. A base that is absent has nothing."""


def kpi_value(catalogue: Catalogue, kpi_id: str, partials_by_base: PartialsByBase) -> Value:
    """The value of a KPI, or of a part that `parts_of` names.

    A balance and a silent one look at other times than the bucket: whoever reads fetches their parts, and asks
    `balance_value` and `silent_value`; for a ratio that has such a part, `ratio_value`.
    """
    if kpi_id in catalogue and catalogue[kpi_id].measure is Measure.RATIO:
        numerator, denominator = catalogue.parts_of(kpi_id)
        return ratio_value(
            catalogue[kpi_id],
            kpi_value(catalogue, numerator, partials_by_base),
            kpi_value(catalogue, denominator, partials_by_base),
        )
    base = catalogue.base(kpi_id)
    return base_value(base.measure, partials_by_base.get(kpi_id, ()), _q(catalogue, kpi_id), base.across)


def bounds(catalogue: Catalogue, kpi_id: str, whole: PartialsByBase, partial: PartialsByBase) -> Value:
    """The value of what is certain, and between what the truth lies.

    All events of `whole` belong here, and of those of `partial` any part: the bounds hold whichever it is. Where the
    partial areas have nothing, the value is exact. Takes the same ids as `kpi_value`.
    """
    if kpi_id in catalogue and catalogue[kpi_id].measure is Measure.RATIO:
        kpi = catalogue[kpi_id]
        above_id, below_id = catalogue.parts_of(kpi_id)
        above = bounds(catalogue, above_id, whole, partial)
        below = bounds(catalogue, below_id, whole, partial)
        ratio = ratio_value(kpi, above, below)
        if ratio.exact or not _is_part_of(catalogue.base(above_id), catalogue.base(below_id)):
            return ratio
        hits, n, hits_more, n_more = (
            sum(row.n for row in rows.get(id_, ())) for rows in (whole, partial) for id_ in (above_id, below_id)
        )
        return _within(ratio, scaled(share(hits, n, hits_more, n_more), kpi.per))
    base = catalogue.base(kpi_id)
    certain = whole.get(kpi_id, ())
    possible = [row for row in partial.get(kpi_id, ()) if row.n or row.sketch is not None]
    value = base_value(base.measure, certain, _q(catalogue, kpi_id), base.across)
    return _within(value, _base_interval(base, certain, possible, _q(catalogue, kpi_id))) if possible else value


def _q(catalogue: Catalogue, kpi_id: str) -> float:
    q = catalogue[kpi_id].q if kpi_id in catalogue else None
    return 0.5 if q is None else q


def _base_interval(base: Base, certain: Sequence[Partial], possible: Sequence[Partial], q: float) -> Interval:
    n, n_more = sum(row.n for row in certain), sum(row.n for row in possible)
    total, total_more = sum(row.total for row in certain), sum(row.total for row in possible)
    match base.measure:
        case Measure.COUNT:
            return float(n), float(n + n_more)
        case Measure.SUM:
            return (total, total + total_more) if _is_non_negative(base) else UNKNOWN
        case Measure.IN_TIME | Measure.WITHIN:
            return share(total, n, total_more, n_more)
        case Measure.MIN:
            return least(_lows(certain), _lows(possible), _highs(possible))
        case Measure.MAX:
            return greatest(_highs(certain), _lows(possible), _highs(possible))
        case Measure.PERCENTILE:
            return quantile_range([(row.bin, row.n) for row in certain], [(row.bin, row.n) for row in possible], q)
        case Measure.DISTINCT:
            return estimate(_sketches(certain)), estimate(_sketches([*certain, *possible]))
        case Measure.MEAN | Measure.LATEST:
            # A mean of unknown values can lie anywhere, and the last report may be of either side.
            return UNKNOWN
        case Measure.RATIO | Measure.BALANCE | Measure.SILENT:
            raise AssertionError(f"{base.measure} is derived")


def _lows(rows: Iterable[Partial]) -> list[float]:
    return [row.low for row in rows if row.low is not None]


def _highs(rows: Iterable[Partial]) -> list[float]:
    return [row.high for row in rows if row.high is not None]


def _sketches(rows: Iterable[Partial]) -> list[bytes]:
    return [row.sketch for row in rows if row.sketch is not None]


def _is_non_negative(base: Base) -> bool:
    """Whether no event can take from a sum. The time that has passed is never negative."""
    return base.since is not None or (base.value is not None and data_fields(base.event)[base.value].non_negative)


def _is_part_of(above: Base, below: Base) -> bool:
    """Whether every event that `above` counts is one that `below` counts."""
    if not (above.measure is below.measure is Measure.COUNT) or above.event != below.event:
        return False
    if above.period is not below.period or above.audience != below.audience:
        return False
    if isinstance(above.where, list) or isinstance(below.where, list):
        return above.where == below.where
    return all(field in above.where and above.where[field] == check for field, check in below.where.items())


def _interval(value: Value) -> Interval:
    return (value.value, value.value) if value.exact else (value.lower, value.upper)


def _within(value: Value, interval: Interval) -> Value:
    return msgspec.structs.replace(value, exact=False, lower=interval[0], upper=interval[1])
