"""Is the past shown as it was known then, to who may see it now, and nothing of later?"""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from dashboard_api.config import Bounds
from dashboard_api.refusal import Refused
from dashboard_api.replay import SPEED_MAX, Course, ReplayClock, parse_replay, position_of, version_of
from dashboard_api.replay_figures import Known, read_past
from dashboard_api.replay_socket import REPLAYS_MAX
from dashboard_api.series import read_windows
from dashboard_api.subscription import Series
from schemas.case import Entry, State
from schemas.event import AnyEvent, AreaId
from schemas.identity import NOBODY
from schemas.site import parse_site
from schemas.unit import UnitState, UnitStatus
from schemas.window import Tier
from tests.dashboard.case_centre import SITE, case_centre
from tests.dashboard.case_rows import OPENED_AT, case, put_cases, put_entries, put_event, put_units
from tests.dashboard.centre import hear
from tests.dashboard.test_drill import PACK_TEXTS, received
from tests.dashboard.worker import count

ROOT = AreaId("P")
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, st.floats(0, SPEED_MAX), st.lists(st.floats(0, 1e6), min_size=2))
def test_a_replay_goes_forward_and_never_beyond_the_present(
    start: datetime, speed: float, waits: list[float]
) -> None:
    begun = start + timedelta(hours=1)
    clock = ReplayClock(course=Course(start=start, speed=speed), begun_at=begun)
    nows = [begun + timedelta(seconds=wait) for wait in sorted(waits)]
    moments = [clock.moment(now) for now in nows]
    assert moments == sorted(moments)
    assert clock.moment(begun) == start
    for now, moment in zip(nows, moments, strict=True):
        assert start <= moment <= now
        assert clock.has_caught_up(now) is (moment == now)
        if not clock.has_caught_up(now):
            passed = timedelta(seconds=(now - begun).total_seconds() * speed)
            assert abs(moment - start - passed) < timedelta(milliseconds=1)
    assert position_of(start).epoch == 0
    assert version_of(start + timedelta(milliseconds=1)) == version_of(start) + 1


@pytest.mark.parametrize(
    ("message", "field"),
    [
        pytest.param({}, "$.replay", id="without a moment"),
        pytest.param({"replay": {"from": "2026-03-03T14:02:00"}}, "$.replay.from", id="without a zone"),
        pytest.param({"replay": {"from": "2026-03-03T14:02:00Z", "speed": -1}}, "$.replay.speed", id="backwards"),
        pytest.param({"replay": {"from": "2026-03-03T14:02:00Z", "speed": 1e9}}, "$.replay.speed", id="too fast"),
        pytest.param({"replay": {"from": "2026-03-03T14:02:00Z"}, "position": "1-1"}, "position", id="a position"),
        pytest.param({"replay": {"from": "2026-03-03T14:02:00Z"}, "cases": {}}, "$", id="cases for nobody"),
    ],
)
def test_what_cannot_be_replayed_is_refused_with_its_field(message: dict[str, Any], field: str) -> None:
    text = msgspec.json.encode({"op": "subscribe", **message}).decode()
    with pytest.raises(Refused) as caught:
        parse_replay(text, SITE, Bounds(), NOBODY)
    assert caught.value.field in (field, field.removeprefix("$."))


def after(last: datetime, seconds: float) -> datetime:
    """A moment after another."""
    return last + timedelta(seconds=seconds)


