"""Are the events behind a number those that it was counted from, all of them and no others?"""

import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest

from dashboard_api import drill
from deploy.site import load_pack
from schemas.event import AnyEvent, type_of
from schemas.kpi import Measure
from schemas.site import Pack, parse_site
from schemas.topics import Dedupe, topic_of
from tests.acceptance.test_reference_catalogue import PACK, a_day
from tests.dashboard.case_centre import LEADER, Issuer, with_a_leader
from tests.dashboard.centre import Running, dashboard
from tests.dashboard.worker import count

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
MARCH = datetime(2026, 3, 10, 9, tzinfo=HANOI)
NOW = datetime(2026, 4, 2, 12, tzinfo=HANOI)

AREAS_CSV = """id,code,list,parent,kind,name_vi,name_en,valid_from,valid_to
,P,new,,province,Tỉnh,Province,2025-07-01,
,A,new,P,commune,Xã A,Commune A,2025-07-01,
,B,new,P,commune,Xã B,Commune B,2025-07-01,
,d,old,,district,Huyện,District,,2025-07-01
,x,old,d,commune,Xã x,Commune x,,2025-07-01
,y,old,d,commune,Xã y,Commune y,,2025-07-01
"""
LINEAGE_CSV = """old,new,kind
x,A,full
y,A,partial
y,B,partial
"""
SITE_TOML = """
id = "test"
names = { vi = "Tỉnh thử", en = "Test province" }
zone = "Asia/Ho_Chi_Minh"
area_list = "new"
languages = ["vi", "en"]
"""
KPIS_TOML = """
[[kpi]]
id = "received"
names = { vi = "Đã nhận", en = "Received" }
unit = "1"
event = "ioc.feedback.received.v1"
measure = "count"
dimensions = ["category", "channel"]

[[kpi]]
id = "closed"
names = { vi = "Đã đóng", en = "Closed" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "count"

[[kpi]]
id = "open"
names = { vi = "Đang xử lý", en = "Open" }
unit = "1"
measure = "balance"
plus = "received"
minus = "closed"

[[kpi]]
id = "by_phone"
names = { vi = "Qua điện thoại", en = "By phone" }
unit = "1"
measure = "ratio"
numerator = { measure = "count", event = "ioc.feedback.received.v1", where = { channel = "phone" } }
denominator = { measure = "count", event = "ioc.feedback.received.v1" }

[[kpi]]
id = "on_time"
names = { vi = "Đúng hạn", en = "On time" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "in_time"
due = "due_at"

[[kpi]]
id = "within_a_day"
names = { vi = "Trong ngày", en = "Within a day" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "within"
since = "opened_at"
within_s = 86400

[[kpi]]
id = "connected"
names = { vi = "Hộ có mạng", en = "Households online" }
unit = "1"
measure = "ratio"
numerator = { measure = "latest", event = "ioc.indicator.observed.v1", period = "month", value = "value" }
denominator = { measure = "latest", event = "ioc.indicator.observed.v1", period = "month", value = "of" }

[[kpi]]
id = "per_detection"
names = { vi = "Sự cố trên lượt phát hiện", en = "Incidents per detection" }
unit = "1"
measure = "ratio"
numerator = { measure = "count", event = "ioc.camera.incident.v1" }
denominator = { measure = "sum", event = "ioc.camera.detection.v1", value = "count" }
"""
PACK_TEXTS: Pack = {
    "site.toml": SITE_TOML,
    "areas.csv": AREAS_CSV,
    "lineage.csv": LINEAGE_CSV,
    "kpis.toml": KPIS_TOML,
}


def happened(type_: str, id_: str, time: datetime, area: str = "A", **more: Any) -> AnyEvent:
    """An event of this type; `more` is its data, and `envelope` what stands around it."""
    area_list = "old" if area in "dxy" else "new"
    envelope: dict[str, Any] = {"specversion": "1.0", "type": f"ioc.{type_}.v1", "id": id_, "source": "hotline"}
    envelope |= {"time": time, "area": area, "arealist": area_list, **more.pop("envelope", {})}
    event: AnyEvent = msgspec.convert({**envelope, "data": more}, AnyEvent)
    return event


def received(id_: str, time: datetime, area: str = "A", **more: Any) -> AnyEvent:
    """A report."""
    return happened("feedback.received", id_, time, area, **{"category": "road", **more})


def ids(answer: dict[str, Any], part: str | None = None) -> list[str]:
    """The events listed, or those of one part."""
    return [
        item["id"]
        for item in answer["items"]
        if part is None or part in [counted["part"] for counted in item["counted"]]
    ]


