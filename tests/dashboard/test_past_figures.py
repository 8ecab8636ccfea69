"""Are the overview and the tables of a past moment made of what was known then, and of nothing of later?"""

import random
import re
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from schemas.event import AnyEvent
from schemas.site import parse_site
from tests.dashboard.centre import Running, dashboard
from tests.dashboard.test_drill import PACK_TEXTS, happened, received
from tests.dashboard.worker import count

SITE = parse_site(PACK_TEXTS)
BEGIN = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)


@pytest.fixture
async def running(tables: str) -> AsyncGenerator[Running]:
    """The dashboard, over a history that reaches back."""
    connection: Any = await asyncpg.connect(tables)
    await connection.execute("UPDATE history_floor SET since = since - INTERVAL '1 day'")
    await connection.close()
    async with dashboard(tables, current_site=lambda: SITE) as one:
        yield one


async def get(running: Running, path: str, status: int = 200, **params: Any) -> dict[str, Any]:
    """One answer."""
    async with httpx.AsyncClient(base_url=running.http, trust_env=False, timeout=20) as client:
        answer = await client.get(f"/v1/{path}", params=params)
    assert answer.status_code == status, answer.text
    return answer.json()


async def closes(tables: str, until: datetime) -> datetime:
    """Notes that everything has closed up to a moment; when that was noted."""
    connection: Any = await asyncpg.connect(tables)
    try:
        await connection.execute(
            "INSERT INTO closed_until SELECT topic, clock_timestamp(), $1 FROM position", until.timestamp()
        )
        return await connection.fetchval("SELECT clock_timestamp()")
    finally:
        await connection.close()


def reports(name: str, since: datetime, minutes: int, rng: random.Random) -> list[AnyEvent]:
    """Some reports within so many minutes, and one at their end."""
    end = since + timedelta(minutes=minutes)
    # In their order, so that none is late.
    some = sorted(since + timedelta(seconds=rng.randrange(60 * minutes)) for _ in range(20))
    return [
        *(
            received(f"{name}-{n}", time, rng.choice("AB"), channel=rng.choice(["phone", "web"]))
            for n, time in enumerate(some)
        ),
        received(f"{name}-end", end, "A"),
    ]


def told(month: str, value: int) -> AnyEvent:
    """How many of a hundred households are online."""
    return happened(
        "indicator.observed", f"told-{month}", BEGIN, "A", indicator="connected", period=month, value=value, of=100
    )


