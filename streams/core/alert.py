"""What does an alert rule say of each of its series, step by step, and whom does that call?

Everything here is a function of values: what was read at a step, and what was held before it. So steps give the same
verdicts however many of them are looked at together, and whoever looks at them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from math import isfinite
from statistics import median
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from schemas.alert import SERIES_MAX, Absence, AlertRule, Change, Deviation, Limits, Rule, Series, past_steps
from schemas.area import AreaTree
from schemas.event import AreaId

MAD_TO_SIGMA = 1.4826
"""The median absolute deviation of normally distributed values, times this, is their standard deviation."""

TAIL = 0.05
"""Left out at either end of past values when their spread is measured by quantiles."""

TAILS_SIGMAS = 3.29
"""Between these quantiles of normally distributed values lie so many standard deviations."""

SCORE_MAX = 1e6
"""What has never moved and moves now lies infinitely far from what is usual; this is written instead."""

GROUP_CHARS_MAX = 120
"""A longer name of a group is cut, and told apart by a hash: ids of events hold 256 characters."""


class Sample(NamedTuple):
    """A series' value over the steps up to one moment, and of how many events it is.

    `is_there`: something came of the series itself, so that there is such a series.
    """

    value: float | None
    n: int
    is_there: bool = True


NO_SAMPLE = Sample(None, 0, is_there=False)


class Position(StrEnum):
    """Where a reading lies."""

    BEYOND = "beyond"  # beyond a limit
    BETWEEN = "between"  # back within the limit, by less than the margin
    WITHIN = "within"
    UNKNOWN = "unknown"  # there is nothing to go by
    FORGOTTEN = "forgotten"  # nothing has come for so long that nothing is waited for


class Verdict(StrEnum):
    """What comes of a series at a step, and why. Used as it is in tables and as a metric label."""

    QUIET = "quiet"
    HOLD_PENDING = "hold_pending"  # beyond the limit, not for long enough
    FIRE = "fire"  # for long enough; from here on an alert tells of it
    HOLD_FIRING = "hold_firing"  # still beyond
    HOLD_BAND = "hold_band"  # back, but not by the margin
    HOLD_CLEARING = "hold_clearing"  # back, but not for long enough
    HOLD_UNKNOWN = "hold_unknown"  # fires, and nothing is known of it now
    MUTE_SILENCED = "mute_silenced"  # would fire; somebody has asked for silence
    MUTE_INHIBITED = "mute_inhibited"  # would fire; another rule fires that says more
    RESOLVE = "resolve"
    RESOLVE_UNKNOWN = "resolve_unknown"  # not heard of for longer than the rule waits
    RESOLVE_FORGOTTEN = "resolve_forgotten"  # silent for so long that it is no longer expected
    RESOLVE_WITHDRAWN = "resolve_withdrawn"  # the rule is gone
    UNKNOWN_VALUE = "unknown_value"  # no value: nothing to divide by, or nothing measured
    UNKNOWN_FEW = "unknown_few"  # a value of too few events
    UNKNOWN_PAST = "unknown_past"  # too little is known of the past


RESOLVED = frozenset({Verdict.RESOLVE, Verdict.RESOLVE_UNKNOWN, Verdict.RESOLVE_FORGOTTEN, Verdict.RESOLVE_WITHDRAWN})


class Reading(NamedTuple):
    """What a rule reads of a series at a step.

    `value` is the indicator's, `limit` what it was held against, both in the indicator's unit; `score` is what the
    limits are about (of a threshold the value itself); `unknown` says why the position is not known.
    """

    position: Position
    value: float | None = None
    limit: float | None = None
    score: float | None = None
    unknown: Verdict | None = None


class Phase(StrEnum):
    """How far a series has come. What is quiet is not held."""

    QUIET = "quiet"
    PENDING = "pending"
    FIRING = "firing"
    CLEARING = "clearing"


FIRES = frozenset({Phase.FIRING, Phase.CLEARING})


class Standing(Struct, frozen=True, kw_only=True):
    """What is held of a series that is not quiet. Moments are steps, in epoch seconds.

    `since_s`  since when it is pending, or within the limit again
    `fired_s`  when it fired; None while it is pending
    `heard_s`  the last step at which something was known of it
    `told`     an alert tells of it
    """

    phase: Phase
    since_s: int
    heard_s: int
    fired_s: int | None = None
    told: bool = False
    value: float | None = None
    limit: float | None = None


class OpenAlert(Struct, frozen=True, kw_only=True):
    """What a case is opened of: the series of one group that fire together, from `started_s` on."""

    group: str
    area: AreaId
    by: str
    started_s: int
    members: tuple[Series, ...]


class AlertStep(NamedTuple):
    """An alert began, is about other series than before, or is over."""

    what: Literal["opened", "updated", "ended"]
    alert: OpenAlert
    at_s: int
    readings: Mapping[Series, Reading]
    verdict: Verdict


class Held(NamedTuple):
    """What a rule holds between two steps."""

    series: Mapping[Series, Standing]
    alerts: Mapping[str, OpenAlert]


NOTHING_HELD = Held({}, {})
"""A rule that nobody has looked at yet."""


class Judged(NamedTuple):
    """What came of a series at a step. `is_begun`: it fires from this step on, told or not; `is_over`: no longer."""

    series: Series
    verdict: Verdict
    reading: Reading
    is_begun: bool = False
    is_over: bool = False


class Looked(NamedTuple):
    """What came of a rule at a step."""

    held: Held
    judged: Sequence[Judged]
    steps: Sequence[AlertStep]


class Silenced(NamedTuple):
    """Somebody wants to hear nothing of a rule in an area (None: anywhere) until a moment."""

    area: AreaId | None
    until_s: float


class Firing(NamedTuple):
    """Another rule fired for an area from a step on, and until another one (None: it still does)."""

    area: AreaId
    start_s: int
    end_s: int | None


class Mutes(NamedTuple):
    """What keeps a rule from telling."""

    tree: AreaTree
    silenced: Sequence[Silenced] = ()
    inhibiting: Sequence[Firing] = ()

    def of(self, area: AreaId, step_s: int) -> Verdict | None:
        """Why nothing is told of an area at a step; None when nothing keeps the rule from it."""
        path = self.tree.path(area) if area in self.tree else (area,)
        if any((one.area is None or one.area in path) and step_s < one.until_s for one in self.silenced):
            return Verdict.MUTE_SILENCED
        for one in self.inhibiting:
            if one.area in path and one.start_s <= step_s and (one.end_s is None or step_s < one.end_s):
                return Verdict.MUTE_INHIBITED
        return None


# ── Reading ────────────────────────────────────────────────────────────────────────────────────────────────────────


def read(rule: Rule, step_s: int, past: Sequence[int], samples: Mapping[int, Sample]) -> Reading:
    """What the rule reads at a step, from the series' samples at this and at `past` steps (`past_steps`)."""
    value, n, _ = samples.get(step_s, NO_SAMPLE)
    if isinstance(rule.test, Absence):
        return Reading(Position.WITHIN if n else Position.BEYOND, float(n), 0.0, float(n))
    if value is None or not isfinite(value):
        return Reading(Position.UNKNOWN, unknown=Verdict.UNKNOWN_VALUE)
    if n < rule.n_min:
        return Reading(Position.UNKNOWN, value, unknown=Verdict.UNKNOWN_FEW)
    match rule.test:
        case Change() as test:
            return _changed(test, value, _known(rule, samples, past))
        case Deviation() as test:
            return _deviating(test, value, _known(rule, samples, past))
        case test:
            return Reading(position(test, value), value, _limit(test, value), value)


