"""Do tables, latest values, comparisons and attainment say who stands where, and what is not certain?"""

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest

from dashboard_api.app import OPENAPI_PATH
from dashboard_api.compare import change_of
from deploy.site import load_pack
from schemas.kpi import Value
from schemas.site import parse_site
from tests.acceptance.test_reference_catalogue import EXPECTED, PACK, a_day
from tests.dashboard.case_centre import LEADER, Issuer, with_a_leader
from tests.dashboard.centre import Running, Sample, Writer, dashboard, redrawn_site, site, writer
from tests.dashboard.test_drill import on_the_log
from tests.dashboard.worker import count

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
NOW = datetime(2026, 4, 15, 12, tzinfo=HANOI)
MARCH = datetime(2026, 3, 29, 12, tzinfo=HANOI)
MARCH_S = int(MARCH.timestamp())
DAY_S = 24 * 3600

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
"""The address of no database."""


@pytest.fixture
async def stream(tables: str) -> AsyncGenerator[Writer]:
    """A writer on an empty database."""
    async with writer(tables) as one:
        yield one


@pytest.fixture
async def running(tables: str) -> AsyncGenerator[Running]:
    """The dashboard over the same database, in the middle of April."""
    async with dashboard(tables, now=lambda: NOW) as one:
        yield one


async def get(running: Running, path: str, **params: Any) -> httpx.Response:
    """One question."""
    async with httpx.AsyncClient(base_url=running.http, trust_env=False, timeout=20) as client:
        return await client.get(f"/v1/{path}", params=params or None)


async def ask(running: Running, path: str, **params: Any) -> dict[str, Any]:
    """One question that is answered."""
    answer = await get(running, path, **params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def reports(area: str, n: int, dim: str = "road\x1fapp", time_s: int = MARCH_S) -> list[Sample]:
    """So many reports."""
    return [Sample(kpi="feedback_received", area=area, time_s=time_s, dim=dim)] * n


# ── Tables ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_table_ranks_areas_by_the_better_direction(running: Running, stream: Writer) -> None:
    await stream.commit([*reports("01", 3), *reports("02", 1), *reports("03", 1)])
    table = await ask(running, "kpis/feedback_received/table", period="2026-03")
    # Fewer are better. Equal ones share a rank, and the one after is left out.
    assert [(row["code"], row["value"], row["rank"]) for row in table["rows"]] == [
        ("02", 1, 1),
        ("03", 1, 1),
        ("01", 3, 3),
    ]
    assert (table["area"], table["total"], table["direction"]) == ("00", 3, "lower")
    assert (table["from"], table["to"]) == ("2026-03-01T00:00:00+07:00", "2026-04-01T00:00:00+07:00")
    assert table["position"].startswith("1-")
    assert datetime.fromisoformat(table["as_of"]) == NOW
    by_code = {row["code"]: row for row in table["rows"]}
    # Each area goes by its own clock and has its own target.
    assert by_code["03"]["start"] == "2026-03-01T00:00:00+14:00"
    assert by_code["01"]["target"] == 90
    assert (by_code["01"]["status"], by_code["01"]["reason"]) == ("good", "target_reached")
    assert (by_code["02"]["status"], by_code["02"]["reason"]) == ("good", "within_limits")
    assert by_code["01"]["names"] == {"vi": "Phường Một", "en": "Ward One"}


CHOSEN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "best first": ({}, ["02", "01", "03"]),
    "least first": ({"order": "value"}, ["01", "02", "03"]),
    "greatest first": ({"order": "-value"}, ["02", "01", "03"]),
    "by code": ({"order": "code"}, ["01", "02", "03"]),
    "only some": ({"limit": 1}, ["02"]),
    "leaves": ({"areas": "leaves"}, ["02", "01", "03"]),
    "a kind": ({"areas": "commune"}, ["02", "01", "03"]),
    "ids": ({"areas": "01,00"}, ["00", "01"]),
    "itself": ({"areas": "self", "area": "02"}, ["02"]),
}


