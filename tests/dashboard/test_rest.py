"""Are questions answered in full, and wrong ones refused with what is wrong and how to mend it?"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from dashboard_api.app import OPENAPI_PATH
from tests.dashboard.centre import Report, Running, Sample, dashboard, site, writer

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
"""The address of no database."""

MINUTE_S = int(datetime(2026, 3, 28, 17, 5, tzinfo=UTC).timestamp())
"""00:05 on 29 March in Ho Chi Minh City, and 07:05 in Kiritimati."""


async def ask(running: Running, path: str, **params: Any) -> httpx.Response:
    """One request."""
    async with httpx.AsyncClient(base_url=running.http, trust_env=False, timeout=20) as client:
        return await client.get(path, params=params or None)


async def test_the_site_its_areas_and_its_kpis_are_there_without_a_database() -> None:
    async with dashboard(NOWHERE) as running:
        assert (await ask(running, "/v1/site")).json()["languages"] == ["vi", "en"]
        areas = (await ask(running, "/v1/areas")).json()
        assert (areas["root"], areas["area_list"], areas["lists"]) == ("00", "test-2025", ["test-2025"])
        assert areas["items"][3] == {
            "id": "03",
            "code": "03",
            "list": "test-2025",
            "parent": "00",
            "kind": "commune",
            "names": {"vi": "Xã Ba", "en": "Commune Three"},
            "zone": "Pacific/Kiritimati",
            "valid_from": None,
            "valid_to": None,
            "population": None,
            "households": None,
            "point": None,
        }
        assert len((await ask(running, "/v1/areas", list="test-2025")).json()["items"]) == 4
        kpis = {kpi["id"]: kpi for kpi in (await ask(running, "/v1/kpis")).json()["items"]}
        assert list(kpis) == [kpi.id for kpi in site().kpis.kpis]
        assert kpis["feedback_received"] | {"names": {}} == {
            "id": "feedback_received",
            "names": {},
            "unit": "{report}",
            "measure": "count",
            "dimensions": ["category", "channel"],
            "events": ["ioc.feedback.received.v1"],
            "parts": [],
            "pillar": "society",
            "group": None,
            "owner": "Văn phòng UBND tỉnh",
            "document": "Quyết định 1",
            "direction": "lower",
            "thresholds": {"warning": 100.0, "bad": 200.0},
            "target": [{"value": 90.0, "area": "01", "start": None, "end": None}],
            "per": 1.0,
            "q": None,
            "within_s": None,
            "lookback_days": None,
            "across": None,
            "freshness_s": 900,
        }
        assert kpis["in_handling"]["parts"] == ["feedback_received", "feedback_closed"]
        assert kpis["closed_share"]["events"] == ["ioc.feedback.closed.v1", "ioc.feedback.received.v1"]
        assert kpis["channel_share"]["dimensions"] == ["channel"]


async def test_a_series_has_every_bucket_and_values_by_measure(tables: str) -> None:
    async with dashboard(tables) as running, writer(tables, 0) as one, writer(tables, 1) as other:
        for stream in (one, other):
            await stream.commit(
                [
                    Sample(kpi="feedback_received", area="01", time_s=MINUTE_S, dim="road\x1fapp"),
                    Sample(kpi="feedback_received", area="02", time_s=MINUTE_S + 60, dim="light\x1fapp"),
                    Sample(kpi="closed_in_time", area="01", time_s=MINUTE_S, value=stream.shard),
                    Sample(kpi="response_ms", area="01", time_s=MINUTE_S, value=10 + 80 * stream.shard),
                ]
            )
        span = {"from": "2026-03-29T00:04:00+07:00", "to": "2026-03-28T17:07:00Z"}
        counted = (await ask(running, "/v1/kpis/feedback_received/series", **span)).json()
        assert [bucket["value"] for bucket in counted["series"][0]["buckets"]] == [0, 2, 2]
        assert counted["series"][0]["buckets"][1]["start"] == "2026-03-29T00:05:00+07:00"
        by = (await ask(running, "/v1/kpis/feedback_received/series", by="category", **span)).json()["series"]
        assert {one["dim"]: [b["value"] for b in one["buckets"]] for one in by} == {
            "light": [0, 0, 2],
            "road": [0, 2, 0],
        }
        for where, values in (
            (["category:road"], [0, 2, 0]),
            (["category:light", "channel:app"], [0, 0, 2]),
            (["channel:phone"], [0, 0, 0]),
        ):
            only = (await ask(running, "/v1/kpis/feedback_received/series", where=where, **span)).json()["series"]
            assert [(one["dim"], [b["value"] for b in one["buckets"]]) for one in only] == [(None, values)]
        share = (await ask(running, "/v1/kpis/closed_in_time/series", area="01", **span)).json()["series"][0]
        assert share["buckets"][0]["value"] is None
        assert share["buckets"][1] | {"start": "", "end": ""} == {
            "start": "",
            "end": "",
            "value": 0.5,
            "n": 2,
            "numerator": 1.0,
            "denominator": 2.0,
        }
        spread = (await ask(running, "/v1/kpis/response_ms/series", **span)).json()["series"][0]["buckets"][1]
        assert (spread["n"], spread["p50"]) == (2, pytest.approx(10, rel=0.01))


async def test_a_closed_bucket_says_what_was_first_reported(tables: str) -> None:
    async with dashboard(tables) as running, writer(tables) as stream:
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=MINUTE_S)])
        await stream.close_until(MINUTE_S + 60)
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=MINUTE_S)], late=True)
        span = {"from": "2026-03-28T17:04:00Z", "to": "2026-03-28T17:07:00Z"}
        series = (await ask(running, "/v1/kpis/feedback_received/series", **span)).json()["series"]
        before, corrected, opened = series[0]["buckets"]
        assert (before["value"], before["closed"], before["first"]) == (0, True, {"value": 0, "n": 0})
        assert (corrected["value"], corrected["closed"], corrected["first"]["value"]) == (2, True, 1)
        assert datetime.fromisoformat(corrected["corrected_at"]) <= datetime.now(UTC)
        assert opened.keys() == {"start", "end", "value", "n"}


async def test_steps_are_as_wide_as_asked(tables: str) -> None:
    async with dashboard(tables) as running, writer(tables) as stream:
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=MINUTE_S)])
        for step, start in (
            ("5m", "2026-03-29T00:05:00+07:00"),
            ("15m", "2026-03-29T00:00:00+07:00"),
            ("6h", "2026-03-29T00:00:00+07:00"),
            ("week", "2026-03-23T00:00:00+07:00"),
            ("month", "2026-03-01T00:00:00+07:00"),
            ("quarter", "2026-01-01T00:00:00+07:00"),
            ("year", "2026-01-01T00:00:00+07:00"),
        ):
            span = {"step": step, "from": "2026-03-28T17:05:00Z", "to": "2026-03-28T17:07:00Z"}
            answer = (await ask(running, "/v1/kpis/feedback_received/series", **span)).json()
            assert [(b["start"], b["value"]) for b in answer["series"][0]["buckets"]] == [(start, 1)]


async def test_days_are_the_areas_own(tables: str) -> None:
    async with dashboard(tables) as running, writer(tables) as stream:
        await stream.commit([Sample(kpi="feedback_received", area="03", time_s=MINUTE_S)])
        span = {"step": "day", "from": "2026-03-28T00:00:00Z", "to": "2026-03-29T00:00:00Z"}
        for area, start in (("03", "2026-03-29T00:00:00+14:00"), ("00", "2026-03-29T00:00:00+07:00")):
            answer = (await ask(running, "/v1/kpis/feedback_received/series", area=area, **span)).json()
            filled = [bucket["start"] for bucket in answer["series"][0]["buckets"] if bucket["n"]]
            assert filled == [start]


async def test_a_series_reaches_an_hour_back_when_nothing_is_said(tables: str) -> None:
    async with dashboard(tables) as running:
        answer = (await ask(running, "/v1/kpis/feedback_received/series")).json()
        assert len(answer["series"][0]["buckets"]) in {60, 61}
        assert answer["step"] == "minute"


async def test_events_come_newest_first_page_by_page_with_their_own_json(tables: str) -> None:
    async with dashboard(tables) as running, writer(tables) as stream:
        await stream.commit(reports=[Report(id=f"a{n}", area="01") for n in range(5)])
        await stream.commit(reports=[Report(id="b", area="02", text="<img onerror=x>", subject="case-7")])
        seen: list[str] = []
        before = None
        for _ in range(4):
            page = (await ask(running, "/v1/events", limit=2, **({"before": before} if before else {}))).json()
            seen += [item["event"]["id"] for item in page["items"]]
            before = page["next"]
            if before is None:
                break
        assert seen == ["b", "a4", "a3", "a2", "a1", "a0"]
        [item] = (await ask(running, "/v1/events", subject="case-7")).json()["items"]
        assert item["event"]["data"]["text"] == "<img onerror=x>"
        assert item["position"].startswith("1-")
        older = (await ask(running, "/v1/events", before=item["position"])).json()["items"]
        assert len(older) == 5
        for params, count in (
            ({"area": "00"}, 6),
            ({"area": "01"}, 5),
            ({"source": "nobody"}, 0),
            ({"type": "ioc.feedback.received.v1"}, 6),
        ):
            assert len((await ask(running, "/v1/events", **params)).json()["items"]) == count


async def test_sources_say_when_they_were_heard(tables: str) -> None:
    async with dashboard(tables) as running, writer(tables) as stream:
        await stream.commit(sources=["hotline", "stranger"])
        await stream.connection.execute(
            "UPDATE source_seen SET received_at = $1 WHERE source = 'stranger'",
            datetime.now(UTC) - timedelta(days=1),
        )
        items = (await ask(running, "/v1/sources")).json()["items"]
        assert [(s["id"], s["state"], s["declared"], s["simulated"]) for s in items] == [
            ("hotline", "fresh", True, False),
            ("cameras", "never", True, True),
            ("stranger", "stale", False, False),
        ]


@pytest.mark.parametrize(
    ("path", "status", "field", "reason"),
    [
        pytest.param("/v1/kpis/none/series", 404, "id", "unknown_kpi", id="unknown KPI"),
        pytest.param("/v1/kpis/response_ms/series?area=99", 422, "area", "unknown_area", id="unknown area"),
        pytest.param("/v1/kpis/response_ms/series?area=", 422, "area", "invalid", id="empty area"),
        pytest.param("/v1/kpis/response_ms/series?step=fortnight", 422, "step", "invalid", id="unknown step"),
        pytest.param(
            "/v1/kpis/response_ms/series?from=2026-01-01T00:00:00", 422, "from", "naive_time", id="naive time"
        ),
        pytest.param("/v1/kpis/response_ms/series?from=yesterday", 422, "from", "invalid", id="no time"),
        pytest.param(
            "/v1/kpis/response_ms/series?from=0001-01-01T00:00:00%2B14:00", 422, "from", "out_of_range", id="year 1"
        ),
        pytest.param(
            "/v1/kpis/response_ms/series?to=9999-12-31T23:59:59-14:00", 422, "to", "out_of_range", id="9999"
        ),
        pytest.param(
            "/v1/kpis/response_ms/series?from=2150-01-01T00:00:00Z", 422, "from", "out_of_range", id="after to"
        ),
        pytest.param("/v1/kpis/response_ms/series?from=1970-01-02T00:00:00Z", 422, "from", "too_many", id="too long"),
        pytest.param(
            "/v1/kpis/response_ms/series?from=1999-01-01T00:00:00Z&to=1999-01-01T01:00:00Z",
            422,
            "from",
            "out_of_range",
            id="minutes that are kept no more",
        ),
        pytest.param("/v1/kpis/response_ms/series?by=area", 422, "by", "invalid", id="by what"),
        pytest.param("/v1/kpis/feedback_received/series?by=area", 422, "by", "invalid", id="not a dimension of it"),
        pytest.param("/v1/kpis/response_ms/series?where=a:b", 422, "where", "invalid", id="has no dimension"),
        pytest.param("/v1/kpis/feedback_received/series?where=road", 422, "where.0", "invalid", id="no colon"),
        pytest.param("/v1/kpis/feedback_received/series?where=category:%00", 422, "where.0", "invalid", id="NUL"),
        pytest.param("/v1/areas?list=none", 422, "list", "invalid", id="unknown code list"),
        pytest.param("/v1/events?limit=0", 422, "limit", "invalid", id="no limit"),
        pytest.param("/v1/events?limit=501", 422, "limit", "out_of_range", id="limit too large"),
        pytest.param("/v1/events?limit=x", 422, "limit", "invalid", id="limit is no number"),
        pytest.param("/v1/events?before=x", 422, "before", "invalid", id="no cursor"),
        pytest.param("/v1/events?before=1-7.%C3%A9", 422, "before", "invalid", id="cursor key is no base64"),
        pytest.param("/v1/events?before=1-7.AAAA", 422, "before", "invalid", id="cursor key holds NUL"),
        pytest.param("/v1/events?source=%00", 422, "source", "invalid", id="NUL in source"),
        pytest.param("/v1/events?colour=red", 422, "colour", "unknown_field", id="unknown parameter"),
        pytest.param("/v1/sources?x=1", 422, "x", "unknown_field", id="no parameters here"),
        pytest.param("/v1/nothing", 404, None, None, id="no such route"),
    ],
)
async def test_a_wrong_question_is_refused_with_field_reason_and_fix(
    path: str, status: int, field: str | None, reason: str | None
) -> None:
    # Refused before the database is asked, so there need be none.
    async with dashboard(NOWHERE) as running:
        answer = await ask(running, path)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem.get("field"), problem.get("reason")) == (field, reason)
        assert problem["status"] == status
        assert field is None or problem["fix"]


async def test_a_cursor_of_before_a_restore_is_refused(tables: str) -> None:
    async with dashboard(tables) as running:
        answer = await ask(running, "/v1/events?before=9-7")
        assert (answer.status_code, answer.json()["field"]) == (422, "before")


async def test_openapi_describes_every_answer_and_every_reference_resolves(tables: str) -> None:
    async with dashboard(tables) as running:
        document = (await ask(running, OPENAPI_PATH)).json()
        assert {
            "/v1/kpis/{id}/series",
            "/v1/events",
            "/v1/sources",
            "/v1/workers",
            "/v1/areas",
            "/v1/site",
            "/v1/kpis",
        } <= set(document["paths"])
        assert "EventPage" in document["components"]["schemas"]
        names = set(document["components"]["schemas"])
        assert set(_references(document)) <= {f"#/components/schemas/{name}" for name in names}


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        here = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return here + [one for value in node.values() for one in _references(value)]
    return [one for value in node for one in _references(value)] if isinstance(node, list) else []


async def test_the_board_is_served_with_its_policy_and_cached() -> None:
    async with dashboard(NOWHERE) as running:
        page = await ask(running, "/")
        assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in page.headers["content-security-policy"]
        async with httpx.AsyncClient(base_url=running.http, trust_env=False) as client:
            again = await client.get("/", headers={"if-none-match": page.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            script = await client.get("/kpi/board.js")
            assert script.headers["content-type"].startswith("text/javascript")
            assert (await client.get("/kpi/..%2Fapp.py")).status_code == 404


async def test_without_a_database_the_answer_is_503_in_time() -> None:
    async with dashboard(NOWHERE) as running:
        started_s = time.monotonic()
        answer = await ask(running, "/v1/events")
        assert time.monotonic() - started_s < 5
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["reason"] == "database_away"
        ready = await ask(running, "/readyz")
        assert (ready.status_code, ready.json()["database"]["state"]) == (503, "away")
        assert (await ask(running, "/healthz")).status_code == 200