async def test_figures_are_those_that_were_known(tables: str) -> None:
    """Counts in rounds, and notes at the end of each what everybody could read then; later nothing else is told."""
    rng, site = random.Random(5), parse_site(PACK_TEXTS)
    connection: Any = await asyncpg.connect(tables)
    await connection.execute("UPDATE history_floor SET since = since - INTERVAL '1 day'")
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=50)
    wanted = [
        Series(kpi, ROOT, tier) for kpi in ("received", "open", "by_phone") for tier in (Tier.MINUTE, Tier.HOUR)
    ]
    seen: list[tuple[datetime, dict[Series, dict[int, Any]], float]] = []
    try:
        for number in range(5):
            head = begin + timedelta(minutes=10 * number)
            some: list[AnyEvent] = [
                received(f"{number}-{at}", after(head, -rng.randrange(1_200)), channel=rng.choice(["phone", "web"]))
                for at in range(25)
            ]
            await count(tables, PACK_TEXTS, [*some, received(f"{number}-head", head)], logged_at=after(head, 1))
            closed_s = head.timestamp() - site.header.closing.grace_s
            await connection.execute(
                "INSERT INTO closed_until SELECT topic, clock_timestamp(), $1 FROM position", closed_s
            )
            moment = await connection.fetchval("SELECT clock_timestamp()")
            now_s = moment.timestamp()
            found = await read_windows(connection, wanted, site, 90, now_s, int(now_s))
            seen.append((moment, {one: dict(points) for one, points in found.items()}, closed_s))
        kinds: set[Known] = set()
        for moment, then, closed_s in seen:
            past = await read_past(connection, site, wanted, 70, moment, datetime.now(UTC))
            for one, series in past.items():
                width_s = 60 if one.tier is Tier.MINUTE else 3600
                for point in series.points:
                    kinds.add(point.known)
                    held = then[one].get(point.bucket_s)
                    if point.known is Known.NONE:
                        assert point.value.value is None
                        assert point.bucket_s >= closed_s // 60 * 60 or one.tier is not Tier.MINUTE
                    elif point.known is Known.PART:
                        assert point.until_s is not None
                        assert point.bucket_s < point.until_s <= closed_s < point.bucket_s + width_s
                        if one.kpi == "received":
                            minutes = then[Series(one.kpi, ROOT, Tier.MINUTE)]
                            inside = [minutes[s] for s in minutes if point.bucket_s <= s < point.until_s]
                            # Corrected since, it is what the minutes closed with.
                            assert point.value.n in (
                                sum(value.now.n for value in inside),
                                sum((value.first or value.now).n for value in inside),
                            )
                    elif held is not None:
                        assert point.bucket_s + width_s <= closed_s
                        if one.kpi == "open" and point.known is Known.FIRST:
                            # As all that it is made of closed: hours later than their minutes, with more in them.
                            minutes = then[Series("received", ROOT, Tier.MINUTE)]
                            inside = [value for s, value in minutes.items() if s < point.bucket_s + width_s]
                            least = sum((value.first or value.now).n for value in inside)
                            assert point.value.value is not None
                            assert least <= point.value.value <= sum(value.now.n for value in inside)
                        else:
                            assert point.value == (held.now if point.known is Known.FINAL else held.first)
        assert {Known.FINAL, Known.FIRST, Known.PART, Known.NONE} <= kinds
    finally:
        await connection.close()


async def moment_of(centre: Any) -> datetime:
    """Now, by the database's clock."""
    return await centre.connection.fetchval("SELECT clock_timestamp()")


async def test_cases_are_shown_as_they_were_to_who_may_see_them_now(tables: str) -> None:
    async with case_centre(tables) as centre:
        connection = centre.connection
        before = await moment_of(centre)
        await put_cases(connection, case("a"), case("b", agency="police"), case("drill", exercise=True))
        await put_units(connection, UnitState(unit="u1", version=1, status=UnitStatus.AVAILABLE))
        line: dict[str, Any] = {"at": OPENED_AT, "recorded_at": OPENED_AT}
        await put_entries(connection, Entry(case=case("a").id, number=1, action="opened", **line))
        first = await moment_of(centre)
        await put_cases(
            connection,
            case("a", version=2, state=State.CLOSED, closed_at=OPENED_AT, title="Later"),
            case("b", version=2, accused_agency="police", agency="city"),
        )
        await put_units(connection, UnitState(unit="u1", version=2, status=UnitStatus.OFF))
        await put_entries(connection, Entry(case=case("a").id, number=2, action="closed", **line))
        second = await moment_of(centre)

        async def listed(person: str, moment: datetime, **more: Any) -> dict[str, Any]:
            answer = await centre.ask("/v1/past/cases", person, as_of=moment.isoformat(), **more)
            assert answer.status_code == 200, answer.text
            return {item["id"]: item for item in answer.json()["items"]}

        then = await listed("olga", first)
        assert (then["a"]["title"], then["a"]["state"], then["a"]["version"]) == ("Case a", "new", 1)
        assert set(await listed("olga", before + timedelta(microseconds=1))) == set()
        assert set(await listed("olga", first, exercise=True)) == {"drill"}
        assert set(await listed("cleo", first, open=True)) == {"a", "b"}
        assert set(await listed("cleo", second, open=True)) == {"b"}
        # It was a case of the police; now it is a complaint about them, and its past is no more theirs than it is.
        assert "b" not in await listed("paul", first)
        assert "b" not in await listed("paula", first)
        at_first = {"as_of": first.isoformat()}
        one = (await centre.ask("/v1/past/cases/a", "olga", **at_first)).json()
        assert (one["title"], one["version"], one.get("actions", [])) == ("Case a", 1, [])
        assert (await centre.ask("/v1/past/cases/b", "paul", **at_first)).status_code == 404
        assert (await centre.ask("/v1/past/cases/a", None, **at_first)).status_code == 401
        lines = (await centre.ask("/v1/past/cases/a/timeline", "olga", **at_first)).json()["items"]
        assert [entry["number"] for entry in lines] == [1]
        pages = (await centre.ask("/v1/past/cases", "olga", limit=1, **at_first)).json()
        rest = (await centre.ask("/v1/past/cases", "olga", after=pages["next"], **at_first)).json()
        assert {item["id"] for item in (*pages["items"], *rest["items"])} == {"a", "b"}
        wish = msgspec.json.encode({"units": True, "cases": {"open": True}, "kpis": [], "events": 0}).decode()
        shot = (await centre.ask("/v1/past/snapshot", "olga", wish=wish, **at_first)).json()
        assert {item["id"] for item in shot["cases"]} == {"a", "b"}
        assert {unit["id"]: unit["status"] for unit in shot["units"]}["u1"] == "available"
        # What is said of a drill's case is part of the drill, marked as such by its sender or not.
        await put_event(connection, "drill", "Nobody is hurt")
        for exercise, n in ((True, 1), (False, 0)):
            assert len((await centre.ask("/v1/events", "olga", exercise=exercise)).json()["items"]) == n
            wish = msgspec.json.encode({"kpis": [], "exercise": exercise}).decode()
            now = (await moment_of(centre)).isoformat()
            shot = (await centre.ask("/v1/past/snapshot", "olga", wish=wish, as_of=now)).json()
            assert len(shot["events"]) == n
        past = (await centre.ask("/v1/past", "olga")).json()
        assert datetime.fromisoformat(past["since"]["cases"]) <= before
        for moment, word in ((before - timedelta(days=1), "known since"), (second + timedelta(days=1), "not come")):
            refused = await centre.ask("/v1/past/cases", "olga", as_of=moment.isoformat())
            assert refused.status_code == 422
            assert word in refused.text