async def test_rows_are_chosen_and_sorted(running: Running, stream: Writer) -> None:
    await stream.commit(
        [Sample(kpi="response_max", area=area, time_s=MARCH_S, value=value) for area, value in (("01", 5), ("02", 9))]
    )
    for case, (params, codes) in CHOSEN.items():
        table = await ask(running, "kpis/response_max/table", period="2026-03", **params)
        assert [row["code"] for row in table["rows"]] == codes, case
        # What has no value comes last, without a rank.
        assert all("rank" not in row for row in table["rows"] if row["value"] is None)


async def test_a_table_by_dimension_ranks_its_values(running: Running, stream: Writer) -> None:
    await stream.commit([*reports("01", 3, "road\x1fapp"), *reports("02", 1, "waste\x1fapp"), *reports("02", 1)])
    table = await ask(running, "kpis/feedback_received/table", period="2026-03", by="category")
    assert [(row["area"], row["dim"], row["value"], row["rank"]) for row in table["rows"]] == [
        ("00", "waste", 1, 1),
        ("00", "road", 4, 2),
    ]
    # A target for all of them says nothing of one of them.
    assert {row["reason"] for row in table["rows"]} == {"no_goal"}
    each = await ask(running, "kpis/feedback_received/table", period="2026-03", by="category", areas="01,02")
    assert [(row["area"], row["dim"], row["value"], row["rank"]) for row in each["rows"]] == [
        ("02", "road", 1, 1),
        ("02", "waste", 1, 1),
        ("01", "road", 3, 2),
    ]
    only = await ask(running, "kpis/feedback_received/table", period="2026-03", where="category:waste")
    assert [(row["area"], row["value"]) for row in only["rows"]] == [("01", 0), ("03", 0), ("02", 1)]


OF_TIME: dict[str, tuple[dict[str, Any], list[tuple[str, int]]]] = {
    "a range": (
        {"from": "2026-03-29T00:00:00+07:00", "to": "2026-03-31T00:00:00+07:00"},
        [("2026-03-29T00:00:00+07:00", 3)],
    ),
    "a range in steps": (
        {"from": "2026-03-29T00:00:00+07:00", "to": "2026-03-31T00:00:00+07:00", "step": "day"},
        [("2026-03-29T00:00:00+07:00", 2), ("2026-03-30T00:00:00+07:00", 1)],
    ),
    "the bucket that holds a moment": (
        {"to": "2026-03-30T18:00:00+07:00", "step": "week"},
        [("2026-03-30T00:00:00+07:00", 1)],
    ),
    "a day": ({"period": "2026-03-29"}, [("2026-03-29T00:00:00+07:00", 2)]),
    "the day so far": ({}, [("2026-04-15T00:00:00+07:00", 0)]),
}


async def test_a_table_is_of_the_time_asked_for(running: Running, stream: Writer) -> None:
    await stream.commit([*reports("01", 2), *reports("01", 1, time_s=MARCH_S + DAY_S)])
    for case, (params, rows) in OF_TIME.items():
        table = await ask(running, "kpis/feedback_received/table", areas="01", **params)
        assert [(row["start"], row["value"]) for row in table["rows"]] == rows, case


async def test_a_row_says_what_was_first_reported(running: Running, stream: Writer) -> None:
    await stream.commit(reports("01", 1))
    await stream.close_until(NOW.timestamp())
    await stream.commit(reports("01", 1), late=True)
    [row] = (await ask(running, "kpis/feedback_received/table", areas="01", period="2026-03-29"))["rows"]
    assert (row["value"], row["closed"], row["first"]["value"]) == (2, True, 1)
    assert row["corrected_at"]


