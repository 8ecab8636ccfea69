"""Since where on a lane has an indicator been counted, and is anything missing before?"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from schemas.kpi import Base


class Span(NamedTuple):
    """A version of the site pack counted a lane from this offset on, up to where the next span starts."""

    version: int
    start: int


class Filled(NamedTuple):
    """How far a back-fill has come, and what the indicator meant to it."""

    base: Base | None
    next_offset: int
    stop_offset: int


class Standing(StrEnum):
    """What is stored of an indicator, of all that a lane has brought."""

    COMPLETE = "complete"  # all of it
    MISSING = "missing"  # nothing from one stretch: before it was introduced, or while it was away
    UNFINISHED = "unfinished"  # a back-fill has begun, and has to go on
    CHANGED = "changed"  # something from before, by another meaning


class Stands(NamedTuple):
    """Where an indicator stands on a lane; `stop` is the offset from which on it is counted as it is meant now.

    Where it is missing, it is missing from `start` on.
    """

    standing: Standing
    stop: int
    start: int = 0


def stands(
    base: Base, spans: Sequence[Span], meanings: Mapping[int, Mapping[str, Base]], filled: Filled | None
) -> Stands:
    """Where a base stands.

    `spans` are in order, without empty ones but for the last; the last one's version must have the base as it is.
    `meanings` are the bases of every version by id.
    """
    first = len(spans)
    while first > 0 and meanings[spans[first - 1].version].get(base.id) == base:
        first -= 1
    assert first < len(spans), "the lane has taken up the version that is asked about"
    stop = spans[first].start
    if first == 0 or stop == 0:
        return Stands(Standing.COMPLETE, 0)
    if filled is not None and filled.base == base and filled.stop_offset >= stop:
        done = filled.next_offset >= filled.stop_offset
        return Stands(Standing.COMPLETE if done else Standing.UNFINISHED, filled.stop_offset)
    counted = [meanings[span.version].get(base.id) for span in spans[:first]]
    away = first - counted.index(None) if None in counted else 0
    # It was there from the beginning, and only then away: what it counted is right, and only the gap is filled.
    if filled is not None or counted != [base] * (first - away) + [None] * away:
        return Stands(Standing.CHANGED, stop)
    return Stands(Standing.MISSING, stop, spans[first - away].start)


def spans_of(switches: Sequence[Span], present: Span) -> list[Span]:
    """The spans of a lane that stands at `present.start` and counts on by `present.version`.

    `switches` are in order. What was counted before the first of them is taken for its.
    """
    known = [*switches] if switches and switches[-1].version == present.version else [*switches, present]
    known[0] = Span(known[0].version, 0)
    return [
        span
        for span, following in zip(known, [*known[1:], None], strict=True)
        if following is None or following.start > span.start
    ]
