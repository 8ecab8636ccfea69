"""When does a figure call for somebody?

A rule of `alerts.toml` looks at one indicator, or at the events of one type, in each of its areas and, where it is
split (`by`), for each value of a dimension: each of these is a series. At every step of the rule's own width the
series has a reading, and `streams.core.alert` says what comes of it.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from schemas.area_id import AreaId
from schemas.case import Severity
from schemas.filter import Where
from schemas.window import MINUTE_S, Tier, bucket_end, bucket_start

ALERTS_FILE = "alerts.toml"

RULES_MAX = 200
"""Rules of one site. A file with more is refused: each is looked at every few seconds."""

SERIES_MAX = 5_000
"""Series of one rule. Further ones, in the order of area and dimension value, are not looked at, and a metric says
so; those that fire or are about to come first."""

MEMBERS_SHOWN_MAX = 20
"""Series that the text of one alert names; of further ones only the number is given."""

PAST_MAX = 1_000
"""Past steps that a deviation is measured against; a rule that asks for more is refused."""

WEEK_DAYS = 7

RuleId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
"""It is part of ids that cases are known by."""

Seconds = Annotated[float, Meta(ge=0, le=30 * 86_400)]


class Every(StrEnum):
    """The widths of a rule's steps."""

    MINUTE = "minute"
    FIVE_MINUTES = "5m"
    QUARTER_HOUR = "15m"
    HOUR = "hour"
    DAY = "day"


_MINUTES = {Every.MINUTE: 1, Every.FIVE_MINUTES: 5, Every.QUARTER_HOUR: 15}

SHORTEST_S = {every: minutes * MINUTE_S for every, minutes in _MINUTES.items()} | {
    Every.HOUR: 3_600,
    Every.DAY: 23 * 3_600,
}
"""How long a step lasts at least, to reckon how much a rule reads."""


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a number calls for somebody: above one limit, below another, or either.

    `margin` is the hysteresis: what has called is over only when the number is back within the limit by so much.
    """

    above: float | None = None
    below: float | None = None
    margin: Annotated[float, Meta(ge=0)] = 0.0


class Threshold(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the value itself."""