async def replayed(centre: Any, person: str) -> Any:
    """A socket of replays, signed in as somebody."""
    return connect(
        f"ws://{centre.running.address}/v1/replay",
        additional_headers=centre.issuer.header(person),
        max_size=None,
        compression=None,
        proxy=None,
    )


async def test_a_replay_tells_again_what_happened(tables: str) -> None:
    async with case_centre(tables) as centre:
        begin = await moment_of(centre)
        await put_cases(centre.connection, case("a"), case("b"))
        middle = await moment_of(centre)
        await put_cases(centre.connection, case("a", version=2, title="Later"), case("c"))
        await put_cases(centre.connection, case("b", version=2, state=State.CLOSED, closed_at=OPENED_AT))
        wish: dict[str, Any] = {"op": "subscribe", "kpis": [], "events": 0, "cases": {"open": True}, "units": True}

        async def say(client: Any, start: datetime, speed: float) -> None:
            course = {"from": start.isoformat(), "speed": speed}
            await client.send(msgspec.json.encode({**wish, "replay": course}).decode())

        async with await replayed(centre, "olga") as client:
            await say(client, middle, 0)
            shot = await hear(client, "snapshot")
            assert {one["id"]: one["version"] for one in shot["cases"]} == {"a": 1, "b": 1}
            assert (shot["time"], shot["position"].split("-")[0]) == (_utc(middle), "0")
            beat = await hear(client, "heartbeat")
            assert (beat["time"], beat["replay"]) == (_utc(middle), {"speed": 0.0, "ended": False})
            # The same socket goes back, and on at another speed, until the past is the present.
            await say(client, begin, SPEED_MAX)
            assert (await hear(client, "snapshot"))["cases"] == []
            shown: dict[str, int] = {}
            async with asyncio.timeout(20):
                while True:
                    told = await hear(client, "change", "heartbeat")
                    for one in told.get("cases", []):
                        shown[one["id"]] = one["version"]
                    for id_ in told.get("cases_gone", []):
                        del shown[id_]
                    if told["op"] == "heartbeat" and told["replay"]["ended"]:
                        break
            assert shown == {"a": 2, "c": 1}
            await say(client, begin - timedelta(days=2), 1)
            refused = await hear(client, "error")
            assert (refused["field"], refused["reason"]) == ("replay.from", "not_kept")


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def test_only_so_many_replays_run_at_once(tables: str) -> None:
    async with case_centre(tables) as centre:
        clients = [await replayed(centre, "olga") for _ in range(REPLAYS_MAX + 1)]
        sockets = [await client for client in clients]
        try:
            async with asyncio.timeout(20):
                await sockets[-1].wait_closed()
            assert sockets[-1].close_code == 1013
            assert str(REPLAYS_MAX) in (sockets[-1].close_reason or "")
        finally:
            for socket in sockets:
                await socket.close()
