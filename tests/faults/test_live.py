"""Does what a live client shows equal the database, whatever breaks in between?

Real workers, broker, database and web process. Clients of every kind follow while commands come in: some lose their
connection all the time, one reads slowly, one polls. Workers and the web process are killed in turn; whenever it is
quiet, every client has to show what the tables hold.
"""

import asyncio
import contextlib
import itertools
import os
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest

from deploy.live_client import LiveClient, Shown
from deploy.local import ports
from deploy.local.child import Child
from schemas.case import Case
from tests.faults.centre import HurtCentre, ready, until
from tests.faults.site import write_pack
from tests.faults.test_cases import PACK as CASE_PACK
from tests.faults.test_cases import UNITS, Desk, is_over

PACK = CASE_PACK | {
    "kpis.toml": """
[[kpi]]
id = "opened"
names = { vi = "Đã mở", en = "Opened" }
unit = "{case}"
event = "ioc.case.step.v1"
measure = "count"
where = { step = ["opened"] }
[[kpi]]
id = "steps"
names = { vi = "Các bước", en = "Steps" }
unit = "1"
event = "ioc.case.step.v1"
measure = "count"
""",
    # Nothing falls due while the test runs, so that it is quiet as soon as nobody does anything.
    "clocks.toml": '[[clock]]\nclock = "resolution"\nallowed = "30d"\n',
    "dispatch.toml": "[[steps]]\naccepted_s = 864000\n",
}
POINTS = 1_500
WISH: dict[str, Any] = {
    "kpis": ["opened", "steps"],
    "areas": ["00", "01", "02"],
    "tier": "minute",
    "points": POINTS,
    "events": 0,
    "units": True,
}
BY_UNIT = [{**WISH, "cases": {"unit": f"u{number}", "open": True}} for number in range(UNITS)]
"""A unit's open cases stay fewer than a list has room for, however long it takes."""

ROUND_S = 1.5
SLOW_READ_S = 0.3
POLL_S = 0.5


class Follower:
    """A client that follows one wish. It goes on with its position whenever it lost the connection."""

    def __init__(self, name: str, wish: dict[str, Any], follow: "Callable[[Follower], Any]") -> None:
        self.name = name
        self.wish = wish
        self.shown = Shown(POINTS)
        self.losses = 0
        self.answers: list[str] = []
        self._follow = follow
        self.task: asyncio.Task[None] = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self._follow(self)

    def take(self, message: dict[str, Any]) -> None:
        """One message."""
        if message["op"] == "snapshot" or message.get("resumed"):
            self.answers.append(message["op"])
        self.shown.apply(message)

    def state(self) -> dict[str, Any]:
        """What it shows, to be compared."""
        shown = self.shown
        return {
            "values": {
                (kpi, area, bucket): point["n"]
                for (kpi, area), series in shown.values.items()
                for bucket, point in series.items()
                if point["n"]
            },
            "cases": {id_: (case["version"], case["state"]) for id_, case in shown.cases.items()},
            "units": {id_: unit["version"] for id_, unit in shown.units.items() if unit["version"]},
        }


def by_socket(origin: str, rng: random.Random, mean_s: float) -> Callable[[Follower], Any]:
    """Reads as fast as it can, and loses its connection at random."""

    async def follow(follower: Follower) -> None:
        client = LiveClient(origin, follower.wish, retry_min_s=0.1, silent_after_s=5)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rng.expovariate(1 / mean_s)):
                    async for message in client.messages():
                        follower.take(message)
            follower.losses += 1

    return follow


def slowly(origin: str) -> Callable[[Follower], Any]:
    """Takes a message now and then, so that newer values overtake those that wait."""

    async def follow(follower: Follower) -> None:
        async for message in LiveClient(origin, follower.wish, retry_min_s=0.1).messages():
            follower.take(message)
            await asyncio.sleep(SLOW_READ_S)

    return follow


def by_polls(origin: str, rng: random.Random) -> Callable[[Follower], Any]:
    """Asks again and again. Some answers are lost on their way."""

    async def follow(follower: Follower) -> None:
        query = {"subscription": msgspec.json.encode(follower.wish).decode(), "wait": "1"}
        known: dict[str, str] = {}
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            while True:
                try:
                    answer = await client.get(f"{origin}/v1/live/poll", params={**query, **known})
                    reply = answer.raise_for_status().json()
                except httpx.HTTPError:
                    await asyncio.sleep(POLL_S)
                    continue
                if rng.random() < 0.2:
                    follower.losses += 1
                    continue
                known = {name: reply[name] for name in ("session", "position") if reply[name]}
                for message in reply["messages"]:
                    follower.take(message)

    return follow