# ── Attainment ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_attainment_counts_who_stands_how(running: Running, stream: Writer) -> None:
    await stream.commit([*reports("01", 100), *reports("02", 250), *reports("03", 120)])
    answer = await ask(running, "kpis/feedback_received/attainment", period="2026-03")
    assert (answer["own"]["area"], answer["own"]["value"], answer["own"]["status"]) == ("00", 470, "bad")
    assert [(row["area"], row["rank"], row["status"], row["reason"]) for row in answer["rows"]] == [
        ("01", 1, "warning", "target_missed"),
        ("03", 2, "warning", "past_warning"),
        ("02", 3, "bad", "past_bad"),
    ]
    assert answer["counts"] == {"good": 0, "warning": 2, "bad": 1, "none": 0}
    missed = answer["rows"][0]
    assert (missed["target"], missed["gap"], missed["attainment"]) == (90, 10, pytest.approx(0.9))


# ── Comparisons ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_periods_and_areas_are_set_side_by_side(running: Running, stream: Writer) -> None:
    february_s = int(datetime(2026, 2, 10, tzinfo=HANOI).timestamp())
    await stream.commit([*reports("01", 4, time_s=february_s), *reports("01", 3), *reports("02", 2)])
    answer = await ask(running, "kpis/feedback_received/compare", periods="2026-02,2026-03", areas="01,02")
    one, two = answer["areas"]
    assert [(cell["period"], cell["value"]) for cell in one["cells"]] == [("2026-02", 4), ("2026-03", 3)]
    assert "change" not in one["cells"][0]
    assert one["cells"][1]["change"] == {"absolute": -1, "relative": -0.25, "better": True}
    assert two["cells"][1]["change"] == {"absolute": 2, "better": False}
    assert two["cells"][0]["difference"] == {"absolute": -4, "relative": -1, "better": True}
    assert (answer["exact"], answer["periods"]) == (True, ["2026-02", "2026-03"])


async def test_the_old_map_is_compared_with_the_new_one(tables: str, stream: Writer) -> None:
    stream.site = redrawn_site()
    await stream.commit([*reports("x", 3), *reports("y", 1), *reports("A", 2)])
    async with dashboard(tables, current_site=redrawn_site, now=lambda: NOW) as running:
        answer = await ask(running, "kpis/feedback_received/compare", periods="2026-03", areas="x,A,B,P")
        values = {one["area"]: (one["list"], one["cells"][0]) for one in answer["areas"]}
        # Nobody knows on which side of the new border the report from y happened, nor which of A's were in the old x.
        assert values["x"][0] == "old"
        assert [values[area][1].get("exact", True) for area in "xABP"] == [False, False, False, True]
        assert (values["A"][1]["value"], values["A"][1]["upper"]) == (5, 6)
        assert (values["x"][1]["value"], values["x"][1]["upper"]) == (3, 5)
        assert values["A"][1]["difference"] == {"absolute": None, "exact": False, "lower": 0, "upper": 3}
        assert values["P"][1]["difference"] == {"absolute": None, "exact": False, "lower": 1, "upper": 3}
        assert answer["exact"] is False


@pytest.mark.parametrize(
    ("value", "other", "change"),
    [
        pytest.param(5.0, 4.0, {"absolute": 1.0, "relative": 0.25, "better": False}, id="more where less is better"),
        pytest.param(4.0, 4.0, {"absolute": 0.0, "relative": 0.0}, id="the same is neither"),
        pytest.param(-1.0, -2.0, {"absolute": 1.0, "relative": 0.5, "better": False}, id="relative to the size"),
        pytest.param(None, 4.0, {"absolute": None}, id="nothing now"),
        pytest.param(4.0, None, {"absolute": None}, id="nothing then"),
    ],
)
def test_a_change_is_told(value: float | None, other: float | None, change: dict[str, Any]) -> None:
    kpi = site().kpis["feedback_received"]
    found = change_of(kpi, Value(value=value, n=1), Value(value=other, n=1))
    assert msgspec.to_builtins(found) == change


