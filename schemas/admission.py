"""Which events that read well can still not be counted?

The door asks this so that the sender is told at once; `streams` asks it again, because others may write to the log.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct, inspect

from schemas.codec import check_moment
from schemas.errors import InvalidEvent, OperatorError, Reason
from schemas.event import EVENT_TYPES, INTERNAL, OWN_SOURCES, CaseCommand, Event, IndicatorObserved, type_of
from schemas.location import parse_geo
from schemas.period import period_start_s
from schemas.topics import INPUTS, Dedupe

_INSTEAD: dict[type[Event], str] = {CaseCommand: "Post commands to /v1/commands, which says who gives them."}
_CORRECTABLE = frozenset(cls for topic in INPUTS if topic.dedupe is Dedupe.FOREVER for cls in topic.types)

_DAYBREAK = ZoneInfo("Etc/GMT-14")
"""Where a day begins first. No area's period has an earlier start than this one."""


def check_event(event: Event, received_s: float, future_max_s: float) -> None:
    """Raises InvalidEvent for a time to come, a moment or a place that is none, a correction that cannot be, or a
    period that is none.

    A place is looked at also where a code says which area it is in, and so is every moment in the data: they are
    stored as they come. `received_s` is the arrival in seconds since the epoch; `time` and the start of a period may
    lie `future_max_s` after it at most.
    """
    if event.time.timestamp() > received_s + future_max_s:
        raise _future("time", event.time, received_s)
    if event.supersedes is not None or event.withdraws is not None:
        _check_correction(event)
    if event.place is not None:
        parse_geo(event.place)
    if event.__class__ in TIMED:
        _check_moments("", event)
    if isinstance(event, IndicatorObserved):
        _check_period(event.data.period, received_s, future_max_s)


def is_suspect(event: Event, latest: datetime) -> bool:
    """Whether `check_event` can find anything in an event; most have nothing to look at. `latest` is how late it may
    be.
    """
    return (
        event.place is not None
        or event.__class__ in TIMED
        or event.supersedes is not None
        or event.withdraws is not None
        or event.__class__ is IndicatorObserved
        or event.time > latest
    )


def is_own(event: Event) -> bool:
    """Whether it is one that only the centre itself makes; `check_sent` says why."""
    return isinstance(event, INTERNAL) or event.source.startswith(OWN_SOURCES)


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


def _holds_moment(form: inspect.Type) -> bool:
    """Whether a moment may stand in a value of this type, however deep."""
    match form:
        case inspect.DateTimeType():
            return True
        case inspect.UnionType(types=forms):
            return any(map(_holds_moment, forms))
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return _holds_moment(item)
        case inspect.StructType(fields=fields):
            return any(_holds_moment(one.type) for one in fields)
        case _:
            return False


@cache
def _timed_fields(cls: type[Struct]) -> tuple[str, ...]:
    """The fields of a struct in which a moment may stand. The envelope's own were looked at when it was decoded."""
    form = inspect.type_info(cls)
    assert isinstance(form, inspect.StructType)
    fields = [one for one in form.fields if one.name == "data"] if issubclass(cls, Event) else form.fields
    return tuple(one.name for one in fields if _holds_moment(one.type))


TIMED = frozenset(cls for cls in EVENT_TYPES.values() if _timed_fields(cls))
"""Events that may name other moments than when they happened."""


def _check_moments(path: str, value: Any) -> None:  # noqa: ANN401  # whatever an event may hold
    if isinstance(value, datetime):
        check_moment(path, value)
    elif isinstance(value, Struct):
        for name in _timed_fields(value.__class__):
            _check_moments(f"{path}.{name}" if path else name, getattr(value, name))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, one in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            _check_moments(f"{path}[{index}]", one)


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
