"""Which site do the tests of streams watch, and what happens in it?"""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from schemas import codec
from schemas.event import AnyEvent
from schemas.site import Pack, Site, parse_site
from streams.core.batch import Arrival, Batch
from streams.versions import Version, compiled
from tests.streams import naive

# Four zones: one without summer time, one half an hour off, one with summer time, one where it is half an hour.
# Every measure, on topics that can be corrected wherever it has to be found anew.
PACK: Pack = {
    "site.toml": """
id = "test"
names = { vi = "Tỉnh thử", en = "Test province" }
zone = "Asia/Ho_Chi_Minh"
area_list = "test-2025"
languages = ["en"]
retention = { minute_days = 36500, hour_days = 36500 }""",
    "areas.csv": """id,code,parent,kind,name_vi,name_en,zone
,00,,province,Tỉnh thử,Test province,
,01,00,district,Huyện Một,District One,
,0101,01,commune,Xã Một,Commune One,
,0102,01,commune,Xã Hai,Commune Two,
,02,00,district,Huyện Hai,District Two,Asia/Kolkata
,0201,02,commune,Xã Ba,Commune Three,America/New_York
howe,0202,02,commune,Xã Tư,Commune Four,Australia/Lord_Howe""",
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
id = "received_elsewhere"
names = { en = "Reports received by anything but the phone, and all about noise" }
unit = "1"
event = "ioc.feedback.received.v1"
measure = "count"
dimensions = ["channel", "agency", "category"]
where = [{ channel = { is_not = "phone" }, agency = { given = true } }, { category = ["noise"] }]

[[kpi]]
id = "agencies"
names = { en = "Agencies that were written to" }
unit = "1"
event = "ioc.feedback.received.v1"
measure = "distinct"
of = "agency"

[[kpi]]
id = "on_time"
names = { en = "Closed on time" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "in_time"
due = "due_at"
dimensions = ["agency"]

[[kpi]]
id = "within_an_hour"
names = { en = "Closed within an hour" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "within"
since = "opened_at"
within_s = 3600

[[kpi]]
id = "handling"
names = { en = "Handling time" }
unit = "s"
event = "ioc.feedback.closed.v1"
measure = "mean"
since = "opened_at"
dimensions = ["category", "agency"]

[[kpi]]
id = "longest"
names = { en = "Longest handling time" }
unit = "s"
event = "ioc.feedback.closed.v1"
measure = "max"
since = "opened_at"
dimensions = ["agency"]

[[kpi]]
id = "shortest"
names = { en = "Shortest handling time" }
unit = "s"
event = "ioc.feedback.closed.v1"
measure = "min"
since = "opened_at"

[[kpi]]
id = "satisfied"
names = { en = "Satisfied" }
unit = "1"
measure = "ratio"
numerator = { measure = "count", event = "ioc.feedback.rated.v1", where = { score = { at_least = 4 } } }
denominator = { measure = "count", event = "ioc.feedback.rated.v1" }

[[kpi]]
id = "last_score"
names = { en = "Last score" }
unit = "1"
event = "ioc.feedback.rated.v1"
measure = "latest"
value = "score"
across = "mean"
dimensions = ["channel"]

[[kpi]]
id = "staff"
names = { en = "Staff" }
unit = "1"
event = "ioc.indicator.observed.v1"
period = "month"
measure = "latest"
value = "value"
where = { indicator = "staff" }
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
id = "cameras"
names = { en = "Cameras that saw something" }
unit = "1"
event = "ioc.camera.detection.v1"
measure = "distinct"
of = "camera"

[[kpi]]
id = "response"
names = { en = "Response time" }
unit = "s"
event = "ioc.service.metric.v1"
measure = "mean"
value = "value"
where = { metric = "response" }
dimensions = ["service"]

[[kpi]]
id = "slowest"
names = { en = "Slowest response" }
unit = "s"
event = "ioc.service.metric.v1"
measure = "max"
value = "value"

[[kpi]]
id = "fastest"
names = { en = "Fastest response" }
unit = "s"
event = "ioc.service.metric.v1"
measure = "min"
value = "value"

[[kpi]]
id = "load"
names = { en = "Load" }
unit = "1"
event = "ioc.service.metric.v1"
measure = "latest"
value = "value"
dimensions = ["service"]
""",
}
SITE: Site = parse_site(PACK)
VERSION: Version = compiled(0, SITE)

LOGGED_MS = 1_751_331_630_000
"""The log's time of the first record, unless a test says otherwise: half a minute after the event of `raw`."""

RECEIVED_AT = datetime(2025, 7, 1, 1, 0, 29, tzinfo=UTC)
LEAVES = ("0101", "0102", "0201", "0202", "01", "00")

_DATA: dict[str, dict[str, Any]] = {
    "ioc.feedback.received.v1": {"category": "road"},
    "ioc.feedback.closed.v1": {"category": "road"},
    "ioc.feedback.rated.v1": {"score": 4},
    "ioc.indicator.observed.v1": {"indicator": "staff", "period": "2025-06", "value": 7.0},
    "ioc.camera.detection.v1": {"camera": "cam-1", "kind": "car"},
    "ioc.camera.incident.v1": {"camera": "cam-1", "kind": "fire", "severity": "major"},
    "ioc.service.metric.v1": {"service": "portal", "metric": "response", "value": 1.0},
}


TYPES = tuple(_DATA)
PASSING = ("ioc.camera.detection.v1", "ioc.service.metric.v1")
"""Types that are counted and not kept one by one."""
CORRECTABLE = tuple(type_ for type_ in TYPES if type_ not in PASSING)


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


def raw(
    type_: str = "ioc.camera.detection.v1",
    *,
    data: dict[str, Any] | None = None,
    received_at: datetime = RECEIVED_AT,
    **given: Any,
) -> bytes:
    """A valid event's bytes as `ingest` writes them."""
    return codec.seal(msgspec.json.encode(attributes(type_, data=data, **given)), received_at, "test-2025")


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
    return VERSION.reader.read("t", 0, [StoredRecord(0, logged_ms, b"k", bytes_)]).arrivals[0]


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


def some_events(
    count: int,
    seed: int,
    begin: datetime | None = None,
    areas: Sequence[str] = LEAVES,
    types: Sequence[str] = TYPES,
) -> list[bytes]:
    """Events of these types, all different, spread over three days in which clocks change.

    Some are drills; some replace or take back another one that comes earlier or later or never, or that several do.
    """
    rng = random.Random(seed)
    begin = begin or datetime(2025, 4, 4, 12, 0, tzinfo=UTC)  # on 5 April clocks go back in Lord Howe
    sources = [f"source-{rng.randrange(6)}" for _ in range(count)]
    made: list[bytes] = []
    for number, source in enumerate(sources):
        type_ = rng.choice(types)
        time = begin + timedelta(milliseconds=rng.randrange(3 * 24 * 3600 * 1000))
        flags: dict[str, Any] = {"exercise": True} if rng.randrange(40) == 0 else {}
        if type_ in CORRECTABLE and rng.randrange(6) == 0:
            others = [other for other in range(count) if sources[other] == source and other != number]
            # Of a few, so that some are corrected twice.
            target = rng.choice([*others[:3], *others[-3:], 10**6])
            flags[rng.choice(["supersedes", "supersedes", "withdraws"])] = f"{seed}-{target}"
        made.append(
            raw(
                type_,
                id=f"{seed}-{number}",
                source=source,
                subject=f"case-{seed}-{number}",
                time=time.isoformat(timespec="milliseconds"),
                area=rng.choice(areas),
                data=some_data(type_, time, rng),
                received_at=RECEIVED_AT - timedelta(seconds=rng.randrange(5)),
                **flags,
            )
        )
    return made


def some_data(type_: str, time: datetime, rng: random.Random) -> dict[str, Any]:
    """Data of an event of this type at this time."""
    data: dict[str, Any] = {}
    if type_.startswith("ioc.feedback"):
        data["category"] = rng.choice(["road", "noise", "Rác thải"])
        data["agency"] = rng.choice(["PWD", "ISD", None])
        data["channel"] = rng.choice(["phone", "app"])
        data["due_at"] = rng.choice([(time + timedelta(seconds=rng.choice([-1, 0, 1, 3600]))).isoformat(), None])
        data["opened_at"] = rng.choice([(time - timedelta(seconds=rng.randrange(0, 7200, 900))).isoformat(), None])
        if type_ == "ioc.feedback.rated.v1":
            data["score"] = rng.randrange(1, 6)
    elif type_ == "ioc.indicator.observed.v1":
        data["indicator"] = rng.choice(["staff", "other"])
        data["period"] = rng.choice(["2025", "2025-Q1", "2025-03", "2025-04-01"])
        data["value"] = rng.choice([0.1, 0.2, 0.3, 1e15])
        data["agency"] = rng.choice(["PWD", None])
    elif type_ == "ioc.camera.detection.v1":
        data["camera"] = f"cam-{rng.randrange(5)}"
        data["kind"] = rng.choice(["car", "bike"])
        data["count"] = rng.randrange(1, 9)
        data["score"] = rng.choice([None, 0.0, 0.25, 0.5, 1.0])
    elif type_ == "ioc.service.metric.v1":
        data["metric"] = rng.choice(["response", "errors"])
        # Added up as binary fractions, these would depend on the order.
        data["value"] = rng.choice([0.1, 0.2, 0.3, -0.7, 1e15, rng.randrange(-64, 4096) / 16])
    return {name: value for name, value in data.items() if value is not None}


class Logged(NamedTuple):
    """A record's value, and when the log got it."""

    logged_ms: int
    value: bytes


LOG_BEGIN = datetime(2025, 4, 5, 13, 0, tzinfo=UTC)
"""Two hours before clocks go back in Lord Howe, and four before midnight in Hanoi."""


def some_log(count: int, seed: int, types: Sequence[str] = CORRECTABLE, begin: datetime = LOG_BEGIN) -> list[Logged]:
    """Some hours on one partition: events in time and late, resends, drills, and what is replaced or taken back."""
    rng = random.Random(seed)
    logged = begin
    made: list[Logged] = []
    for number in range(count):
        logged += timedelta(seconds=rng.choice([0, 0, 1, 20, 20, 45, 150, 400, 1300]))
        logged_ms = int(logged.timestamp() * 1000)
        if made and rng.randrange(12) == 0:
            made.append(Logged(logged_ms, rng.choice(made).value))
            continue
        type_ = rng.choice(types)
        time = logged + timedelta(seconds=rng.choice([0, 0, -1, -40, -130, -300, -2000, -4000, -90_000, 600]))
        flags: dict[str, Any] = {"exercise": True} if rng.randrange(15) == 0 else {}
        if type_ in CORRECTABLE and rng.randrange(3) == 0 and number:
            target = rng.choice([number - 1, rng.randrange(number), rng.randrange(number), number + 1])
            flags[rng.choice(["supersedes", "supersedes", "withdraws"])] = f"{seed}-{target}"
        data = some_data(type_, time, rng)
        if "period" in data:
            data["period"] = rng.choice(["2025-04-05", "2025-04"])
        made.append(
            Logged(
                logged_ms,
                raw(
                    type_,
                    id=f"{seed}-{number}",
                    source="s",
                    time=time.isoformat(timespec="milliseconds"),
                    area=rng.choice(["0101", "0102", "0202"]),
                    data=data,
                    received_at=logged - timedelta(seconds=rng.randrange(3)),
                    **flags,
                ),
            )
        )
    return made


def records_of(log: Sequence[Logged]) -> list[StoredRecord]:
    """As they stand on a partition."""
    return [StoredRecord(offset, one.logged_ms, None, one.value) for offset, one in enumerate(log)]


def moments_of(log: Sequence[Logged]) -> list[naive.Moment]:
    """What somebody sees who looks at one event after the other."""
    return [naive.Moment(codec.decode(one.value), one.logged_ms) for one in log]


def arrivals_of(raws: Iterable[bytes]) -> list[Arrival]:
    """Events as they come off the log, a millisecond apart."""
    return [arrival(one, LOGGED_MS + index) for index, one in enumerate(raws)]