# ── Now ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_latest_has_the_running_day_and_the_one_closed_last(running: Running, stream: Writer) -> None:
    now_s = int(NOW.timestamp())
    await stream.commit([*reports("01", 2, time_s=now_s - 7200), *reports("01", 5, time_s=now_s - DAY_S)])
    await stream.commit([Sample(kpi="load", area="01", time_s=now_s - 90 * DAY_S, value=7, dim="portal")])
    await stream.close_until(now_s - 600)
    answer = await ask(running, "latest", kpis="feedback_received,response_ms,load", area="01")
    received, response, load = answer["items"]
    assert (received["now"]["value"], received["now"]["start"]) == (2, "2026-04-15T00:00:00+07:00")
    assert (received["last"]["value"], received["last"]["closed"]) == (5, True)
    assert (received["now"]["target"], received["now"]["status"]) == (90, "good")
    # The last minute with a report ended an hour and 59 minutes ago, and is news for a quarter of an hour.
    heard = NOW - timedelta(seconds=7200 - 60)
    assert datetime.fromisoformat(received["heard_at"]) == heard
    assert received["freshness"] == "stale"
    assert datetime.fromisoformat(received["stale_since"]) == heard + timedelta(seconds=900)
    assert (response["freshness"], response["heard_at"], response["now"]["value"]) == ("never", None, None)
    # What was true last still is, as far as anybody has said.
    assert (load["now"]["value"], load["now"]["start"], load["last"]) == (7, "2026-01-15T00:00:00+07:00", None)
    assert [item["kpi"] for item in (await ask(running, "latest"))["items"]] == [kpi.id for kpi in site().kpis.kpis]


async def test_latest_says_what_every_reference_indicator_is(tables: str) -> None:
    pack = load_pack(PACK)
    vietnam = with_a_leader(parse_site(pack))
    await count(tables, pack, on_the_log(a_day()), datetime(2026, 10, 21, tzinfo=HANOI))
    midnight = datetime(2026, 10, 20, 23, 59, tzinfo=HANOI)
    issuer = Issuer(lambda: midnight)
    async with (
        dashboard(tables, current_site=lambda: vietnam, now=lambda: midnight, config={"trust": issuer}) as running,
        httpx.AsyncClient(
            base_url=running.http, trust_env=False, timeout=20, headers=issuer.header(LEADER)
        ) as client,
    ):
        items = (await client.get("/v1/latest")).json()["items"]
    assert {item["kpi"]: item["now"]["value"] for item in items} == pytest.approx(EXPECTED, rel=0.01)
    assert {item["freshness"] for item in items if item["freshness_s"] >= DAY_S} == {"fresh"}