def position(limits: Limits, number: float) -> Position:
    """Where a number lies."""
    if (limits.above is not None and number > limits.above) or (limits.below is not None and number < limits.below):
        return Position.BEYOND
    is_low_enough = limits.above is None or number <= limits.above - limits.margin
    is_high_enough = limits.below is None or number >= limits.below + limits.margin
    return Position.WITHIN if is_low_enough and is_high_enough else Position.BETWEEN


def usual(values: Sequence[float], test: Deviation) -> tuple[float, float]:
    """The median of past values, and their robust spread."""
    middle = median(values)
    if test.spread == "mad":
        spread = MAD_TO_SIGMA * median(abs(value - middle) for value in values)
    else:
        ordered = sorted(values)
        spread = (_quantile(ordered, 1 - TAIL) - _quantile(ordered, TAIL)) / TAILS_SIGMAS
    return middle, max(spread, test.spread_min, test.spread_share * abs(middle))


def _quantile(ordered: Sequence[float], q: float) -> float:
    """Between two values the share of the way that is left."""
    at = q * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def _known(rule: Rule, samples: Mapping[int, Sample], steps: Iterable[int]) -> list[float]:
    found = (samples[step] for step in steps if step in samples)
    return [one.value for one in found if one.value is not None and isfinite(one.value) and one.n >= rule.n_min]


def _changed(test: Change, value: float, before: Sequence[float]) -> Reading:
    if not before:
        return Reading(Position.UNKNOWN, value, unknown=Verdict.UNKNOWN_PAST)
    was = before[0]
    scale = abs(was) if test.relative else 1.0
    score = _over(value - was, scale)
    limit = _limit(test, score)
    return Reading(position(test, score), value, None if limit is None else was + limit * scale, score)


