"""Which past does somebody want to see again, and at which moment of it are they?

A replay is a subscription as of the live feed, with a moment to begin at and a speed. Its clock is a function of the
real one, so that it neither drifts nor waits for whoever is slow.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from dashboard_api.config import Bounds
from dashboard_api.position import Position
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.subscription import Subscribe, Subscription, check_length, checked, malformed
from schemas.command import Actor
from schemas.identity import NOBODY
from schemas.site import Site

SPEED_MAX = 3600.0
"""An hour of the past in a second."""

VALUES_MAX = 10_000
"""Series times points of a replay, or of one moment of the past; more is refused. All of them are read anew and
compared as the past goes by, for each replay by itself.
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MOMENT_MIN, MOMENT_MAX = _EPOCH, datetime(9000, 1, 1, tzinfo=UTC)
"""Moments that can be asked for: around those beyond, no time can be reckoned with."""


class Course(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"start": "from"}):
    """Where a replay begins, and how many seconds of the past go by in one; 0: it stands still."""

    start: Annotated[datetime, Meta(tz=True)]
    speed: Annotated[float, Meta(ge=0, le=SPEED_MAX)] = 1.0


class SubscribePast(Subscribe, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The message as it comes in: the live one, and from where on."""

    replay: Course = field()


class PastWish(Struct, frozen=True, kw_only=True):
    """A checked wish."""

    shown: Subscription
    course: Course


class ReplayClock(Struct, frozen=True, kw_only=True):
    """A replay that began at `course.start` when the real time was `begun_at`."""

    course: Course
    begun_at: datetime

    def moment(self, now: datetime) -> datetime:
        """The moment of the past that it is at: never one that has not come yet."""
        passed_s = max(0.0, (now - self.begun_at).total_seconds()) * self.course.speed
        left_s = max(0.0, (now - self.course.start).total_seconds())
        return (self.course.start + timedelta(seconds=min(passed_s, left_s))).astimezone(UTC)

    def has_caught_up(self, now: datetime) -> bool:
        """Whether the past has become the present."""
        return self.moment(now) >= now


_decoder = msgspec.json.Decoder(SubscribePast)


def parse_replay(text: str, site: Site, bounds: Bounds, actor: Actor) -> PastWish:
    """Reads a client's message. Raises Refused with the field, the reason and the fix."""
    check_length(text, bounds)
    try:
        raw = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise malformed(error) from error
    check_reckonable(raw.replay.start, "replay.from")
    if raw.position is not None:
        fix = "Leave it out, and begin `from` the time of the last message."
        raise Refused("position", RefusalReason.INVALID, "a replay is not resumed by a position", fix)
    if actor is NOBODY and (raw.cases is not None or raw.units):
        raise Refused(
            "$", RefusalReason.NOT_SIGNED_IN, "cases and units need a sign-in", "Sign in, and connect again."
        )
    return PastWish(shown=checked(raw, site, bounds_of_past(bounds), actor), course=raw.replay)


def bounds_of_past(bounds: Bounds) -> Bounds:
    """What may be asked of the past at once."""
    return replace(bounds, values_max=min(bounds.values_max, VALUES_MAX))


def check_reckonable(moment: datetime, field: str) -> None:
    """Raises Refused for a moment at the edges of what can be written as a time."""
    if not MOMENT_MIN <= moment <= MOMENT_MAX:
        fix = f"Use a moment from {MOMENT_MIN.year} to {MOMENT_MAX.year}."
        raise Refused(field, RefusalReason.OUT_OF_RANGE, "no past is kept of that time", fix)


def position_of(moment: datetime) -> Position:
    """What stands for a position in a replay's messages. No epoch of a database is 0, so nothing resumes by it."""
    return Position(0, version_of(moment))


def version_of(moment: datetime) -> int:
    """What a later value of a replay has more of: milliseconds."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