async def ask(running: Running, kpi: str, headers: Mapping[str, str] | None = None, **params: Any) -> dict[str, Any]:
    """One question that is answered."""
    async with httpx.AsyncClient(base_url=running.http, trust_env=False, timeout=20, headers=headers) as client:
        answer = await client.get(f"/v1/kpis/{kpi}/events", params={"period": "2026-03", **params})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


async def every_page(running: Running, kpi: str, **params: Any) -> list[dict[str, Any]]:
    """All events behind a value, page by page."""
    items: list[dict[str, Any]] = []
    before: dict[str, Any] = {}
    for _ in range(1_000):
        page = await ask(running, kpi, **params, **before)
        items += page["items"]
        if page["next"] is None:
            return items
        before = {"before": page["next"]}
    raise AssertionError("the pages do not end")


@pytest.fixture
async def running(tables: str) -> AsyncGenerator[Running]:
    """The dashboard of a small site over an empty database."""
    site = parse_site(PACK_TEXTS)
    async with dashboard(tables, current_site=lambda: site, now=lambda: NOW) as one:
        yield one


async def test_a_count_leads_to_its_events_the_newest_first(running: Running, tables: str) -> None:
    hour = timedelta(hours=1)
    await count(
        tables,
        PACK_TEXTS,
        [
            received("a", MARCH, channel="phone", envelope={"subject": "case-1"}),
            received("b", MARCH + hour, "B", category="waste"),
            received("c", MARCH + 2 * hour),
            received("drill", MARCH, envelope={"exercise": True}),
            received("february", datetime(2026, 2, 28, 23, 59, 59, tzinfo=HANOI)),
            received("april", datetime(2026, 4, 1, tzinfo=HANOI)),
            received("c2", MARCH + 3 * hour, envelope={"supersedes": "c"}),
            received("gone", MARCH),
            received("taken-back", MARCH, envelope={"withdraws": "gone"}),
        ],
    )
    answer = await ask(running, "received")
    assert (ids(answer), answer["value"]["n"], answer["next"]) == (["c2", "b", "a"], 3, None)
    assert (answer["from"], answer["to"]) == ("2026-03-01T00:00:00+07:00", "2026-04-01T00:00:00+07:00")
    assert answer["items"][2] == {
        "source": "hotline",
        "id": "a",
        "type": "ioc.feedback.received.v1",
        "subject": "case-1",
        "case": None,
        "time": "2026-03-10T02:00:00Z",
        "belongs_at": "2026-03-10T02:00:00Z",
        "area": "A",
        "dims": {"category": "road", "channel": "phone"},
        "counted": [{"part": "value"}],
    }
    assert ids(await ask(running, "received", area="B")) == ["b"]
    assert ids(await ask(running, "received", where="category:waste")) == ["b"]
    assert ids(await ask(running, "received", where=["category:road", "channel:"])) == ["c2"]


async def test_a_ratio_marks_its_parts(running: Running, tables: str) -> None:
    await count(
        tables, PACK_TEXTS, [received("web", MARCH, channel="web"), received("phone", MARCH, channel="phone")]
    )
    answer = await ask(running, "by_phone")
    assert (ids(answer, "numerator"), ids(answer, "denominator")) == (["phone"], ["web", "phone"])
    assert (answer["value"]["numerator"], answer["value"]["denominator"]) == (1, 2)
    only = await ask(running, "by_phone", part="numerator")
    assert (ids(only), only["items"][0]["counted"]) == (["phone"], [{"part": "numerator"}])


async def test_deadlines_say_who_met_them(running: Running, tables: str) -> None:
    hour = timedelta(hours=1)

    def closed(id_: str, took_h: int, due_in_h: int | None) -> AnyEvent:
        due = {} if due_in_h is None else {"due_at": MARCH + due_in_h * hour}
        return happened("feedback.closed", id_, MARCH, category="road", opened_at=MARCH - took_h * hour, **due)

    await count(tables, PACK_TEXTS, [closed("late", 30, -1), closed("just", 24, 0), closed("none", 1, None)])
    answer = await ask(running, "on_time")
    assert {one["id"]: one["counted"][0]["in_time"] for one in answer["items"]} == {"late": False, "just": True}
    assert (answer["value"]["n"], answer["value"]["numerator"]) == (2, 1)
    quick = {one["id"]: one["counted"][0] for one in (await ask(running, "within_a_day"))["items"]}
    assert {id_: (how["measured"], how["in_time"]) for id_, how in quick.items()} == {
        "late": (30 * 3600, False),
        "just": (24 * 3600, True),
        "none": (3600, True),
    }