def _deviating(test: Deviation, value: float, before: Sequence[float]) -> Reading:
    if len(before) < test.values_min:
        return Reading(Position.UNKNOWN, value, unknown=Verdict.UNKNOWN_PAST)
    middle, spread = usual(before, test)
    score = _over(value - middle, spread)
    limit = _limit(test, score)
    return Reading(position(test, score), value, None if limit is None else middle + limit * spread, score)


def _over(distance: float, scale: float) -> float:
    """A distance in these units, within SCORE_MAX."""
    if distance == 0.0:
        return 0.0
    if scale == 0.0:
        return SCORE_MAX if distance > 0 else -SCORE_MAX
    return max(-SCORE_MAX, min(SCORE_MAX, distance / scale))


def _limit(limits: Limits, number: float) -> float | None:
    """The limit that a number is nearest to."""
    given = [limit for limit in (limits.above, limits.below) if limit is not None]
    return min(given, key=lambda limit: abs(limit - number), default=None)


# ── One series ─────────────────────────────────────────────────────────────────────────────────────────────────────

_NEXT: Mapping[tuple[Phase, Position], tuple[Phase, Verdict]] = {
    (Phase.QUIET, Position.BEYOND): (Phase.PENDING, Verdict.HOLD_PENDING),
    (Phase.QUIET, Position.BETWEEN): (Phase.QUIET, Verdict.QUIET),
    (Phase.QUIET, Position.WITHIN): (Phase.QUIET, Verdict.QUIET),
    (Phase.QUIET, Position.UNKNOWN): (Phase.QUIET, Verdict.UNKNOWN_VALUE),
    (Phase.QUIET, Position.FORGOTTEN): (Phase.QUIET, Verdict.QUIET),
    # What has to hold must be known to hold.
    (Phase.PENDING, Position.BEYOND): (Phase.PENDING, Verdict.HOLD_PENDING),
    (Phase.PENDING, Position.BETWEEN): (Phase.QUIET, Verdict.QUIET),
    (Phase.PENDING, Position.WITHIN): (Phase.QUIET, Verdict.QUIET),
    (Phase.PENDING, Position.UNKNOWN): (Phase.QUIET, Verdict.UNKNOWN_VALUE),
    (Phase.PENDING, Position.FORGOTTEN): (Phase.QUIET, Verdict.QUIET),
    # Not knowing is no reason to say that it is over.
    (Phase.FIRING, Position.BEYOND): (Phase.FIRING, Verdict.HOLD_FIRING),
    (Phase.FIRING, Position.BETWEEN): (Phase.FIRING, Verdict.HOLD_BAND),
    (Phase.FIRING, Position.WITHIN): (Phase.CLEARING, Verdict.HOLD_CLEARING),
    (Phase.FIRING, Position.UNKNOWN): (Phase.FIRING, Verdict.HOLD_UNKNOWN),
    (Phase.FIRING, Position.FORGOTTEN): (Phase.QUIET, Verdict.RESOLVE_FORGOTTEN),
    (Phase.CLEARING, Position.BEYOND): (Phase.FIRING, Verdict.HOLD_FIRING),
    (Phase.CLEARING, Position.BETWEEN): (Phase.FIRING, Verdict.HOLD_BAND),
    (Phase.CLEARING, Position.WITHIN): (Phase.CLEARING, Verdict.HOLD_CLEARING),
    (Phase.CLEARING, Position.UNKNOWN): (Phase.FIRING, Verdict.HOLD_UNKNOWN),
    (Phase.CLEARING, Position.FORGOTTEN): (Phase.QUIET, Verdict.RESOLVE_FORGOTTEN),
}


def advance(rule: Rule, before: Standing | None, step_s: int, reading: Reading) -> tuple[Standing | None, Verdict]:
    """What is held of a series after a step (None: it is quiet), and what came of it."""
    was = Phase.QUIET if before is None else before.phase
    phase, verdict = _NEXT[was, reading.position]
    since_s = before.since_s if before is not None and phase is was else step_s
    fired_s = before.fired_s if before is not None else None
    heard_s = step_s if before is None or reading.position is not Position.UNKNOWN else before.heard_s
    if phase is Phase.PENDING and step_s - since_s >= rule.hold_s:
        phase, verdict, fired_s = Phase.FIRING, Verdict.FIRE, step_s
    elif phase is Phase.CLEARING and step_s - since_s >= rule.clear_s:
        phase, verdict = Phase.QUIET, Verdict.RESOLVE
    elif verdict is Verdict.HOLD_UNKNOWN and step_s - heard_s >= rule.unknown_s:
        phase, verdict = Phase.QUIET, Verdict.RESOLVE_UNKNOWN
    if verdict is Verdict.UNKNOWN_VALUE and reading.unknown is not None:
        verdict = reading.unknown
    if phase is Phase.QUIET:
        return None, verdict
    last = reading if before is None or reading.position is not Position.UNKNOWN else before
    return (
        Standing(
            phase=phase,
            since_s=since_s,
            heard_s=heard_s,
            fired_s=fired_s,
            told=before is not None and before.told,
            value=last.value,
            limit=last.limit,
        ),
        verdict,
    )


