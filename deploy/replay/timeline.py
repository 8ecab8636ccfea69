"""When is a recorded moment played, and which time does its event then carry?

A *play* is one run through a recording: a linear map from the recording's time to the clock's. All instants of an
event go through the same map, so what was in time stays in time and what was late stays late.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from schemas.errors import OperatorError
from schemas.event import EVENT_TYPES, IndicatorObserved
from schemas.period import Grain, Period, parse_period, period_of
from schemas.topics import INPUTS, Dedupe

SPEED_MIN, SPEED_MAX = 0.01, 100_000.0  # beyond them a year becomes a century, or a minute less than a millisecond
NAME_LENGTH_MAX = 256  # of an id or a subject, as the envelope has it

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_US = timedelta(microseconds=1)
# A sentinel such as 9999-12-31 would leave the years that a datetime can hold, so the map ends a day before.
_EARLIEST_MS = (datetime(1, 1, 2, tzinfo=UTC) - _EPOCH) // _MS
_LATEST_MS = (datetime(9999, 12, 30, tzinfo=UTC) - _EPOCH) // _MS
_UTC = ZoneInfo("UTC")
_OBSERVED = str(IndicatorObserved.__struct_config__.tag)
_LOW_RATE = frozenset(kind for topic in INPUTS if topic.dedupe is Dedupe.FOREVER for kind in topic.types)
_CASE_TYPES = frozenset(name for name, kind in EVENT_TYPES.items() if kind in _LOW_RATE) - {_OBSERVED}


class Play(Struct, frozen=True, kw_only=True):
    """One run: the moment `recorded_at` falls on `played_at`, and time passes `rate` times as fast.

    `paced`    events wait for their moment; otherwise they go out as fast as they are taken
    `shifted`  events carry the clock's times, and ids and cases of this play's own
    """

    recorded_at: datetime
    played_at: datetime
    rate: float
    paced: bool
    shifted: bool

    @property
    def tag(self) -> str:
        """What sets this play's ids and cases apart from those of another play of the same file."""
        return self.played_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"


def plan(
    first: datetime, last: datetime, now: datetime, *, speed: float | None, shifted: bool, lead: timedelta
) -> Play:
    """The play of a recording from `first` to `last` that starts at `now`.

    With a speed, the first moment falls `lead` before now. Without one nothing waits, and times keep their
    distances: the last moment is now, so that nothing lies in the future.
    """
    if speed is None:
        return Play(recorded_at=last, played_at=_to_ms(now), rate=1.0, paced=False, shifted=shifted)
    return Play(recorded_at=first, played_at=_to_ms(now - lead), rate=speed, paced=True, shifted=shifted)


def follow(play: Play, last: datetime, now: datetime, lead: timedelta) -> Play:
    """The next play of a recording that ends at `last`: where this one ended, but at most `lead` before now."""
    after_ms = max(play_ms(play, last), (play.played_at - _EPOCH) // _MS) + 1
    return msgspec.structs.replace(play, played_at=max(_EPOCH + after_ms * _MS, _to_ms(now - lead)))


def play_ms(play: Play, recorded: datetime) -> int:
    """The Unix time, in whole ms, at which a recorded moment is played. Never falls while `recorded` rises."""
    passed_us = (recorded - play.recorded_at) // _US
    moment_ms = (play.played_at - _EPOCH) // _MS + int(passed_us / play.rate // 1000)
    return min(max(moment_ms, _EARLIEST_MS), _LATEST_MS)


def retime(play: Play, raw: bytes) -> bytes:
    """The event's JSON as this play sends it: the same bytes when times are kept."""
    if not play.shifted:
        return raw
    content: dict[str, Any] = msgspec.json.decode(raw)
    data: dict[str, Any] = content["data"]
    paths = instant_fields(content["type"])
    moments: dict[str, datetime] = {}
    for name in paths:
        holder = data if name.startswith("data.") else content
        text = holder.get(name.removeprefix("data."))
        if text is not None:
            moments[name] = msgspec.convert(text, datetime)
    mapped = _map_all(play, moments)
    if content["type"] == _OBSERVED:
        data["period"] = _moved_period(data["period"], moments["time"], mapped["time"])
    for name, moment_ms in mapped.items():
        holder = data if name.startswith("data.") else content
        holder[name.removeprefix("data.")] = _text(moment_ms)
    for name in ("id", "supersedes", "withdraws", *(("subject",) if content["type"] in _CASE_TYPES else ())):
        if content.get(name) is not None:
            content[name] = _tagged(content[name], play.tag)
    return msgspec.json.encode(content)


@cache
def instant_fields(event_type: str) -> tuple[str, ...]:
    """The JSON names of all instants of an event type; those within `data` begin with "data."."""
    envelope = EVENT_TYPES[event_type]
    data = next(field.type for field in msgspec.structs.fields(envelope) if field.name == "data")
    return (*_instants_of(envelope, ""), *_instants_of(data, "data."))


def _instants_of(cls: type[Struct], prefix: str) -> list[str]:
    info = cast("msgspec.inspect.StructType", msgspec.inspect.type_info(cls))
    return [prefix + field.encode_name for field in info.fields if _holds_instant(field.type)]


def _holds_instant(kind: msgspec.inspect.Type) -> bool:
    if isinstance(kind, msgspec.inspect.UnionType):
        return any(_holds_instant(one) for one in kind.types)
    return isinstance(kind, msgspec.inspect.DateTimeType)


def _map_all(play: Play, moments: Mapping[str, datetime]) -> dict[str, int]:
    """Maps the instants of one event, keeping which are equal and which lie before which.

    At a high speed two moments may fall into one millisecond, and what was late would be in time. `time` itself
    stays where the map puts it, so that events keep their order; the others give way by a millisecond.
    """
    distinct = sorted(set(moments.values()))
    mapped = {moment: play_ms(play, moment) for moment in distinct}
    pivot = distinct.index(moments["time"])
    for at in range(pivot + 1, len(distinct)):
        mapped[distinct[at]] = max(mapped[distinct[at]], mapped[distinct[at - 1]] + 1)
    for at in range(pivot - 1, -1, -1):
        mapped[distinct[at]] = min(mapped[distinct[at]], mapped[distinct[at + 1]] - 1)
    return {name: mapped[moment] for name, moment in moments.items()}


def _moved_period(text: str, recorded: datetime, played_ms: int) -> str:
    """The period as far before the event's new time, in periods of its length, as it was before the recorded one."""
    try:
        period = parse_period(text)
    except OperatorError:
        return text  # the centre refuses it, and says why
    then, now = (period_of(period.grain, at_s, _UTC).first for at_s in (recorded.timestamp(), played_ms / 1000))
    try:
        if period.grain is Grain.DAY:
            return str(Period(period.grain, now + (period.first - then)))
        months = (now.year + period.first.year - then.year) * 12 + now.month + period.first.month - then.month - 1
        return str(Period(period.grain, date(months // 12, months % 12 + 1, 1)))
    except (OverflowError, ValueError):
        return text  # so far away that the calendar ends before


def _tagged(name: str, tag: str) -> str:
    tagged = f"{name}@{tag}"
    if len(tagged) <= NAME_LENGTH_MAX:
        return tagged
    # Too long with the tag: a digest keeps names apart that are equal where they are cut.
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{name[: NAME_LENGTH_MAX - len(tag) - len(digest) - 2]}~{digest}@{tag}"


def _to_ms(moment: datetime) -> datetime:
    return _EPOCH + (moment - _EPOCH) // _MS * _MS


def _text(moment_ms: int) -> str:
    return (_EPOCH + moment_ms * _MS).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
