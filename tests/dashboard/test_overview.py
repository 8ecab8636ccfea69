"""Does one answer say how all indicators of an area stand, against targets, the time before and the areas below?"""

from collections.abc import AsyncGenerator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest

from dashboard_api.overview import a_year_before, other_maps, period_with
from schemas.area import Area, AreaTree
from schemas.event import AreaCode, AreaId
from schemas.lineage import Link
from schemas.period import Grain
from schemas.site import Site, parse_site
from tests.dashboard.centre import AREAS_CSV, KPIS_TOML, SITE_TOML, Running, Sample, Writer, dashboard, site, writer

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
NOW = datetime(2026, 4, 15, 12, 30, tzinfo=HANOI)

TOLD_TOML = """
[[kpi]]
id = "households_online"
names = { vi = "Hộ có Internet", en = "Households online" }
unit = "1"
measure = "ratio"
pillar = "society"
group = "online"
direction = "higher"
target = [{ value = 0.9 }]
freshness_s = 6048000
numerator = { measure = "latest", event = "ioc.indicator.observed.v1", period = "month", value = "value" }
denominator = { measure = "latest", event = "ioc.indicator.observed.v1", period = "month", value = "of" }
"""
NUMERATOR, DENOMINATOR = "households_online/numerator", "households_online/denominator"


def told_site() -> Site:
    """The test province with an indicator that communes report monthly."""
    return parse_site({"site.toml": SITE_TOML, "areas.csv": AREAS_CSV, "kpis.toml": KPIS_TOML + TOLD_TOML})


@pytest.fixture
async def stream(tables: str) -> AsyncGenerator[Writer]:
    """A writer on an empty database."""
    async with writer(tables) as one:
        one.site = told_site()
        yield one


@pytest.fixture
async def running(tables: str) -> AsyncGenerator[Running]:
    """The dashboard over the same database, in the middle of April."""
    async with dashboard(tables, current_site=told_site, now=lambda: NOW) as one:
        yield one


