"""Does the reference client come back with its position by whatever way, and is what it shows true?"""

import asyncio
import io
import os
import pty
import sys
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from deploy import live_client
from deploy.live_client import Line, LiveClient, Shown
from deploy.migrate import migrate_schema
from deploy.watch import Names, age, board
from schemas.errors import OperatorError
from tests.dashboard.case_centre import Issuer, peopled_site
from tests.dashboard.centre import WAIT_S, Sample, counting, dashboard, writer

ROOT = Path(__file__).parents[2]
WISH = {"kpis": ["feedback_received"], "areas": ["01"], "tier": "day", "points": 1}
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)


def _sample() -> Sample:
    return Sample(kpi="feedback_received", area="01", time_s=int(time.time()))


class Following:
    """A client, and all that it has heard."""

    def __init__(self, origin: str, **options: Any) -> None:
        self.client = LiveClient(origin, WISH, retry_min_s=0.05, **options)
        self.shown = Shown(points=1)
        self.heard: list[dict[str, Any]] = []
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for message in self.client.messages():
            self.heard.append(message)
            self.shown.apply(message)

    @property
    def value(self) -> float | None:
        """The only value that is shown."""
        return next((p["value"] for series in self.shown.values.values() for p in series.values()), None)

    async def until(self, value: float) -> None:
        """Waits for it."""
        async with asyncio.timeout(WAIT_S):
            while self.value != value and not self.task.done():  # noqa: ASYNC110  # looks at what it shows
                await asyncio.sleep(0.01)
        assert self.value == value


async def test_it_goes_on_with_its_position_after_a_restart(database_url: str) -> None:
    await migrate_schema(database_url)
    async with writer(database_url) as one:
        await one.commit([_sample()])
        async with dashboard(database_url) as running:
            port = int(running.address.rpartition(":")[2])
            following = Following(running.http)
            await following.until(1)
            assert following.client.line is Line.SOCKET
        await one.commit([_sample()])
        async with dashboard(database_url, port):
            await following.until(2)
        following.task.cancel()
    answers = [one for one in following.heard if one["op"] == "snapshot" or one.get("resumed")]
    assert [one["op"] for one in answers] == ["snapshot", "change"], "nothing was read anew"


async def test_it_listens_to_events_where_no_socket_gets_through(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blocked(*_: object, **__: object) -> None:
        raise ConnectionRefusedError("a proxy between lets no socket through")

    monkeypatch.setattr(live_client, "connect", blocked)
    await migrate_schema(database_url)
    async with writer(database_url) as one, dashboard(database_url, stream_max_s=0.5) as running:
        await one.commit([_sample()])
        following = Following(running.http)
        for count in range(1, 4):
            # Streams end and begin all the time.
            await following.until(count)
            await one.commit([_sample()])
        assert sum(message["op"] == "snapshot" for message in following.heard) == 1
        following.task.cancel()


@pytest.mark.parametrize(
    ("wish", "token", "words"),
    [
        pytest.param({"kpis": ["none"]}, None, "refuses the wish", id="unknown KPI"),
        pytest.param({}, "none", "closed to this sign-in", id="a token that does not hold"),
    ],
)
async def test_what_coming_again_would_not_help_ends_it(
    database_url: str, wish: dict[str, Any], token: str | None, words: str
) -> None:
    await migrate_schema(database_url)
    config = {"trust": Issuer()}
    async with dashboard(database_url, current_site=peopled_site, config=config) as running:
        messages = LiveClient(running.http, wish, token=token).messages()
        with pytest.raises(OperatorError, match=words):
            await asyncio.wait_for(_all(messages), WAIT_S)


async def _all(messages: AsyncGenerator[dict[str, Any]]) -> None:
    async for _ in messages:
        pass


async def test_the_command_prints_messages_for_programs(database_url: str) -> None:
    await migrate_schema(database_url)
    async with writer(database_url) as one, counting(database_url), dashboard(database_url) as running:
        await one.commit([_sample()])
        arguments = ["watch", "--json", "--url", running.http, "--kpi", "feedback_received", "--area", "01"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", *arguments), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(60):
                while True:
                    message = msgspec.json.decode(await process.stdout.readline())
                    if message["op"] == "snapshot":
                        break
        finally:
            process.kill()
            await process.wait()
    assert message["series"][0]["points"][0]["value"] == 1


async def test_the_command_draws_on_a_terminal(database_url: str) -> None:
    await migrate_schema(database_url)
    ours, theirs = pty.openpty()
    async with writer(database_url) as one, counting(database_url), dashboard(database_url) as running:
        await one.commit([_sample()])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", "watch", "--url", running.http, "--kpi", "feedback_received"),
            cwd=ROOT,
            stdout=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "140", "LINES": "40"},
        )
        os.close(theirs)
        try:
            drawn = b""
            async with asyncio.timeout(60):
                while b"live by socket" not in drawn:
                    drawn += await asyncio.to_thread(os.read, ours, 65_536)
        finally:
            process.kill()
            await process.wait()
            os.close(ours)
    assert b"Reports received" in drawn
    assert b"Test province" in drawn


def _picture(shown: Shown, silent_s: float | None) -> str:
    names = Names(
        {"k": {"names": {"en": "Reports received"}, "unit": "{report}", "freshness_s": 600}},
        {"01": {"names": {"en": "Ward One"}, "zone": "Asia/Ho_Chi_Minh"}},
    )
    client = LiveClient("http://127.0.0.1:1", {})
    client.line, client.position = Line.SOCKET, "1-5"
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(board(shown, names, client, NOW, silent_s))
    return console.export_text()


def test_the_picture_has_values_with_unit_time_and_freshness() -> None:
    shown = Shown(points=1)
    minute_s = int(NOW.timestamp()) - 120
    series = {"kpi": "k", "area": "01", "last_minute": minute_s, "points": [{"bucket": minute_s, "value": 1234.5}]}
    case = {
        "id": "c",
        "version": 1,
        "severity": "major",
        "state": "new",
        "title": "[bold]Cháy",
        "area": "01",
        "due_at": "2026-03-29T11:00:00Z",
        "category": "fire",
    }
    shown.apply({"op": "snapshot", "series": [series], "events": [], "sources": [], "cases": [case]})
    text = _picture(shown, 0.5)
    for words in (
        "Reports received",
        "Ward One",
        "1,234.5",
        " report ",
        "18:58 +07",
        "2 min",
        "[bold]Cháy",
        "1 h late",
    ):
        assert words in text
    assert "live by socket, position 1-5" in text
    assert "STALE: nothing heard for 5 s" in _picture(shown, 5.0)
    assert "connecting" in _picture(shown, None)
    shown.apply({"op": "status", "database": {"state": "away", "since": "2026-03-29T11:59:00Z"}})
    assert "AWAY" in _picture(shown, 0.5)


def test_of_two_values_for_one_bucket_the_newer_holds_and_old_buckets_go() -> None:
    shown = Shown(points=2)

    def change(bucket: int, value: float, version: int) -> None:
        one = {"kpi": "k", "area": "a", "bucket": bucket, "value": value, "version": version, "last_minute": bucket}
        shown.apply({"op": "change", "values": [one], "events": [], "sources": []})

    change(60, 1.0, 5)
    change(60, 2.0, 4)
    change(120, 3.0, 5)
    change(180, 4.0, 5)
    assert {bucket: point["value"] for bucket, point in shown.values["k", "a"].items()} == {120: 3.0, 180: 4.0}
    assert shown.last_minutes["k", "a"] == 180


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.9, "59 s"), (61, "1 min"), (7300, "2 h"), (2e5, "2 d")]
)
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert age(seconds) == words
