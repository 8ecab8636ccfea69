"""Which events that read well can still not be counted?

The door asks this so that the sender is told at once; `streams` asks it again, because others may write to the log.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from schemas.errors import InvalidEvent, OperatorError, Reason
from schemas.event import INTERNAL, OWN_SOURCES, CaseCommand, Event, IndicatorObserved, type_of
from schemas.period import period_start_s
from schemas.topics import INPUTS, Dedupe

_INSTEAD: dict[type[Event], str] = {CaseCommand: "Post commands to /v1/commands, which says who gives them."}
_CORRECTABLE = frozenset(cls for topic in INPUTS if topic.dedupe is Dedupe.FOREVER for cls in topic.types)

_DAYBREAK = ZoneInfo("Etc/GMT-14")
"""Where a day begins first. No area's period has an earlier start than this one."""


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
        _check_period(event.data.period, received_s, future_max_s)


def check_sent(event: Event) -> None:
    """Raises InvalidEvent for what only the centre itself makes: a sender could claim to be anybody in it."""
    if event.source.startswith(OWN_SOURCES):
        raise InvalidEvent(
            "source",
            Reason.RESERVED_SOURCE,
            f"sources that begin with {', '.join(OWN_SOURCES)} are the centre's own",
            "Send a source of your own, such as `urn:` with the name of your system.",
        )
    if isinstance(event, INTERNAL):
        detail = f"only the centre makes events of type {type_of(event)}"
        fix = _INSTEAD.get(event.__class__, "Send what happened as an event of a type for senders.")
        raise InvalidEvent("type", Reason.INTERNAL_TYPE, detail, fix)


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


def _check_period(period: str, received_s: float, future_max_s: float) -> None:
    try:
        start_s = period_start_s(period, _DAYBREAK)
    except OperatorError as error:
        raise InvalidEvent("data.period", Reason.INVALID_FIELD, error.what.rstrip("."), error.remedy) from error
    if start_s > received_s + future_max_s:
        raise _future("data.period", datetime.fromtimestamp(start_s, _DAYBREAK), received_s)


def _future(field: str, time: datetime, received_s: float) -> InvalidEvent:
    arrival = datetime.fromtimestamp(received_s, UTC).isoformat(timespec="seconds")
    return InvalidEvent(
        field,
        Reason.FUTURE_TIME,
        f"{time.isoformat()} had not come yet when the event arrived, at {arrival} by the centre's clock",
        "Set the sender's clock, and send what has happened.",
    )