def by_events(origin: str, rng: random.Random, mean_s: float) -> Callable[[Follower], Any]:
    """Reads a stream of events, as a browser does that comes back with the last id."""

    async def follow(follower: Follower) -> None:
        query = {"subscription": msgspec.json.encode(follower.wish).decode()}
        last: dict[str, str] = {}
        while True:
            try:
                async with (
                    asyncio.timeout(rng.expovariate(1 / mean_s)),
                    httpx.AsyncClient(trust_env=False, timeout=10) as client,
                    client.stream("GET", f"{origin}/v1/live/events", params=query, headers=last) as answer,
                ):
                    answer.raise_for_status()
                    id_: str | None = None
                    async for line in answer.aiter_lines():
                        if line.startswith("id: "):
                            id_ = line[4:]
                        elif line.startswith("data: "):
                            follower.take(msgspec.json.decode(line[6:]))
                            last = last if id_ is None else {"Last-Event-ID": id_}
            except (TimeoutError, httpx.HTTPError):
                follower.losses += 1
                await asyncio.sleep(0.1)

    return follow


async def held(centre: HurtCentre, wish: dict[str, Any]) -> dict[str, Any]:
    """What the tables hold of a wish."""
    async with centre.connected() as connection:
        rows = await connection.fetch(
            """SELECT kpi, area, extract(epoch FROM bucket)::bigint AS bucket, sum(n)::bigint AS n
               FROM kpi_minute GROUP BY 1, 2, 3"""
        )
        cases = [msgspec.json.decode(body, type=Case) for (body,) in await connection.fetch("SELECT body FROM cases")]
        units = await connection.fetch("SELECT unit, version FROM unit_state")
    unit = wish["cases"]["unit"]
    return {
        "values": {(row["kpi"], row["area"], row["bucket"]): row["n"] for row in rows},
        "cases": {case.id: (case.version, case.state.value) for case in cases if case.is_open and unit in case.units},
        "units": {row["unit"]: row["version"] for row in units},
    }


async def all_equal(centre: HurtCentre, followers: list[Follower]) -> None:
    """Waits until it is quiet and every client shows what the tables hold."""
    await until(lambda: is_over(centre), "everything is decided, and nothing falls due", centre)
    wrong: dict[str, Any] = {}

    async def are_equal() -> bool:
        wrong.clear()
        for one in followers:
            if one.task.done():
                one.task.result()
            shown, true = one.state(), await held(centre, one.wish)
            for part in [part for part in true if shown[part] != true[part]]:
                wrong[f"{one.name}: {part}"] = (shown[part], true[part])
        return not wrong

    try:
        await until(are_equal, "all clients show what the tables hold", centre)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{wrong}") from error


@asynccontextmanager
async def following(origin: str, seed: int) -> AsyncGenerator[list[Follower]]:
    """Clients of every kind."""
    rng = random.Random(seed)
    wishes = itertools.cycle(BY_UNIT)
    followers = [
        *(Follower(f"socket {n}", next(wishes), by_socket(origin, rng, 1.0 + n)) for n in range(3)),
        Follower("slow", next(wishes), slowly(origin)),
        Follower("polls", next(wishes), by_polls(origin, rng)),
        Follower("events", next(wishes), by_events(origin, rng, 2.0)),
    ]
    try:
        yield followers
    finally:
        for one in followers:
            one.task.cancel()
        await asyncio.gather(*(one.task for one in followers), return_exceptions=True)


async def break_things(centre: HurtCentre, rounds: int, seconds: float = 0.0) -> None:
    """Kills a worker and the web process in turn, lets it become quiet and compares: so often, and for so long."""
    end_s = time.monotonic() + seconds
    write_pack(PACK, centre.site_folder)
    port = ports.free_port()
    origin = f"http://{ports.LOOPBACK}:{port}"
    starts: dict[str, Callable[[], Child]] = {
        "web": lambda: centre.start_web(port),
        "worker": lambda: centre.start_worker(0),
    }
    running = {name: start() for name, start in starts.items()}
    centre.start_outbound()
    await ready(centre, origin)
    async with centre.producer() as producer, following(origin, seed=1) as followers:
        desk = Desk(centre, producer)
        for number in itertools.count():
            if number >= rounds and time.monotonic() > end_s:
                break
            for name, start in starts.items():
                until_s = time.monotonic() + ROUND_S
                while time.monotonic() < until_s:
                    await desk.work()
                    await asyncio.sleep(0.2)
                running[name].kill()
                running[name] = start()
                await desk.work()
            await all_equal(centre, followers)
        for one in followers:
            assert one.shown.values, one.name
        # The slow one may have read to its end only once.
        for one in (one for one in followers if one.name != "slow"):
            assert "change" in one.answers, f"{one.name} never went on from its position"
        assert sum(one.losses for one in followers) > 0
        assert any(one.shown.cases for one in followers)


async def test_clients_show_what_the_tables_hold_whatever_breaks(centre: HurtCentre) -> None:
    await break_things(centre, rounds=1)


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_they_do_so_for_long(centre: HurtCentre) -> None:
    await break_things(centre, rounds=4, seconds=60 * float(os.environ.get("MINUTES", "60")))