class Change(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of how much the value has changed in `steps` steps; `relative`: as a share of what it was."""

    steps: Annotated[int, Meta(ge=1, le=10_000)] = 1
    relative: bool = False


class Deviation(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of how far the value lies from what is usual, in robust standard deviations of what is usual.

    What is usual is the median of past values. `spread` is how far they lie from it: 1.4826 times the median absolute
    deviation (`mad`), which a wild week does not change, or what lies between their 5 % and 95 % `quantiles`, over
    3.29, which takes into account that something is mostly quiet and then is not. Both are one standard deviation of
    what is normally distributed.

    `past`          the same hours of past `weeks` or `days`, or the `recent` steps
    `count`         how many weeks, days or steps
    `neighbours`    of each past week or day so many steps before and after count too
    `values_min`    with fewer past values nothing is usual yet, and the reading is unknown
    `spread_min`    the spread is at least this, so that what never moved may move a little
    `spread_share`  and at least this share of the median
    """

    past: Literal["weeks", "days", "recent"] = "weeks"
    count: Annotated[int, Meta(ge=1, le=PAST_MAX)] = 4
    neighbours: Annotated[int, Meta(ge=0, le=48)] = 1
    values_min: Annotated[int, Meta(ge=2)] = 6
    spread: Literal["mad", "quantiles"] = "mad"
    spread_min: Annotated[float, Meta(ge=0)] = 0.0
    spread_share: Annotated[float, Meta(ge=0, le=10)] = 0.05


class Absence(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing comes any more of what was heard of within `lookback_days`. What is silent for longer is forgotten."""

    lookback_days: Annotated[int, Meta(ge=1, le=400)] = 7


Test = Threshold | Change | Deviation | Absence


class Kind(StrEnum):
    """What a rule asks. The value is the table of the file that says so."""

    THRESHOLD = "threshold"
    CHANGE = "change"
    DEVIATION = "deviation"
    ABSENCE = "absence"


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One alert rule.

    `kpi`             the indicator that it looks at; or
    `event`, `where`  the type of kept events that it counts, and which of them; see `schemas.filter`
    `only`            of a KPI's dimensions the values that count
    `by`              the dimension (of an event: the field of its data) by whose values series are told apart
    `area`, `levels`  the code of an area of the present list (none: the root), and which kinds of areas in it have a
                      series of their own; without `levels` that area itself
    `every`, `over`   how wide a step is, and how many of them the value at its end is of
    `hold_s`          how long a reading has to stay beyond the limit before the rule fires
    `clear_s`         how long it has to stay within it before it is over
    `unknown_s`       a series that fires and is not heard of for so long is over
    `n_min`           a value of fewer events is unknown
    `settle_s`        how long after its end a step is waited for
    `group_by`        what makes an alert of its own: each area, each value of `by`, both, or all together
    `inhibited_by`    rules that make this one keep silent while they fire for the same area or one above it
    `category`, `severity`, `agency`   of the case that it opens
    `titles`          by language, with {rule}, {area}, {by}, {kpi}, {unit}, {value}, {limit}
    """

    id: RuleId
    names: dict[str, str]
    category: Annotated[str, Meta(min_length=1, max_length=128)]
    kpi: str | None = None
    event: str | None = None
    where: Where = {}
    only: dict[str, str] = {}
    by: str | None = None
    area: str | None = None
    levels: list[str] = []
    every: Every = Every.FIVE_MINUTES
    over: Annotated[int, Meta(ge=1, le=400)] = 1
    threshold: Threshold | None = None
    change: Change | None = None
    deviation: Deviation | None = None
    absence: Absence | None = None
    hold_s: Seconds = 0.0
    clear_s: Seconds = 0.0
    unknown_s: Annotated[float, Meta(ge=60, le=366 * 86_400)] = 86_400.0
    n_min: Annotated[int, Meta(ge=0)] = 0
    settle_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    group_by: tuple[Literal["area", "by"], ...] = ("area", "by")
    inhibited_by: list[str] = []
    severity: Severity = Severity.MAJOR
    agency: str | None = None
    titles: dict[str, str] = {}

    @property
    def test(self) -> Test:
        """What it asks; exactly one is given (`alert_table` checks)."""
        found = self.threshold or self.change or self.deviation or self.absence
        assert found is not None
        return found

    @property
    def kind(self) -> Kind:
        """What sort of question that is."""
        return Kind(type(self.test).__name__.lower())


class Series(NamedTuple):
    """What a rule looks at by itself: an area, and a value of the dimension that it is split by (or "")."""

    area: AreaId
    by: str


class Grid(Struct, frozen=True):
    """The moments at which a rule looks: the ends of stored buckets, or of several minutes together.

    All moments are whole seconds since the epoch.
    """

    every: Every
    zone_name: str

    @property
    def zone(self) -> ZoneInfo:
        """The zone of its hours and days."""
        return ZoneInfo(self.zone_name)

    def floor(self, moment_s: float) -> int:
        """The last step that has ended at this moment."""
        if minutes := _MINUTES.get(self.every):
            return int(moment_s // (minutes * MINUTE_S)) * minutes * MINUTE_S
        return bucket_start(int(moment_s), Tier(self.every.value), self.zone)

    def next(self, step_s: int) -> int:
        """The step after this one."""
        if minutes := _MINUTES.get(self.every):
            return step_s + minutes * MINUTE_S
        return bucket_end(step_s, Tier(self.every.value), self.zone)

    def before(self, step_s: int, count: int = 1) -> int:
        """The step so many before this one."""
        if minutes := _MINUTES.get(self.every):
            return step_s - count * minutes * MINUTE_S
        for _ in range(count):
            step_s = self.floor(step_s - 1)
        return step_s

    def days_before(self, step_s: int, days: int) -> int:
        """The step at the same local time so many days earlier."""
        local = datetime.fromtimestamp(step_s, self.zone)
        return self.floor((local - timedelta(days=days)).timestamp())

    def steps(self, after_s: float, until_s: float, count_max: int) -> list[int]:
        """The first `count_max` steps in (after, until], oldest first."""
        found: list[int] = []
        step_s = self.next(self.floor(after_s))
        while step_s <= until_s and len(found) < count_max:
            found.append(step_s)
            step_s = self.next(step_s)
        return found


class AlertRule(Struct, frozen=True, kw_only=True):
    """A rule with the areas of its series, the first of them the one that holds all others' steps and zone."""

    rule: Rule
    top: AreaId
    areas: tuple[AreaId, ...]
    grid: Grid

    @property
    def id(self) -> str:
        """The rule's id."""
        return self.rule.id


def past_steps(rule: Rule, grid: Grid, step_s: int) -> list[int]:
    """The earlier steps whose values the reading at this one is measured against, the latest first."""
    match rule.test:
        case Change(steps=steps):
            return [grid.before(step_s, steps)]
        case Deviation(past="recent", count=count):
            found: list[int] = []
            for _ in range(count):
                step_s = grid.before(step_s)
                found.append(step_s)
            return found
        case Deviation(past=past, count=count, neighbours=neighbours):
            days = WEEK_DAYS if past == "weeks" else 1
            found = []
            for number in range(1, count + 1):
                same = grid.days_before(step_s, number * days)
                found.append(same)
                earlier = later = same
                for _ in range(neighbours):
                    earlier, later = grid.before(earlier), grid.next(later)
                    found += [earlier, later]
            return [one for one in dict.fromkeys(found) if one < step_s]
        case _:
            return []


def past_days(rule: Rule) -> float:
    """How many days before its step a rule reads, without what a balance or a silent indicator looks back on."""
    step_days = SHORTEST_S[rule.every] / 86_400
    reach = rule.over
    match rule.test:
        case Change(steps=steps):
            return (reach + steps) * step_days
        case Deviation(past="recent", count=count):
            return (reach + count) * step_days
        case Deviation(past=past, count=count, neighbours=neighbours):
            return count * (WEEK_DAYS if past == "weeks" else 1) + (reach + neighbours) * step_days
        case _:
            return reach * step_days
