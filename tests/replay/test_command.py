"""Does `ioc replay` keep its word as a process: killed, interrupted, mistyped?"""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import typer

from deploy.local.ports import free_port
from deploy.replay.command import replay_command
from schemas.errors import IocError
from tests.replay.cases import write_cases
from tests.replay.recorder import OK, STALL, UNAVAILABLE, recording

ROOT = Path(__file__).parents[2]
PROGRAM = "import typer; from deploy.replay.command import replay_command as c; typer.run(c)"


@asynccontextmanager
async def command(folder: Path, *arguments: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`ioc replay` as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        *arguments,
        env={"IOC_DATA": str(folder / "data"), "PYTHONPATH": str(ROOT), **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_killed_process_is_gone_on_with(tmp_path: Path) -> None:
    file = write_cases(tmp_path, 4000)
    arguments = (str(file), "--speed", "max", "--shift")
    async with recording([OK] * 8 + [STALL]) as centre:
        arguments = (*arguments, "--url", centre.url)
        async with command(tmp_path, *arguments) as process:
            await centre.until_requests(12)
            process.kill()
            await process.wait()
        async with command(tmp_path, *arguments) as process:
            output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        assert b"going on after 4000 events" in output
        assert b"8000 events taken, 0 rejected, 0 rows without an event." in output
        assert len(set(centre.ids)) == 8000
        assert all(len(ids) == 2 and "received" in ids[0] for ids in centre.by_case().values())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_signal_ends_it_quietly(tmp_path: Path, number: signal.Signals) -> None:
    file = write_cases(tmp_path, 10)
    async with recording([STALL]) as centre, command(tmp_path, str(file), "--url", centre.url) as process:
        await centre.until_requests(1)
        process.send_signal(number)
        output, _ = await process.communicate()
        assert process.returncode == 130
        assert output.decode().splitlines() == [
            "cases.ndjson: 0 of 20 events",
            "cases.ndjson: stopped. The same command goes on from here.",
        ]


async def test_the_demo_says_how_it_goes_and_finds_the_centre_by_its_address(tmp_path: Path) -> None:
    port = str(free_port())
    async with (
        recording([UNAVAILABLE]) as centre,
        command(tmp_path, "--demo", IOC_URL=centre.url, IOC_METRICS_PORT=port) as process,
    ):
        await centre.until_requests(12)
        async with httpx.AsyncClient(trust_env=False) as client:
            told = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        process.terminate()
        await process.wait()
    lines = [line.rpartition(" ") for line in told.splitlines() if line.startswith("ioc_feed_")]
    values = {name: float(value) for name, _, value in lines}
    feeds = {name for name in values if name.startswith("ioc_feed_events_sent_total{")}
    assert 'ioc_feed_events_sent_total{feed="cameras"}' in feeds
    assert len(feeds) > 1
    assert sum(value for name, value in values.items() if name.startswith("ioc_feed_retries_total{")) >= 1
    sent, accepted = (
        sum(value for name, value in values.items() if name.startswith(f"ioc_feed_events_{what}_total{{"))
        for what in ("sent", "accepted")
    )
    assert 0 < accepted < sent


async def test_a_metrics_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with command(tmp_path, "--demo", IOC_URL="http://127.0.0.1:1", IOC_METRICS_PORT=port) as process:
            output, _ = await process.communicate()
    assert process.returncode != 0
    assert f"IOC_METRICS_PORT={port}: that port cannot be listened on" in output.decode()


async def test_rejections_are_told_by_the_exit_code(tmp_path: Path) -> None:
    file = write_cases(tmp_path, 10)
    async with (
        recording(refuse={"3/closed"}) as centre,
        command(tmp_path, str(file), "--url", centre.url, "--speed", "max", "--keep") as process,
    ):
        output, _ = await process.communicate()
        assert process.returncode == 1
        assert b"19 events taken, 1 rejected" in output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param([], "one thing at a time", id="nothing to play"),
        pytest.param(["a.ndjson", "--demo"], "one thing at a time", id="two things to play"),
        pytest.param(["a.ndjson"], "No centre runs on", id="no centre"),
        pytest.param(["a.ndjson", "--url", "localhost"], "is not an address", id="no address"),
        pytest.param(["absent.ndjson", "--url", "http://127.0.0.1:1"], "No such file", id="no file"),
        pytest.param(["a.ndjson", "--url", "http://127.0.0.1:1", "--speed", "0"], "is not a speed", id="speed"),
        pytest.param(["a.ndjson", "--url", "http://127.0.0.1:1", "--speed", "nan"], "is not a speed", id="nan"),
        pytest.param(["a.ndjson", "--url", "http://127.0.0.1:1", "--lead", "3"], "not a length", id="lead"),
        pytest.param(["a.ndjson", "--url", "http://127.0.0.1:1", "--lead", "999d"], "too long", id="long lead"),
        pytest.param(
            ["a.ndjson", "--url", "http://127.0.0.1:1", "--lead", "3h", "--speed", "max"],
            "says nothing",
            id="lead at max",
        ),
        pytest.param(["a.ndjson", "--as", "x", "--url", "http://127.0.0.1:1"], "no mapping 'x'", id="mapping"),
        pytest.param(["a.ndjson", "--site", "/nowhere", "--url", "http://127.0.0.1:1"], "site.toml", id="site"),
    ],
)
def test_mistakes_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IOC_DATA", str(tmp_path / "data"))
    write_cases(tmp_path, 1).rename(tmp_path / "a.ndjson")
    app = typer.Typer()
    app.command()(replay_command)
    with pytest.raises(IocError, match=reason) as caught:
        app(arguments, standalone_mode=False)
    assert "\n" not in str(caught.value)
