"""What would a rule have said of a history?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from schemas.alert import AlertRule, Series
from streams.core.alert import Held, Judged, Mutes, Sample, look, readings_at


class Said(NamedTuple):
    """What came of a series at a step."""

    step_s: int
    judged: Judged


def replayed(
    rule: AlertRule, steps: Sequence[int], samples: Mapping[Series, Mapping[int, Sample]], held: Held, mutes: Mutes
) -> tuple[list[Said], Held]:
    """What the rule says step by step, and what it holds after them; `held` is what it held before."""
    said: list[Said] = []
    for step_s in steps:
        readings, _ = readings_at(rule, step_s, samples, held)
        looked = look(rule, step_s, readings, held, mutes)
        held = looked.held
        said += (Said(step_s, judged) for judged in looked.judged)
    return said, held


def samples_of(rule: AlertRule, points: Iterable[tuple[float, float]]) -> dict[int, Sample]:
    """The means of measured points (epoch seconds, value) over the steps up to each step that touches them."""
    sums: dict[int, tuple[float, int]] = {}
    for time_s, value in points:
        step_s = rule.grid.next(rule.grid.floor(time_s))
        total, n = sums.get(step_s, (0.0, 0))
        sums[step_s] = (total + value, n + 1)
    found: dict[int, Sample] = {}
    if not sums:
        return found
    last_s = max(sums)
    for step_s in _through(rule, min(sums), last_s):
        total, n, unit_s = 0.0, 0, step_s
        for _ in range(rule.rule.over):
            more, further = sums.get(unit_s, (0.0, 0))
            total, n, unit_s = total + more, n + further, rule.grid.before(unit_s)
        found[step_s] = Sample(total / n if n else None, n)
    return found


def _through(rule: AlertRule, first_s: int, last_s: int) -> Iterator[int]:
    step_s = first_s
    while step_s <= last_s:
        yield step_s
        step_s = rule.grid.next(step_s)