# ── Refusals and what is said of them ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "status", "field", "reason"),
    [
        pytest.param("kpis/none/table", 404, "id", "unknown_kpi", id="unknown KPI"),
        pytest.param("kpis/load/table?area=99", 422, "area", "unknown_area", id="unknown area"),
        pytest.param("kpis/load/table?areas=01,99", 422, "areas.1", "unknown_area", id="one of the areas"),
        pytest.param("kpis/load/table?areas=village", 422, "areas.0", "unknown_area", id="no such kind"),
        pytest.param("kpis/load/table?period=2026-Q5", 422, "period", "invalid", id="no period"),
        pytest.param("kpis/load/table?period=2026&step=day", 422, "period", "invalid", id="a period and a step"),
        pytest.param("kpis/load/table?to=2026-01-01T00:00:00Z", 422, "from", "missing", id="only an end"),
        pytest.param("kpis/load/table?from=2150-01-01T00:00:00Z", 422, "from", "out_of_range", id="after now"),
        pytest.param("kpis/load/table?from=1960-01-01T00:00:00Z", 422, "from", "out_of_range", id="too early"),
        pytest.param(
            "kpis/load/table?from=2026-01-01T00:00:00Z&step=minute", 422, "from", "too_many", id="too many buckets"
        ),
        pytest.param(
            "kpis/load/table?from=2010-01-01T00:01:30Z&to=2010-02-01T00:00:00Z",
            422,
            "from",
            "out_of_range",
            id="minutes that are kept no more",
        ),
        pytest.param("kpis/load/table?by=category", 422, "by", "invalid", id="not a dimension of it"),
        pytest.param("kpis/load/table?order=size", 422, "order", "invalid", id="no order"),
        pytest.param("kpis/load/table?limit=0", 422, "limit", "invalid", id="no rows"),
        pytest.param("kpis/load/table?format=xml", 422, "format", "invalid", id="no format"),
        pytest.param("kpis/load/compare", 422, "periods", "missing", id="nothing to compare"),
        pytest.param("kpis/load/compare?periods=2026", 422, "periods", "out_of_range", id="one of one"),
        pytest.param("kpis/load/compare?periods=2026,x", 422, "periods.1", "invalid", id="one of the periods"),
        pytest.param(
            f"kpis/load/compare?periods={','.join(str(year) for year in range(2001, 2014))}",
            422,
            "periods",
            "too_many",
            id="too many periods",
        ),
        pytest.param("kpis/load/attainment?step=day", 422, "step", "unknown_field", id="attainment in steps"),
        pytest.param("latest?kpis=load,none", 422, "kpis.1", "unknown_kpi", id="one of the KPIs"),
        pytest.param("overview?kpis=load,none", 422, "kpis.1", "unknown_kpi", id="one of the KPIs of an overview"),
        pytest.param("overview?period=2026-13", 422, "period", "invalid", id="no period of an overview"),
        pytest.param("overview?period=1970", 422, "period", "out_of_range", id="no period before it"),
        pytest.param("latest?step=fortnight", 422, "step", "invalid", id="no such step"),
    ],
)
async def test_wrong_questions_are_refused(path: str, status: int, field: str, reason: str) -> None:
    # Refused before the database is asked, so there need be none.
    async with dashboard(NOWHERE, now=lambda: NOW) as running:
        answer = await get(running, path)
    problem = answer.json()
    assert (answer.status_code, problem["field"], problem["reason"]) == (status, field, reason)
    assert problem["fix"]


async def test_openapi_describes_every_answer() -> None:
    async with dashboard(NOWHERE) as running:
        document = (await get(running, OPENAPI_PATH.removeprefix("/v1/"))).json()
    described = document["components"]["schemas"]
    for path, answer in (
        ("/v1/kpis/{id}/table", "TableView"),
        ("/v1/kpis/{id}/compare", "CompareView"),
        ("/v1/kpis/{id}/attainment", "AttainmentView"),
        ("/v1/kpis/{id}/events", "DrillView"),
        ("/v1/latest", "LatestView"),
        ("/v1/overview", "OverviewView"),
    ):
        responses = document["paths"][path]["get"]["responses"]
        assert responses["200"]["content"]["application/json"]["schema"]["$ref"].endswith(f"/{answer}")
        assert {"text/csv", "application/vnd.apache.parquet"} <= set(responses["200"]["content"])
        assert answer in described


async def test_more_rows_than_an_answer_holds_are_refused(tables: str, stream: Writer) -> None:
    await stream.commit([*reports("01", 1, "road\x1fapp"), *reports("01", 1, "waste\x1fapp")])
    async with dashboard(tables, now=lambda: NOW, values_max=3) as running:
        held = await get(running, "kpis/feedback_received/table", period="2026-03")
        assert (held.status_code, held.json()["total"]) == (200, 3)
        for params in (
            {"areas": "00,01", "by": "category", "period": "2026-03"},
            {"from": "2026-03-29T00:00:00+07:00", "to": "2026-03-31T00:00:00+07:00", "step": "day"},
        ):
            problem = (await get(running, "kpis/feedback_received/table", **params)).json()
            assert (problem["status"], problem["field"], problem["reason"]) == (422, "areas", "too_many")