async def test_a_balance_goes_back_to_the_beginning(running: Running, tables: str) -> None:
    long_ago = datetime(2020, 5, 1, tzinfo=HANOI)
    await count(
        tables,
        PACK_TEXTS,
        [
            received("old", long_ago),
            received("new", MARCH),
            happened("feedback.closed", "end", MARCH, category="road"),
            received("later", datetime(2026, 4, 1, 1, tzinfo=HANOI)),
        ],
    )
    answer = await ask(running, "open")
    assert (ids(answer, "plus"), ids(answer, "minus"), answer["value"]["value"]) == (["new", "old"], ["end"], 1)
    assert answer["value"]["n"] == 3


async def test_of_reports_only_the_last_of_each_place_stands(running: Running, tables: str) -> None:
    def observed(
        id_: str, day: int, area: str, value: float, of: float | None = 10, period: str = "2026-03"
    ) -> AnyEvent:
        share = {"value": value} if of is None else {"value": value, "of": of}
        time = datetime(2026, 4, day, 1, tzinfo=HANOI)
        return happened("indicator.observed", id_, time, area, indicator="online", period=period, **share)

    await count(
        tables,
        PACK_TEXTS,
        [
            observed("a1", 1, "A", 5),
            observed("a2", 2, "A", 6, None),
            observed("b", 1, "B", 7),
            observed("b0", 1, "B", 6),
            observed("again", 2, "B", 3, period="2026-02"),
            observed("quarter", 2, "B", 20, period="2026-Q1"),
        ],
        NOW,
    )
    answer = await ask(running, "connected")
    assert set(ids(answer, "numerator")) == {"a2", "b"}
    assert set(ids(answer, "denominator")) & {"a1"}
    assert len(ids(answer, "denominator")) == answer["value"]["n"] == 2
    assert answer["value"]["numerator"] == 13
    assert [one["belongs_at"] for one in answer["items"]] == ["2026-02-28T17:00:00Z"] * len(answer["items"])
    pages = await every_page(running, "connected", limit=1)
    assert [one["id"] for one in pages] == ids(answer)
    # What was said last of an earlier period does not replace what holds of the latest one.
    quarter = await ask(running, "connected", period="2026-Q1")
    assert set(ids(quarter, "numerator")) == {"a2", "b"}
    assert quarter["value"]["numerator"] == 13


async def test_reports_of_the_old_map_stand_until_there_are_some_of_the_new(running: Running, tables: str) -> None:
    def observed(id_: str, time: datetime, area: str, period: str) -> AnyEvent:
        return happened("indicator.observed", id_, time, area, indicator="online", period=period, value=3, of=10)

    old, new = datetime(2025, 5, 2, tzinfo=HANOI), datetime(2025, 12, 2, tzinfo=HANOI)
    await count(tables, PACK_TEXTS, [observed("x", old, "x", "2025-04"), observed("A", new, "A", "2025-11")])
    for period, ids_behind in (("2025-04", ["x"]), ("2025", ["A"])):
        answer = await ask(running, "connected", area="P", period=period)
        assert (ids(answer, "numerator"), answer["value"]["denominator"]) == (ids_behind, 10)


async def test_areas_of_the_old_map_count_where_all_of_them_went(running: Running, tables: str) -> None:
    before = datetime(2025, 5, 1, tzinfo=HANOI)
    await count(
        tables, PACK_TEXTS, [received("x", before, "x"), received("y", before, "y"), received("d", before, "d")]
    )
    answer = await ask(running, "received", area="A", period="2025")
    assert (ids(answer), answer["value"]["n"]) == (["x"], 1)
    assert (answer["value"]["exact"], answer["value"]["upper"]) == (False, 3)
    assert set(answer["uncertain"]) == {"d", "y"}
    everything = await ask(running, "received", area="P", period="2025")
    assert len(ids(everything)) == everything["value"]["n"]


