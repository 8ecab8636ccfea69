"""How much working time lies between two moments, and when has so much of it passed?"""

from collections.abc import Sequence
from datetime import datetime

from schemas.calendar import Calendar
from schemas.case import Clock
from schemas.site import Site


def worked_between_s(calendar: Calendar | None, start: datetime, end: datetime) -> float:
    """Working seconds in [start, end); 0 when the end is not after the start. None: every second counts."""
    raise NotImplementedError


def after_working_s(calendar: Calendar | None, start: datetime, working_s: float) -> datetime:
    """The earliest moment, in UTC, at which so much working time has passed since `start`."""
    raise NotImplementedError


def is_working(calendar: Calendar | None, at: datetime) -> bool:
    """Whether work is done at this moment."""
    raise NotImplementedError


def worked_s(site: Site, clock: Clock, now: datetime) -> float:
    """How long a clock has run by now, in working time."""
    raise NotImplementedError


def remaining_s(site: Site, clock: Clock, now: datetime) -> float:
    """How long a clock may still run, in working time. Negative: so long ago it ran out."""
    raise NotImplementedError


def forecast(site: Site, clock: Clock, now: datetime, usual_s: Sequence[float]) -> float | None:
    """The chance from 0 to 1 that a clock runs out, from how long it took in such cases (working seconds).

    1 when it has run out, 0 when it was stopped in time, None when nothing is known of such cases.
    """
    raise NotImplementedError
