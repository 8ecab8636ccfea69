"""What does the server say on the live feed, word for word?

Every part that several clients get is serialised once, and a client's message is put together from such texts. The
protocol is described in docs/live-protocol.md.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from dashboard_api.position import Position
from dashboard_api.refusal import Refused
from dashboard_api.reported import Reported
from dashboard_api.subscription import Series
from dashboard_api.touched import Point


class DatabaseState(Struct, frozen=True, kw_only=True):
    """Whether the database answers. `since` is when that began; `detail` says what is wrong with it."""

    state: Literal["up", "away"]
    since: datetime
    detail: str | None = None


class FeedState(Struct, frozen=True, kw_only=True):
    """How fresh the feed is. It is `held` while an open transaction keeps committed changes from being shown.

    `lag_s` is the age of the oldest committed change that was not shown yet, in seconds.
    """

    state: Literal["live", "held", "away"]
    lag_s: float


class StreamsState(Struct, frozen=True, kw_only=True):
    """Whether at least one worker counts, and since when; if not, the machine-readable why, and one line for people.

    It is `unknown` while the database cannot be asked.
    """

    state: Literal["up", "away"]
    since: datetime
    reason: Literal["halted", "silent", "starting", "none", "unknown"] | None = None
    detail: str | None = None


LEFT_OUT = ("tracking", "person", "author", "personal", "plate")
"""What of an event's data no list shows."""

COMMAND_TYPE = "ioc.case.command.v1"

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class EventItem(Struct, frozen=True):
    """An event as lists show it: its own JSON, when it was committed, and the position that covers it."""

    event: msgspec.Raw
    committed_at: datetime
    position: str


def value_text(point: Point, version: int, last_minute_s: int, value: Reported) -> str:
    """One bucket's value, absolute; of two the one with the higher version holds."""
    fields = {
        "kpi": point.kpi,
        "area": point.area,
        "tier": point.tier,
        "bucket": point.bucket_s,
        "last_minute": last_minute_s,
        "version": version,
    }
    return _text(fields | _fields(value))


def series_text(series: Series, zone: str, last_minute_s: int | None, points: Iterable[tuple[int, Reported]]) -> str:
    """A whole series of (bucket start, value), oldest first."""
    return _text(
        {
            "kpi": series.kpi,
            "area": series.area,
            "tier": series.tier,
            "zone": zone,
            "last_minute": last_minute_s,
            "points": [{"bucket": bucket_s} | _fields(value) for bucket_s, value in points],
        }
    )


def event_text(body: bytes, committed_at: datetime, position: Position) -> str:
    """One event with its own JSON inside, as the sender wrote it, but for what leads to a person."""
    return _text(EventItem(msgspec.Raw(_without_persons(body)), committed_at, str(position)))


def _without_persons(body: bytes) -> bytes:
    """The event without hashes of tracking secrets, pseudonyms and plates; a plate is seen in its case by who may."""
    # A name that is written with escapes is found by reading it.
    if b"\\u" not in body and not any(b'"%b"' % name.encode() in body for name in LEFT_OUT):
        return body
    envelope = _members.decode(body)
    data = {name: value for name, value in _members.decode(envelope["data"]).items() if name not in LEFT_OUT}
    if msgspec.json.decode(envelope["type"]) == COMMAND_TYPE:
        given = _members.decode(data["actor"])
        data["actor"] = _raw({name: value for name, value in given.items() if name not in LEFT_OUT})
    return msgspec.json.encode(envelope | {"data": _raw(data)})


def _raw(members: dict[str, msgspec.Raw]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(members))


def snapshot_text(
    position: Position,
    time: datetime,
    reason: str | None,
    series: Sequence[str],
    events: Sequence[str],
    sources: Sequence[str],
    *,
    handling: str = "",
) -> str:
    """Everything that a board shows, as of `position`. `reason` says why a client that had one gets it again."""
    return (
        f'{{"op":"snapshot","position":"{position}","time":{_text(time)},"reason":{_text(reason)},'
        f'"series":[{",".join(series)}],"events":[{",".join(events)}],"sources":[{",".join(sources)}]{handling}}}'
    )


def change_text(
    position: Position,
    time: datetime,
    values: Iterable[str],
    events: Iterable[str],
    events_skipped: int,
    sources: Iterable[str],
    *,
    resumed: bool = False,
    handling: str = "",
) -> str:
    """What changed up to `position`. `events_skipped` older new events are left out: the list would not show them."""
    mark = '"resumed":true,' if resumed else ""
    return (
        f'{{"op":"change","position":"{position}","time":{_text(time)},{mark}"values":[{",".join(values)}],'
        f'"events":[{",".join(events)}],"events_skipped":{events_skipped},"sources":[{",".join(sources)}]{handling}}}'
    )


def handling_text(
    cases: Sequence[str] | None,
    gone: Sequence[str],
    units: Sequence[str] | None,
    outcomes: Sequence[str],
    *,
    has_more: bool,
) -> str:
    """What a snapshot or a change says of cases, units and commands: only what there is to say."""
    parts = [
        *([] if cases is None else [f',"cases":[{",".join(cases)}]']),
        *([f',"cases_gone":{_text(gone)}'] if gone else []),
        *([',"cases_more":true'] if has_more else []),
        *([] if units is None else [f',"units":[{",".join(units)}]']),
        *([f',"outcomes":[{",".join(outcomes)}]'] if outcomes else []),
    ]
    return "".join(parts)


def heartbeat_text(position: Position | None, time: datetime, feed: FeedState, streams: StreamsState) -> str:
    """A sign of life. `position` is what this client has been sent everything up to; null before its snapshot."""
    return _text(
        {
            "op": "heartbeat",
            "position": str(position) if position else None,
            "time": time,
            "feed": feed,
            "streams": streams,
        }
    )


def status_text(database: DatabaseState) -> str:
    """The database went away or came back."""
    return _text({"op": "status", "database": database})


def error_text(refused: Refused) -> str:
    """What was wrong with the client's last message. The connection and its subscription go on."""
    return _text(
        {
            "op": "error",
            "field": refused.field,
            "reason": refused.reason,
            "detail": refused.detail,
            "fix": refused.fix,
        }
    )


def lagging_text(waited_s: float, replaced: int) -> str:
    """The client takes messages too slowly: one waited for so long, and `replaced` values were overtaken by newer."""
    return _text({"op": "lagging", "waited_s": round(waited_s, 3), "replaced": replaced})


def close_text(code: int, reason: str) -> str:
    """The last message of a stream of events: what a WebSocket says when it closes."""
    return _text({"op": "close", "code": code, "reason": reason})


def poll_text(session: str, position: str | None, messages: Iterable[str]) -> str:
    """The answer to a poll. `session` and `position` are what the next one has to bring."""
    return f'{{"session":{_text(session)},"position":{_text(position)},"messages":[{",".join(messages)}]}}'


_POSITION = re.compile(r'\{"op":"(?:snapshot|change|heartbeat)","position":"(\d+-\d+)"')


def position_of(text: str) -> str | None:
    """The position of one of our own messages; None where it has none."""
    found = _POSITION.match(text)
    return None if found is None else found[1]


def _fields(value: Reported) -> dict[str, Any]:
    """The value of now; where it was corrected, with what was first reported, and when it last changed."""
    fields: dict[str, Any] = msgspec.to_builtins(value.now)
    if value.corrected_at is not None:
        fields |= {"first": msgspec.to_builtins(value.first), "corrected_at": value.corrected_at}
    return fields


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