async def test_pages_hold_each_event_once_however_many_share_a_moment(
    running: Running, tables: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = random.Random(7)
    moments = [MARCH + timedelta(minutes=minute) for minute in range(4)]
    events = [
        received(
            f"Đơn {n}",
            chosen.choice(moments),
            chosen.choice("AB"),
            category=chosen.choice(["road", "waste"]),
            envelope={"source": chosen.choice(["Web", "app", "ứng dụng"])},
        )
        for n in range(120)
    ]
    await count(tables, PACK_TEXTS, events)
    # Small bounds, so that chunks, the scan's end and pages all fall between events of one moment.
    monkeypatch.setattr(drill, "CHUNK", 7)
    monkeypatch.setattr(drill, "SCAN_MAX", 21)
    for params in ({"limit": 5}, {"limit": 50}, {"limit": 4, "area": "B", "where": "category:waste"}):
        items = await every_page(running, "received", **params)
        wanted = [
            event.id
            for event in events
            if "area" not in params or (event.area == "B" and getattr(event.data, "category", "") == "waste")
        ]
        assert sorted(item["id"] for item in items) == sorted(wanted)
        times = [item["belongs_at"] for item in items]
        assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("path", "status", "field", "reason"),
    [
        pytest.param("none/events", 404, "id", "unknown_kpi", id="unknown KPI"),
        pytest.param("per_detection/events", 409, "id", "not_kept", id="a part is only on the log"),
        pytest.param("per_detection/events?part=denominator", 409, "part", "not_kept", id="that part is"),
        pytest.param("received/events?part=numerator", 422, "part", "invalid", id="no such part"),
        pytest.param("received/events?area=Z", 422, "area", "unknown_area", id="unknown area"),
        pytest.param("received/events?limit=501", 422, "limit", "out_of_range", id="too many"),
        pytest.param("received/events?limit=0", 422, "limit", "invalid", id="none"),
        pytest.param("received/events?before=x", 422, "before", "invalid", id="no cursor"),
        pytest.param("received/events?before=WzEsImEiLDFd", 422, "before", "invalid", id="cursor of other things"),
        pytest.param("received/events?before=WzFlMzAsImEiLCJiIl0", 422, "before", "invalid", id="cursor far away"),
        pytest.param("received/events?where=agency:x", 422, "where", "invalid", id="no such dimension"),
        pytest.param("received/events?period=2026-13", 422, "period", "invalid", id="no period"),
        pytest.param("received/events?period=2026&from=2026-01-01T00:00:00Z", 422, "period", "invalid", id="both"),
        pytest.param("received/events?step=day", 422, "step", "unknown_field", id="a step"),
    ],
)
async def test_wrong_questions_are_refused(path: str, status: int, field: str, reason: str) -> None:
    problem = await refused(path)
    assert (problem["status"], problem["field"], problem["reason"]) == (status, field, reason)
    assert problem["fix"]


async def test_what_is_only_on_the_log_is_said_to_be_there() -> None:
    problem = await refused("per_detection/events")
    assert "detections.v1" in problem["detail"]
    assert "7 days" in problem["detail"]
    assert problem["fix"] == "Ask for `part=numerator`."


async def refused(path: str) -> dict[str, Any]:
    """What is said to a wrong question, before the database is asked, so that there need be none."""
    site = parse_site(PACK_TEXTS)
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    async with (
        dashboard(nowhere, current_site=lambda: site, now=lambda: NOW) as running,
        httpx.AsyncClient(base_url=running.http, trust_env=False, timeout=20) as client,
    ):
        problem: dict[str, Any] = (await client.get(f"/v1/kpis/{path}")).json()
        return problem


def on_the_log(events: Sequence[AnyEvent]) -> list[AnyEvent]:
    """The events with ids of their own and the list that their codes are of."""
    return [
        msgspec.structs.replace(event, id=f"{type_of(event)}/{at}", area_list="vn-2025")
        for at, event in enumerate(events)
    ]


async def test_every_reference_indicator_leads_to_as_many_events_as_it_counts(tables: str) -> None:
    pack = load_pack(PACK)
    site = with_a_leader(parse_site(pack))
    midnight = datetime(2026, 10, 21, tzinfo=UTC)
    issuer = Issuer(lambda: midnight)
    events = on_the_log(a_day())
    await count(tables, pack, events, datetime(2026, 10, 21, tzinfo=HANOI))
    kept = {type_of(event) for event in events if topic_of(event).dedupe is Dedupe.FOREVER}
    asked = 0
    async with dashboard(
        tables, current_site=lambda: site, now=lambda: midnight, config={"trust": issuer}
    ) as running:
        for kpi in site.kpis.kpis:
            bases = site.kpis.bases_of(kpi.id)
            if not {base.event for base in bases} <= kept or Measure.DISTINCT in {base.measure for base in bases}:
                continue
            # A report counts at the start of its month or year.
            period = "2026" if any(base.period for base in bases) else "2026-10-20"
            answer = await ask(running, kpi.id, issuer.header(LEADER), period=period, limit=500)
            value, parts = answer["value"], {"value": 0, "numerator": 0, "denominator": 0, "plus": 0, "minus": 0}
            for item in answer["items"]:
                for counted in item["counted"]:
                    parts[counted["part"]] += 1
            if kpi.measure is Measure.RATIO:
                assert parts["denominator"] == value["n"], kpi.id
            else:
                assert parts["value"] + parts["plus"] + parts["minus"] == value["n"], kpi.id
            asked += bool(value["n"])
    assert asked >= 40
