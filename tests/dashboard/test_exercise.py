"""Are a drill's figures there for whoever asks for them, and for nobody else?"""

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from schemas.event import AnyEvent
from schemas.site import parse_site
from tests.dashboard.centre import Running, dashboard, hear, say
from tests.dashboard.test_drill import MARCH, NOW, PACK_TEXTS, ask, happened, ids, received
from tests.dashboard.worker import count

HOUR = timedelta(hours=1)
DAY = MARCH.date().isoformat()


@pytest.fixture
async def running(tables: str) -> AsyncGenerator[Running]:
    """The dashboard of a small site over an empty database."""
    site = parse_site(PACK_TEXTS)
    async with dashboard(tables, current_site=lambda: site, now=lambda: NOW) as one:
        yield one


def some() -> list[AnyEvent]:
    """What happens in earnest."""
    return [
        received("a", MARCH, channel="phone"),
        received("b", MARCH + HOUR, "B", channel="web"),
        received("c", MARCH + 2 * HOUR, channel="web"),
        happened("feedback.closed", "z", MARCH + 3 * HOUR, category="road", opened_at=MARCH, due_at=MARCH + HOUR),
        happened("indicator.observed", "o", MARCH, indicator="internet", period="2026-02", value=3, of=4),
        happened("camera.detection", "d", MARCH, camera="k", kind="car", count=7),
    ]


def played(event: AnyEvent, **changed: Any) -> AnyEvent:
    """The same in a drill."""
    return msgspec.structs.replace(event, id=f"drill-{event.id}", exercise=True, **changed)


async def get(running: Running, path: str, **params: Any) -> httpx.Response:
    """One request."""
    async with httpx.AsyncClient(base_url=running.http, trust_env=False, timeout=20) as client:
        return await client.get(path, params=params)


async def value(running: Running, kpi: str) -> dict[str, Any]:
    """A KPI over the year, without what names it."""
    answer = await get(
        running, f"/v1/kpis/{kpi}/series", step="year", **{"from": "2026-01-01T00:00+07:00", "to": NOW.isoformat()}
    )
    [series] = answer.json()["series"]
    return series["buckets"][0]


async def test_every_indicator_has_the_figures_of_drills_beside_its_own(running: Running, tables: str) -> None:
    corrected = played(received("late", MARCH), supersedes="drill-a")
    await count(tables, PACK_TEXTS, [*some(), *map(played, some()), corrected, received("only real", MARCH)])
    names = [kpi["id"] for kpi in (await get(running, "/v1/kpis")).json()["items"]]
    twins = (await get(running, "/v1/kpis", exercise=True)).json()["items"]
    assert [kpi["id"] for kpi in twins] == [f"drill:{name}" for name in names]
    assert all("[DRILL]" in kpi["names"]["en"] for kpi in twins)
    real, drills = {}, {}
    for name in names:
        real[name], drills[name] = await value(running, name), await value(running, f"drill:{name}")
    assert (real["received"]["n"], drills["received"]["n"]) == (4, 3)
    assert (real["open"]["value"], drills["open"]["value"]) == (3, 2)
    assert (real["by_phone"]["value"], drills["by_phone"]["value"]) == (0.25, pytest.approx(1 / 3))
    for same in ("closed", "on_time", "connected", "per_detection"):
        assert {**real[same]} == {**drills[same]}
    # From a drill's number to its events, of which none is real.
    assert ids(await ask(running, "drill:received")) == ["drill-c", "drill-b", "drill-a"]
    assert ids(await ask(running, "received")) == ["c", "b", "only real", "a"]
    latest = (await get(running, "/v1/latest", exercise=True)).json()["items"]
    assert [one["kpi"] for one in latest] == [kpi["id"] for kpi in twins]
    listed = (await get(running, "/v1/events", exercise=True)).json()["items"]
    assert {item["event"]["id"] for item in listed} == {"drill-late", *(f"drill-{one}" for one in "abczo")}
    listed = (await get(running, "/v1/events", exercise=False)).json()["items"]
    assert {item["event"]["id"] for item in listed} == {"only real", *"abczo"}


async def test_a_live_board_shows_either_drills_or_what_is_real(running: Running, tables: str) -> None:
    await count(tables, PACK_TEXTS, [received("a", NOW - HOUR), played(received("b", NOW - HOUR))])
    wish: dict[str, Any] = {"op": "subscribe", "tier": "hour", "points": 3, "events": 5, "sources": False}
    async with running.live() as drill, running.live() as real:
        await say(drill, **wish, exercise=True, kpis=["received"])
        await say(real, **wish, kpis=["received"])
        first, other = await hear(drill, "snapshot"), await hear(real, "snapshot")
        assert [one["kpi"] for one in first["series"]] == ["drill:received"]
        assert [one["kpi"] for one in other["series"]] == ["received"]
        assert [item["event"]["id"] for item in first["events"]] == ["drill-b"]
        assert [item["event"]["id"] for item in other["events"]] == ["a"]
        await count(tables, PACK_TEXTS, [played(received("c", NOW - HOUR)), received("d", NOW - HOUR)])
        told, heard = await hear(drill, "change"), await hear(real, "change")
        assert [(one["kpi"], one["n"]) for one in told["values"]] == [("drill:received", 2)]
        assert [(one["kpi"], one["n"]) for one in heard["values"]] == [("received", 2)]
        assert [item["event"]["id"] for item in told["events"]] == ["drill-c"]
        assert [item["event"]["id"] for item in heard["events"]] == ["d"]
        # By no slip does a live board show a drill's number.
        await say(real, **wish, kpis=["drill:received"])
        refused = await hear(real, "error")
        assert (refused["field"], refused["reason"]) == ("kpis[0]", "unknown_kpi")