# ── All series of a rule ───────────────────────────────────────────────────────────────────────────────────────────


def readings_at(
    rule: AlertRule,
    step_s: int,
    samples: Mapping[Series, Mapping[int, Sample]],
    held: Held,
    series_max: int = SERIES_MAX,
) -> tuple[dict[Series, Reading], int]:
    """What the rule reads of each series at a step, and how many series are left out.

    Which series there are follows from this step and those that it is measured against, not from what else was read.
    """
    past = past_steps(rule.rule, rule.grid, step_s)
    steps = (step_s, *past)
    if isinstance(rule.rule.test, Absence):
        present = {one for one, some in samples.items() if step_s in some}
    elif rule.rule.by is None:
        present = {*samples}
    else:
        present = {one for one, some in samples.items() if any(some.get(at, NO_SAMPLE).is_there for at in steps)}
    wanted = sorted(present | {*held.series}, key=lambda one: (one not in held.series, one))
    found: dict[Series, Reading] = {}
    for one in wanted[:series_max]:
        if one not in present and isinstance(rule.rule.test, Absence):
            found[one] = Reading(Position.FORGOTTEN)
        else:
            found[one] = read(rule.rule, step_s, past, samples.get(one, {}))
    return found, max(0, len(wanted) - series_max)


def look(rule: AlertRule, step_s: int, readings: Mapping[Series, Reading], held: Held, mutes: Mutes) -> Looked:
    """What comes of a rule at a step. A series that is held and not read is unknown."""
    nothing = Reading(Position.UNKNOWN, unknown=Verdict.UNKNOWN_VALUE)
    series: dict[Series, Standing] = {}
    judged: list[Judged] = []
    for one in sorted({*readings, *held.series}):
        reading = readings.get(one, nothing)
        after, verdict = advance(rule.rule, held.series.get(one), step_s, reading)
        if after is not None and after.phase in FIRES and not after.told:
            muted = mutes.of(one.area, step_s)
            after = after if muted is not None else replace(after, told=True)
            verdict = muted or Verdict.FIRE
        if after is not None:
            series[one] = after
        before = held.series.get(one)
        fired, fires = before is not None and before.phase in FIRES, after is not None and after.phase in FIRES
        judged.append(Judged(one, verdict, reading, is_begun=fires and not fired, is_over=fired and not fires))
    alerts, steps = _grouped(rule, step_s, series, held, judged)
    return Looked(Held(series, alerts), judged, steps)


def _grouped(
    rule: AlertRule, step_s: int, series: Mapping[Series, Standing], held: Held, judged: Sequence[Judged]
) -> tuple[dict[str, OpenAlert], list[AlertStep]]:
    """The alerts that tell of these series, and what has changed about them."""
    readings = {one.series: one.reading for one in judged}
    verdicts = {one.series: one.verdict for one in judged}
    members: dict[str, list[Series]] = {}
    for one, standing in series.items():
        if standing.told:
            members.setdefault(group_of(rule, one), []).append(one)
    alerts: dict[str, OpenAlert] = {}
    steps: list[AlertStep] = []
    for group, some in sorted(members.items()):
        before = held.alerts.get(group)
        first, now = some[0], tuple(sorted(some))
        alerts[group] = OpenAlert(
            group=group,
            area=first.area if "area" in rule.rule.group_by else rule.top,
            by=first.by if "by" in rule.rule.group_by else "",
            started_s=step_s if before is None else before.started_s,
            members=now,
        )
        if before is None or before.members != now:
            what: Literal["opened", "updated"] = "opened" if before is None else "updated"
            steps.append(AlertStep(what, alerts[group], step_s, {one: readings[one] for one in now}, Verdict.FIRE))
    for group, before in sorted(held.alerts.items()):
        if group not in alerts:
            last = {one: readings[one] for one in before.members if one in readings}
            why = next((verdicts[one] for one in before.members if verdicts.get(one) in RESOLVED), Verdict.RESOLVE)
            steps.append(AlertStep("ended", before, step_s, last, why))
    return alerts, steps


def group_of(rule: AlertRule, series: Series) -> str:
    """The name of the alert that a series belongs to: the same for the same series."""
    parts: list[str] = [series.area if "area" in rule.rule.group_by else rule.top]
    if "by" in rule.rule.group_by and series.by:
        parts.append(series.by)
    name = "/".join(parts)
    if len(name) <= GROUP_CHARS_MAX:
        return name
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()
    return f"{name[: GROUP_CHARS_MAX - len(digest) - 1]}~{digest}"
