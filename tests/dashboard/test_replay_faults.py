"""Does a replay tell all that happened, whatever fails or commits late meanwhile?"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from dashboard_api.config import Bounds, DashboardConfig
from dashboard_api.replay import VALUES_MAX, Course, PastWish
from dashboard_api.replay_session import FIGURES_S, Replayed
from dashboard_api.replay_settled import Look, Settled
from dashboard_api.subscription import parse_wish
from schemas.case import State
from schemas.command import Actor
from schemas.identity import actor_without_token
from schemas.site import parse_site
from schemas.unit import UnitState, UnitStatus
from tests.dashboard.case_centre import PACK, case_centre
from tests.dashboard.case_rows import OPENED_AT, case, put_cases, put_units
from tests.dashboard.centre import Sample, hear, utc_now, writer

KPI = "feedback_received"
SITE = parse_site({name: text for name, text in PACK.items() if name != "people.toml"})
"""Whoever comes may see everything: who may see what is for other tests."""


class Failing:
    """A connection that is lost at its n-th question."""

    def __init__(self, connection: Any, at: int) -> None:
        self._connection = connection
        self._left = at

    def __getattr__(self, name: str) -> Callable[..., AbstractAsyncContextManager[Any]]:
        self._left -= 1
        if self._left < 0:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return getattr(self._connection, name)


def replay_of(url: str, actor: Actor, start: datetime, now: Callable[[], datetime]) -> Replayed:
    """A replay of everything."""
    config = DashboardConfig(database_url=url, current_site=lambda: SITE, now=now)
    wish = msgspec.json.encode({"kpis": [KPI], "cases": {"open": True}, "units": True}).decode()
    shown = parse_wish(wish, None, config.site, config.bounds, actor)
    return Replayed(config, PastWish(shown=shown, course=Course(start=start)), actor)


async def test_what_could_not_be_read_to_its_end_is_told_later(tables: str) -> None:
    actor, connection = actor_without_token(SITE), await asyncpg.connect(tables)
    try:
        async with writer(tables) as stream:
            minute = int(utc_now().timestamp()) // 60 * 60 - 600
            await put_cases(connection, case("a"), case("b"))
            await stream.commit([Sample(kpi=KPI, area="01", time_s=minute)] * 3)
            await stream.close_until(minute - 60)
            await closed(connection, minute - 60)
            first = await connection.fetchval("SELECT clock_timestamp()")
            await put_cases(connection, case("a", version=2, state=State.CLOSED, closed_at=OPENED_AT), case("c"))
            await put_units(connection, UnitState(unit="u1", version=1, status=UnitStatus.AVAILABLE))
            await closed(connection, minute + 120)
        second = await connection.fetchval("SELECT clock_timestamp()")
        clock = [utc_now()]
        replay = replay_of(tables, actor, first, lambda: clock[-1])
        replay.keep(await replay.begin(connection, first))
        # Figures are not looked at as often as all else.
        at_once = (await replay.go_on(connection, second)).text
        assert at_once is not None
        assert msgspec.json.decode(at_once)["values"] == []
        clock.append(clock[-1] + timedelta(seconds=FIGURES_S))
        whole = await replay.go_on(connection, second)
        assert whole.text is not None
        told = msgspec.json.decode(whole.text)
        assert ({one["id"] for one in told["cases"]}, told["cases_gone"]) == ({"c"}, ["a"])
        assert [one["id"] for one in told["units"]] == ["u1"]
        assert {one["kpi"] for one in told["values"]} == {KPI}
        for at in range(100):
            try:
                again = await replay.go_on(Failing(connection, at), second)  # type: ignore[arg-type]
            except asyncpg.ConnectionDoesNotExistError:
                assert replay.at == first
            else:
                break
        else:
            pytest.fail("it never came to its end")
        assert at > 3
        assert again.text == whole.text
        replay.keep(again)
        assert (await replay.go_on(connection, second)).text is None
    finally:
        await connection.close()


async def closed(connection: Any, until_s: int) -> None:
    """Notes that everything has closed up to a moment."""
    await connection.execute(
        "INSERT INTO closed_until SELECT topic, clock_timestamp(), $1 FROM position", float(until_s)
    )


@given(
    st.lists(
        st.tuples(st.integers(1, 20), st.integers(1, 30), st.integers(0, 30)),
        min_size=1,
        max_size=20,
    ),
    st.lists(st.integers(1, 60), min_size=1, max_size=20, unique=True),
)
def test_nothing_comes_later_from_before_a_settled_moment(
    writes: list[tuple[int, int, int]], looks: list[int]
) -> None:
    """Transactions that begin at a second, take a moment, and commit some seconds later."""
    settled, begin = Settled(), datetime(2026, 3, 3, tzinfo=UTC)
    all_of = {f"{at}": (start, start + wait, start + wait + left) for at, (start, wait, left) in enumerate(writes)}
    for second in sorted(looks):
        running = frozenset(name for name, (start, _, end) in all_of.items() if start <= second < end)
        moment = settled.after(Look(begin + timedelta(seconds=second), running))
        assert moment <= begin + timedelta(seconds=second)
        if not running:
            assert moment == begin + timedelta(seconds=second)
        for _, taken, end in all_of.values():
            is_before = begin + timedelta(seconds=taken) <= moment
            assert not (is_before and end > second), "it commits later, with a moment from before"


async def test_a_decision_that_commits_late_is_told_at_the_present(tables: str) -> None:
    async with case_centre(tables) as centre:
        begin = await centre.connection.fetchval("SELECT clock_timestamp()")
        writing: Any = await asyncpg.connect(tables)
        socket = connect(
            f"ws://{centre.running.address}/v1/replay",
            additional_headers=centre.issuer.header("olga"),
            max_size=None,
            compression=None,
            proxy=None,
        )
        try:
            async with socket as client:
                deciding = writing.transaction()
                await deciding.start()
                await put_cases(writing, case("late"))
                course = {"from": begin.isoformat(), "speed": 3600}
                wish: dict[str, Any] = {"op": "subscribe", "kpis": [], "events": 0, "cases": {}, "replay": course}
                await client.send(msgspec.json.encode(wish).decode())
                assert (await hear(client, "snapshot"))["cases"] == []
                for _ in range(2):
                    assert not (await hear(client, "heartbeat"))["replay"]["ended"]
                # What was decided before it, and is committed now.
                await put_cases(centre.connection, case("soon"))
                await hear(client, "heartbeat")
                await deciding.commit()
                told: set[str] = set()
                async with asyncio.timeout(20):
                    has_ended = False
                    while not has_ended:
                        one = await hear(client, "change", "heartbeat")
                        told |= {case["id"] for case in one.get("cases", [])}
                        has_ended = one["op"] == "heartbeat" and one["replay"]["ended"]
                assert told == {"late", "soon"}
        finally:
            await writing.close()


ASKED: list[tuple[str, dict[str, str]]] = [
    ("past/cases", {}),
    ("past/cases/a", {}),
    ("past/cases/a/timeline", {}),
    ("past/snapshot", {"wish": '{"kpis": []}'}),
    ("overview", {}),
    (f"kpis/{KPI}/table", {}),
]
EDGES = ("0001-01-01T00:00:00+14:00", "0001-01-03T00:00:00Z", "9999-12-31T23:59:59-14:00")


async def test_a_moment_at_the_edge_of_time_is_refused(tables: str) -> None:
    async with case_centre(tables) as centre:
        for moment, (path, more) in product(EDGES, ASKED):
            answer = await centre.ask(f"/v1/{path}", "olga", as_of=moment, **more)
            assert (answer.status_code, answer.json()["field"]) == (422, "as_of"), path
        async with connect(
            f"ws://{centre.running.address}/v1/replay",
            additional_headers=centre.issuer.header("olga"),
            max_size=None,
            compression=None,
            proxy=None,
        ) as client:
            for moment in EDGES:
                wish: dict[str, Any] = {"op": "subscribe", "kpis": [], "replay": {"from": moment}}
                await client.send(msgspec.json.encode(wish).decode())
                assert (await hear(client, "error"))["field"] in ("replay.from", "$.replay.from")


async def test_replays_are_for_people_and_of_a_bounded_size(tables: str) -> None:
    async with case_centre(tables) as centre:
        address = f"ws://{centre.running.address}/v1/replay"
        async with connect(address, max_size=None, compression=None, proxy=None) as client, asyncio.timeout(20):
            await client.wait_closed()
            assert client.close_code == 4401
        now = (await centre.connection.fetchval("SELECT clock_timestamp()")).isoformat()
        kpis = [kpi.id for kpi in SITE.kpis.kpis]
        points = VALUES_MAX // len(kpis) + 1
        assert points <= Bounds().points_max
        wish: dict[str, Any] = {"kpis": kpis, "points": points}
        answer = await centre.ask("/v1/past/snapshot", "olga", as_of=now, wish=msgspec.json.encode(wish).decode())
        assert (answer.status_code, answer.json()["field"]) == (422, "points")
        assert str(VALUES_MAX) in answer.text
