"""Which events that read well can still not be counted?

The door asks this so that the sender is told at once; `streams` asks it again, because others may write to the log.
"""

from datetime import UTC, date, datetime, timedelta, timezone

from schemas.errors import InvalidEvent, Reason
from schemas.event import Event, IndicatorObserved, type_of
from schemas.topics import INPUTS, Dedupe

_CORRECTABLE = frozenset(cls for topic in INPUTS if topic.dedupe is Dedupe.FOREVER for cls in topic.types)

_DAYBREAK = timezone(timedelta(hours=14))
"""Where a day begins first. No area's period has an earlier start than this one."""

_YEAR_FIRST = 1970


def check_event(event: Event, received_s: float, future_max_s: float) -> None:
    """Raises InvalidEvent for a time to come, a correction that cannot be, or a period that is none.

    `received_s` is the arrival in seconds since the epoch; `time` and the start of a period may lie `future_max_s`
    after it at most.
    """
    if event.time.timestamp() > received_s + future_max_s:
        raise _future("time", event.time, received_s)
    if event.supersedes is not None or event.withdraws is not None:
        _check_correction(event)
    if isinstance(event, IndicatorObserved):
        _check_period(event, received_s + future_max_s, received_s)


def _check_correction(event: Event) -> None:
    field = "withdraws" if event.supersedes is None else "supersedes"
    if event.__class__ not in _CORRECTABLE:
        raise InvalidEvent(
            field,
            Reason.NOT_CORRECTABLE,
            f"events of type {type_of(event)} are counted and not kept one by one",
            "Send the right measurement as an event with an id of its own, without this attribute. If the wrong one "
            "matters, ask whoever runs the centre for an `ioc rebuild` without it.",
        )
    if event.supersedes is not None and event.withdraws is not None:
        raise InvalidEvent(
            "withdraws",
            Reason.INVALID_FIELD,
            "an event either corrects an earlier one or takes one back",
            "Send `supersedes` or `withdraws`, or two events.",
        )
    if event.id in (event.supersedes, event.withdraws):
        raise InvalidEvent(
            field,
            Reason.INVALID_FIELD,
            "the event names itself",
            "Give this event an id of its own, and name the earlier one's id here.",
        )


def _check_period(event: IndicatorObserved, limit_s: float, received_s: float) -> None:
    start = _period_start(event.data.period)
    if start is None or start.year < _YEAR_FIRST:
        raise InvalidEvent(
            "data.period",
            Reason.INVALID_FIELD,
            f"{event.data.period!r} is not a period in the years 1970 to 2199",
            "Send a year, a quarter, a month or a day of the calendar, as 2026, 2026-Q3, 2026-09 or 2026-09-30.",
        )
    if start.timestamp() > limit_s:
        raise _future("data.period", start, received_s)


def _period_start(period: str) -> datetime | None:
    """When a period begins where it begins first; None for one that is not in the calendar."""
    year, _, rest = period.partition("-")
    if rest.startswith("Q"):
        rest = f"{int(rest[1:]) * 3 - 2:02}"
    try:
        day = date.fromisoformat("-".join([year, *(rest or "01").split("-"), "01"][:3]))
    except ValueError:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=_DAYBREAK)


def _future(field: str, time: datetime, received_s: float) -> InvalidEvent:
    arrival = datetime.fromtimestamp(received_s, UTC).isoformat(timespec="seconds")
    return InvalidEvent(
        field,
        Reason.FUTURE_TIME,
        f"{time.isoformat()} had not come yet when the event arrived, at {arrival} by the centre's clock",
        "Set the sender's clock, and send what has happened.",
    )
