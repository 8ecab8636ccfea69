"""Does everybody hear when nobody counts any more?"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from dashboard_api.messages import StreamsState
from dashboard_api.workers import WorkerState, streams_state
from tests.dashboard.centre import WAIT_S, Running, counting, dashboard, hear, say

NOW = datetime(2026, 3, 29, 5, 30, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=7)
NEVER = StreamsState(state="away", since=NOW, reason="unknown")
UP = StreamsState(state="up", since=EARLIER)
HALTED = StreamsState(state="away", since=EARLIER, reason="halted", detail="b: TopicReplaced: made anew")


def worker(id_: str, state: Any, detail: str = "", age_s: float = 1.0) -> WorkerState:
    """A worker that was heard so long ago."""
    return WorkerState(id=id_, state=state, detail=detail, beat_at=NOW - timedelta(seconds=age_s))


@pytest.mark.parametrize(
    ("workers", "before", "expected"),
    [
        pytest.param([], NEVER, ("away", "none", NOW), id="nobody was ever there"),
        pytest.param(
            [worker("a", "starting")], NEVER, ("away", "starting", NOW - timedelta(seconds=1)), id="starting"
        ),
        pytest.param([worker("a", "counting")], NEVER, ("up", None, NOW), id="counting"),
        pytest.param([worker("a", "counting"), worker("b", "halted")], UP, ("up", None, EARLIER), id="one is enough"),
        pytest.param(
            [worker("a", "silent", age_s=6)], UP, ("away", "silent", NOW - timedelta(seconds=6)), id="all are silent"
        ),
        pytest.param(
            [worker("a", "starting"), worker("b", "halted", "why", 9)],
            HALTED,
            ("away", "halted", EARLIER),
            id="one that halts again and again has not counted in between",
        ),
        pytest.param([worker("a", "starting")], HALTED, ("away", "starting", EARLIER), id="starts after a halt"),
        pytest.param([worker("a", "counting")], HALTED, ("up", None, NOW), id="counts again"),
    ],
)
def test_one_worker_that_counts_is_enough(
    workers: list[WorkerState], before: StreamsState, expected: tuple[str, str | None, datetime]
) -> None:
    state = streams_state(workers, before, NOW)
    assert (state.state, state.reason, state.since) == expected


async def get(running: Running, path: str) -> dict[str, Any]:
    """The answer to one request, whatever its status."""
    async with httpx.AsyncClient(base_url=running.http, trust_env=False, timeout=20) as client:
        return (await client.get(path)).json()


async def until_streams(running: Running, state: str) -> dict[str, Any]:
    """Waits until the readiness says so of the workers, and returns what it says."""
    async with asyncio.timeout(WAIT_S):
        while (said := (await get(running, "/readyz"))["streams"])["state"] != state:  # noqa: ASYNC110  # HTTP
            await asyncio.sleep(0.05)
    return said


async def test_workers_are_listed_with_what_they_say_of_themselves(tables: str) -> None:
    async with dashboard(tables) as running, counting(tables, "a") as one, counting(tables, "b") as two:
        async with counting(tables, "c") as three, counting(tables, "d") as four:
            await one.halt("LogTruncated: the log ends at 5")
            await two.fall_silent()
            await two.beat(age_s=5.5)
            await three.fall_silent()
            await three.beat("halted", "long ago", age_s=3700)
            await four.fall_silent()
            await four.beat("starting")
            items = (await get(running, "/v1/workers"))["items"]
        assert [(item["id"], item["state"], item["detail"]) for item in items] == [
            ("d", "starting", ""),
            ("a", "halted", "LogTruncated: the log ends at 5"),
            ("b", "silent", ""),
        ]
        assert all(item["beat_at"] for item in items)


async def test_readiness_says_whether_anybody_counts(tables: str) -> None:
    async with dashboard(tables) as running:
        async with asyncio.timeout(WAIT_S):
            while (said := (await get(running, "/readyz"))["streams"])["reason"] == "unknown":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert said["detail"] == "no worker runs"
        async with counting(tables) as worker:
            assert (await until_streams(running, "up"))["detail"] is None
            await worker.halt("TopicReplaced: the topic was made anew")
            said = await until_streams(running, "away")
        assert said["detail"] == "here/0: TopicReplaced: the topic was made anew"


@pytest.mark.parametrize("how", ["halts", "falls silent"])
async def test_a_live_client_hears_that_counting_stopped_and_goes_on(tables: str, how: str) -> None:
    async with dashboard(tables) as running, counting(tables) as worker:
        await until_streams(running, "up")
        async with running.live() as client:
            await say(client, op="subscribe", points=1)
            assert (await hear(client, "heartbeat"))["streams"]["state"] == "up"
            started_s = time.monotonic()
            await (worker.halt("why") if how == "halts" else worker.fall_silent())
            while (told := (await hear(client, "heartbeat"))["streams"])["state"] == "up":
                pass
            assert told["reason"] == ("halted" if how == "halts" else "silent")
            assert time.monotonic() - started_s < (2 if how == "halts" else 7)
            assert datetime.fromisoformat(told["since"]) <= datetime.now(UTC)
            async with counting(tables, "here/1"):
                while (await hear(client, "heartbeat"))["streams"]["state"] != "up":
                    pass