async def ask(running: Running, **params: Any) -> dict[str, Any]:
    """One question that is answered."""
    async with httpx.AsyncClient(base_url=running.http, trust_env=False, timeout=20) as client:
        answer = await client.get("/v1/overview", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def received(n: int, moment: datetime, area: str = "01") -> list[Sample]:
    """So many reports of citizens."""
    time_s = int(moment.timestamp())
    return [Sample(kpi="feedback_received", area=area, time_s=time_s, dim="road\x1fapp")] * n


def told(area: str, month: datetime, online: int, of: int) -> list[Sample]:
    """What a commune reported for a month."""
    time_s = int(month.timestamp())
    return [
        Sample(kpi=NUMERATOR, area=area, time_s=time_s, value=online),
        Sample(kpi=DENOMINATOR, area=area, time_s=time_s, value=of),
    ]


async def test_a_month_so_far_is_set_beside_as_much_of_the_others(running: Running, stream: Writer) -> None:
    await stream.commit(
        [
            *received(120, datetime(2026, 4, 3, 9, tzinfo=HANOI)),
            *received(30, datetime(2026, 4, 15, 11, tzinfo=HANOI), "02"),
            *received(100, datetime(2026, 3, 15, 11, tzinfo=HANOI)),
            # After noon of the fifteenth: March had these later than April has come.
            *received(11, datetime(2026, 3, 15, 13, tzinfo=HANOI)),
            *received(50, datetime(2025, 4, 1, 1, tzinfo=HANOI)),
            *received(7, datetime(2025, 4, 20, 1, tzinfo=HANOI)),
        ]
    )
    answer = await ask(running, kpis="feedback_received,feedback_closed")
    assert (answer["period"], answer["previous"], answer["next"]) == ("2026-04", "2026-03", "2026-05")
    assert (answer["running"], answer["before_to"]) == (True, "2026-03-15T12:00:00+07:00")
    one, closed = answer["items"]
    assert (one["own"]["value"], one["before"]["value"], one["year_ago"]["value"]) == (150, 100, 50)
    assert one["change"] == {"absolute": 50, "relative": 0.5, "better": False}
    assert (one["own"]["status"], one["own"]["reason"]) == ("warning", "past_warning")
    # A year ago, this April; in between nothing, which of a count is zero. March is whole.
    assert (one["trend"][0], one["trend"][-2:], len(one["trend"])) == (57, [111, 150], 13)
    assert (one["trend_step"], one["trend_from"]) == ("month", "2025-04-01")
    # Ward One has a target of 90 that it misses; others are judged by the thresholds alone.
    assert one["counts"] == {"good": 2, "warning": 1, "bad": 0, "none": 0}
    assert ([row["area"] for row in one["best"]], [row["area"] for row in one["worst"]]) == (["03"], ["01"])
    assert [(row["code"], row["counts"]["warning"], row["has_below"]) for row in answer["below"]] == [
        ("01", 1, False),
        ("02", 0, False),
        ("03", 0, False),
    ]
    assert (closed["counts"], closed["best"], closed["worst"]) == (None, [], [])
    assert ([area["id"] for area in answer["path"]], answer["maps"]) == (["00"], [])
    past = (await ask(running, kpis="feedback_received", period="2026-03"))["items"][0]
    assert (past["own"]["value"], past["before"]["value"], past["year_ago"]["value"]) == (111, 0, 0)


async def test_a_day_is_cut_at_the_hour_and_a_leaf_has_nothing_below(running: Running, stream: Writer) -> None:
    await stream.commit(
        [
            *received(2, datetime(2026, 4, 14, 11, 59, tzinfo=HANOI)),
            *received(9, datetime(2026, 4, 14, 12, 1, tzinfo=HANOI)),
        ]
    )
    answer = await ask(running, kpis="feedback_received", area="01", period="2026-04-15")
    assert answer["items"][0]["before"]["value"] == 2
    assert (answer["below"], [area["id"] for area in answer["path"]]) == ([], ["00", "01"])


async def test_what_is_reported_monthly_stands_until_the_next_report(running: Running, stream: Writer) -> None:
    february, march = (datetime(2026, month, 1, tzinfo=HANOI) for month in (2, 3))
    await stream.commit(
        [*told("01", february, 70, 100), *told("02", february, 50, 100), *told("01", march, 95, 100)],
    )
    answer = await ask(running, kpis="households_online")
    [one] = answer["items"]
    # Ward Two has not reported March: it stands with February.
    assert (one["standing"], one["own"]["numerator"], one["own"]["denominator"]) == (True, 145, 200)
    assert (one["own"]["status"], one["own"]["reason"]) == ("bad", "target_missed")
    assert one["own"]["gap"] == pytest.approx(0.725 - 0.9)
    assert (one["before"]["numerator"], one["change"]["better"]) == (120, True)
    assert one["counts"] == {"good": 1, "warning": 0, "bad": 1, "none": 1}
    # The month itself is what was reported for it, and this one is not reported yet.
    assert one["trend"][-3:] == [0.6, 0.95, None]
    assert (one["group"], one["freshness"]) == ("online", "fresh")
    # The span that it names gives the same figure to whoever asks for it.
    async with httpx.AsyncClient(base_url=running.http, trust_env=False, timeout=20) as client:
        span = {"from": one["own"]["start"], "to": one["own"]["end"], "areas": "self"}
        table = await client.get("/v1/kpis/households_online/table", params=span)
    assert table.json()["rows"][0]["numerator"] == 145
    # A day is shorter than what it is reported for; a month that is over has what was reported for it.
    [day] = (await ask(running, kpis="households_online", period="2026-03-20"))["items"]
    assert (day["own"]["numerator"], day["trend_step"], day["trend"][-1]) == (145, "month", 0.95)
    [month] = (await ask(running, kpis="households_online", period="2026-03"))["items"]
    assert (month["standing"], month["own"]["numerator"]) == (False, 95)


async def test_a_value_of_long_ago_stands_where_it_is_not_reported_for_periods(
    running: Running, stream: Writer
) -> None:
    long_ago = NOW - timedelta(days=90)
    await stream.commit([Sample(kpi="load", area="01", time_s=int(long_ago.timestamp()), value=7, dim="portal")])
    [one] = (await ask(running, kpis="load"))["items"]
    assert (one["own"]["value"], one["standing"], one["freshness"]) == (7, True, "stale")
    assert one["own"]["start"] == "2026-01-15T00:00:00+07:00"


async def test_hours_that_are_kept_no_more_are_not_asked_for(tables: str, stream: Writer) -> None:
    def short() -> Site:
        kept = site()
        retention = msgspec.structs.replace(kept.header.retention, minute_days=1, hour_days=7)
        return msgspec.structs.replace(kept, header=msgspec.structs.replace(kept.header, retention=retention))

    await stream.commit(received(4, datetime(2026, 3, 15, 20, tzinfo=HANOI)))
    async with dashboard(tables, current_site=short, now=lambda: NOW) as running:
        answer = await ask(running, kpis="feedback_received")
    # The whole fifteenth, for the hours of March are gone.
    assert answer["before_to"] == "2026-03-16T00:00:00+07:00"
    assert answer["items"][0]["before"]["value"] == 4


def test_an_area_is_found_on_the_other_map() -> None:
    def area(id_: str, list_id: str, kind: str, parent: str | None = None) -> Area:
        return Area(
            id=AreaId(id_),
            code=AreaCode(id_),
            list_id=list_id,
            kind=kind,
            names={"vi": id_},
            zone=site().areas.root.zone,
            parent=None if parent is None else AreaId(parent),
        )

    tree = AreaTree(
        "new",
        [
            *(area("N", "new", "province"), area("A", "new", "commune", "N"), area("B", "new", "commune", "N")),
            *(area("O", "old", "province"), area("d", "old", "district", "O")),
            *(area("x", "old", "commune", "d"), area("y", "old", "commune", "d"), area("z", "old", "commune", "d")),
        ],
        [
            Link(AreaId("x"), AreaId("A"), "full"),
            Link(AreaId("y"), AreaId("A"), "partial"),
            Link(AreaId("y"), AreaId("B"), "partial"),
            Link(AreaId("z"), AreaId("B"), "full"),
        ],
    )
    divided = msgspec.structs.replace(site(), areas=tree)

    def on_the_other(id_: str) -> list[tuple[str, bool]]:
        [found] = other_maps(divided, AreaId(id_))
        return [(one.id, one.whole) for one in found.areas]

    assert on_the_other("N") == [("O", True)]
    assert on_the_other("A") == [("x", True), ("y", False)]
    assert on_the_other("y") == [("A", False), ("B", False)]
    assert on_the_other("d") == [("N", True)]


@pytest.mark.parametrize(
    ("grain", "first"),
    [
        (Grain.DAY, date(2024, 2, 29)),
        (Grain.MONTH, date(2024, 2, 1)),
        (Grain.QUARTER, date(2024, 1, 1)),
        (Grain.YEAR, date(2024, 1, 1)),
    ],
)
def test_a_day_lies_in_a_period_of_every_length(grain: Grain, first: date) -> None:
    assert period_with(date(2024, 2, 29), grain).first == first
    assert a_year_before(date(2024, 2, 29)) == date(2023, 2, 28)
