"""Which site do the tests of streams watch, and what happens in it?"""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from schemas import codec
from schemas.event import AnyEvent
from schemas.site import Site, parse_site
from streams.core.batch import Arrival, Batch, read

# Four zones: one without summer time, one half an hour off, one with summer time, one where it is half an hour.
SITE: Site = parse_site(
    {
        "site.toml": """
id = "test"
names = { vi = "Tỉnh thử", en = "Test province" }
zone = "Asia/Ho_Chi_Minh"
area_list = "test-2025"
languages = ["en"]""",
        "areas.csv": """code,parent,kind,name_vi,name_en,zone
00,,province,Tỉnh thử,Test province,
01,00,district,Huyện Một,District One,
0101,01,commune,Xã Một,Commune One,
0102,01,commune,Xã Hai,Commune Two,
02,00,district,Huyện Hai,District Two,Asia/Kolkata
0201,02,commune,Xã Ba,Commune Three,America/New_York
0202,02,commune,Xã Tư,Commune Four,Australia/Lord_Howe""",
        "kpis.toml": """
[[kpi]]
id = "received"
names = { en = "Reports received" }
unit = "1"
event = "ioc.feedback.received.v1"
measure = "count"
dimensions = ["category"]

[[kpi]]
id = "received_by_phone"
names = { en = "Reports received by phone" }
unit = "1"
event = "ioc.feedback.received.v1"
measure = "count"
where = { channel = "phone" }

[[kpi]]
id = "on_time"
names = { en = "Closed on time" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "in_time"
due = "due_at"
dimensions = ["agency"]

[[kpi]]
id = "objects"
names = { en = "Objects seen" }
unit = "1"
event = "ioc.camera.detection.v1"
measure = "sum"
value = "count"
dimensions = ["kind"]

[[kpi]]
id = "scores"
names = { en = "Scores of detections" }
unit = "1"
event = "ioc.camera.detection.v1"
measure = "percentile"
q = 0.5
value = "score"

[[kpi]]
id = "response"
names = { en = "Response time" }
unit = "s"
event = "ioc.service.metric.v1"
measure = "mean"
value = "value"
where = { metric = "response" }
dimensions = ["service"]
""",
    }
)

LOGGED_MS = 1_750_000_000_000
"""The log's time of the first record, unless a test says otherwise."""

RECEIVED_AT = datetime(2025, 6, 15, 15, 6, tzinfo=UTC)
LEAVES = ("0101", "0102", "0201", "0202", "01", "00")

_DATA: dict[str, dict[str, Any]] = {
    "ioc.feedback.received.v1": {"category": "road"},
    "ioc.feedback.closed.v1": {"category": "road"},
    "ioc.camera.detection.v1": {"camera": "cam-1", "kind": "car"},
    "ioc.camera.incident.v1": {"camera": "cam-1", "kind": "fire", "severity": "major"},
    "ioc.service.metric.v1": {"service": "portal", "metric": "response", "value": 1.0},
}


def attributes(type_: str = "ioc.camera.detection.v1", *, data: dict[str, Any] | None = None, **given: Any) -> Any:
    """The attributes of a valid event, with some set otherwise; None leaves one out."""
    whole = {
        "specversion": "1.0",
        "type": type_,
        "source": "s",
        "id": "1",
        "time": "2025-07-01T08:00:00+07:00",
        "area": "0101",
        "data": _DATA.get(type_, {}) | (data or {}),
        **given,
    }
    return {name: value for name, value in whole.items() if value is not None}


def raw(type_: str = "ioc.camera.detection.v1", *, data: dict[str, Any] | None = None, **given: Any) -> bytes:
    """A valid event's bytes as `ingest` writes them."""
    return codec.seal(msgspec.json.encode(attributes(type_, data=data, **given)), RECEIVED_AT, "test-2025")


def event(type_: str = "ioc.camera.detection.v1", *, data: dict[str, Any] | None = None, **given: Any) -> AnyEvent:
    """A valid event."""
    return codec.decode(raw(type_, data=data, **given))


class StoredRecord(msgspec.Struct, frozen=True):
    """A record on the log."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def arrival(bytes_: bytes, logged_ms: int = LOGGED_MS) -> Arrival:
    """An event as it comes off the log."""
    return read("t", 0, [StoredRecord(0, logged_ms, b"k", bytes_)], SITE.areas).arrivals[0]


def batch(
    values: Sequence[bytes | None],
    first_offset: int = 0,
    topic: str = "t",
    partition: int = 0,
    logged_ms: int = LOGGED_MS,
) -> Batch:
    """Consecutive records, a millisecond apart."""
    records = [
        StoredRecord(first_offset + index, logged_ms + first_offset + index, b"k", value)
        for index, value in enumerate(values)
    ]
    return Batch(topic, partition, records, first_offset + len(values))


def some_events(count: int, seed: int, begin: datetime | None = None, areas: Sequence[str] = LEAVES) -> list[bytes]:
    """Events of every type, all different, spread over three days in which clocks change."""
    rng = random.Random(seed)
    begin = begin or datetime(2025, 4, 4, 12, 0, tzinfo=UTC)  # on 5 April clocks go back in Lord Howe
    made: list[bytes] = []
    for number in range(count):
        type_ = rng.choice(list(_DATA))
        time = begin + timedelta(milliseconds=rng.randrange(3 * 24 * 3600 * 1000))
        due_at = time + timedelta(seconds=rng.choice([-1, 0, 1, 3600]))
        data: dict[str, Any] = {}
        if type_.startswith("ioc.feedback"):
            data["category"] = rng.choice(["road", "noise", "Rác thải"])
            data["agency"] = rng.choice(["PWD", "ISD", None])
            data["channel"] = rng.choice(["phone", "app"])
            data["due_at"] = rng.choice([due_at.isoformat(), None])
        elif type_ == "ioc.camera.detection.v1":
            data["kind"] = rng.choice(["car", "bike"])
            data["count"] = rng.randrange(1, 9)
            data["score"] = rng.choice([None, 0.0, 0.25, 0.5, 1.0])
        elif type_ == "ioc.service.metric.v1":
            data["metric"] = rng.choice(["response", "errors"])
            # Sums of these are exact in binary, in any order.
            data["value"] = rng.randrange(-64, 4096) / 16
        flags: dict[str, Any] = {}
        match rng.randrange(40):
            case 0:
                flags["exercise"] = True
            case 1:
                flags["supersedes"] = "earlier"
            case 2:
                flags["withdraws"] = "earlier"
            case _:
                pass
        kept = {name: value for name, value in data.items() if value is not None}
        made.append(
            raw(
                type_,
                id=f"{seed}-{number}",
                source=f"source-{rng.randrange(6)}",
                subject=f"case-{seed}-{number}",
                time=time.isoformat(timespec="milliseconds"),
                area=rng.choice(areas),
                data=kept,
                **flags,
            )
        )
    return made


def arrivals_of(raws: Iterable[bytes]) -> list[Arrival]:
    """Events as they come off the log, a millisecond apart."""
    return [arrival(one, LOGGED_MS + index) for index, one in enumerate(raws)]