async def test_an_overview_of_the_past_holds_nothing_of_later(running: Running, tables: str) -> None:
    rng, grace = random.Random(3), timedelta(seconds=SITE.header.closing.grace_s)
    first, head = reports("first", BEGIN, 150, rng), BEGIN + timedelta(minutes=150)
    newest = (BEGIN.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    before = (BEGIN.replace(day=1) - timedelta(days=40)).strftime("%Y-%m")
    await count(tables, PACK_TEXTS, [*first, told(before, 40)], head)
    until = head - grace
    moment = await closes(tables, until)
    span = {"from": BEGIN.isoformat(), "to": (BEGIN + timedelta(hours=4)).isoformat(), "order": "code"}
    then = {
        name: await get(running, f"kpis/{name}/table", **span, step="15m", areas="self")
        for name in ("received", "open")
    }
    late = [received(f"late-{n}", BEGIN + timedelta(minutes=1 + n), "B", channel="web") for n in range(3)]
    await count(tables, PACK_TEXTS, [*late, *reports("second", head, 60, rng), told(newest, 90)])
    await closes(tables, head + timedelta(hours=1) - grace)
    as_of = moment.astimezone(UTC).isoformat()

    kinds: set[str] = set()
    sums: dict[str, float] = {}
    for name, live in then.items():
        past = await get(running, f"kpis/{name}/table", **span, step="15m", areas="self", as_of=as_of)
        assert past["as_of"] == as_of.replace("+00:00", "Z")
        assert len(past["rows"]) == len(live["rows"])
        for row, held in zip(past["rows"], live["rows"], strict=True):
            kinds.add(row["known"])
            if row["known"] in ("final", "first"):
                assert datetime.fromisoformat(row["end"]) <= until
                if row["known"] == "final":
                    assert row["value"] == held["value"], "as it was read then"
                else:
                    # Corrected since: what it closed with, and not what had been corrected by then.
                    assert row["value"] <= held["value"]
            elif row["known"] == "part":
                assert datetime.fromisoformat(row["start"]) < datetime.fromisoformat(row["until"]) <= until
                assert row["value"] <= held["value"]
            else:
                assert row["value"] is None
                assert datetime.fromisoformat(row["end"]) > until
            sums[name] = sums.get(name, 0) + (row["value"] or 0)
    assert kinds == {"final", "first", "part", "none"}

    day = BEGIN.astimezone(SITE.areas.zone(SITE.areas.root.id)).date()
    overview = await get(running, "overview", as_of=as_of, period=day.strftime("%Y"))
    assert overview["as_of"] == as_of.replace("+00:00", "Z")
    items = {item["kpi"]: item for item in overview["items"]}
    for name, item in items.items():
        assert item["own"]["known"] in ("first", "part", "none", "final"), name
    closed_minute = until.replace(second=0, microsecond=0)
    known = [event for event in first if event.time < closed_minute]
    own = items["received"]["own"]
    # Corrected since, it is what all minutes had closed with.
    assert own["known"] == "part"
    assert 0 <= own["value"] <= min(sums["received"], len(known))
    assert datetime.fromisoformat(own["until"]) == closed_minute
    assert items["by_phone"]["own"]["denominator"] <= len(known)
    assert datetime.fromisoformat(items["received"]["heard_at"]) <= until
    # What was reported later is neither shown nor said to have been heard of.
    assert items["connected"]["own"]["value"] in (None, 0.4)
    assert datetime.fromisoformat(items["connected"]["heard_at"]).strftime("%Y-%m") <= before
    present = {item["kpi"]: item for item in (await get(running, "overview", period=day.strftime("%Y")))["items"]}
    assert present["received"]["own"]["value"] == len(first) + len(late) + 21
    assert present["connected"]["own"]["value"] == 0.9
    assert "known" not in present["received"]["own"]

    periods = f"{day.year - 1},{day.year}"
    compared = await get(running, "kpis/received/compare", as_of=as_of, periods=periods)
    assert [cell["known"] for cell in compared["areas"][0]["cells"]] == ["final", "part"]
    assert compared["areas"][0]["cells"][1]["value"] == own["value"]


async def test_what_is_no_past_is_refused(running: Running, tables: str) -> None:
    await closes(tables, BEGIN)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert (await get(running, "overview", 422, as_of=later))["field"] == "as_of"
    refused = await get(running, "kpis/received/table", 422, as_of=(BEGIN - timedelta(days=9)).isoformat())
    assert (refused["field"], refused["reason"]) == ("as_of", "not_kept")
    refused = await get(running, "overview", 422, as_of=BEGIN.isoformat(), format="csv")
    assert "files are of what is known now" in refused["detail"]


async def test_what_was_not_counted_yet_has_no_value(running: Running, tables: str) -> None:
    head = BEGIN + timedelta(hours=1)
    until = head - timedelta(seconds=SITE.header.closing.grace_s)
    text = PACK_TEXTS["kpis.toml"]
    earlier = "".join(part for part in re.split(r"(?m)^(?=\[\[kpi\]\])", text) if 'id = "by_phone"' not in part)
    assert earlier != text
    some = [received(f"{n}", BEGIN + timedelta(minutes=n), channel="phone") for n in range(5)]
    await count(tables, {**PACK_TEXTS, "kpis.toml": earlier}, [*some, received("head", head)])
    before = await closes(tables, until)
    await count(tables, PACK_TEXTS, [received("more", head + timedelta(minutes=1))])
    after = await closes(tables, until)
    span: dict[str, Any] = {
        "from": BEGIN.isoformat(),
        "to": (BEGIN + timedelta(minutes=30)).isoformat(),
        "areas": "self",
    }
    known = {
        (name, moment): (await get(running, f"kpis/{name}/table", **span, as_of=moment.isoformat()))["rows"][0][
            "known"
        ]
        for name in ("received", "by_phone")
        for moment in (before, after)
    }
    assert known == {
        ("received", before): "final",
        ("received", after): "final",
        ("by_phone", before): "none",
        ("by_phone", after): "final",
    }
