"""Are dead letters counted, once, when the centre can read them?"""

import subprocess
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from deploy.local import ports
from deploy.redrive import Options, Outcome, redrive
from schemas import codec
from schemas.site import Pack
from schemas.topics import CASES
from streams.repair.history import log_reader
from streams.repair.letters import read_letters
from tests.repair.hall import Hall, opened
from tests.streams.world import PACK, raw

WAIT_S = 60.0
RECEIVED = "ioc.feedback.received.v1"
WITHOUT: Pack = dict(PACK) | {"areas.csv": PACK["areas.csv"].replace(",0102,01,commune,Xã Hai,Commune Two,\n", "")}


@pytest.fixture
async def hall(kafka: str, database_url: str, topic_prefix: str) -> AsyncIterator[Hall]:
    """A centre that does not know of an area yet, with letters about it, and about one that never was."""
    async with opened(kafka, database_url, topic_prefix, WITHOUT) as hall:
        await hall.send([report("1", "0101"), *(report(str(number), "0102") for number in range(2, 6))])
        await hall.send([report("6", "nowhere")])
        await hall._producer.send_and_wait(hall.prefix + CASES.name, b"\xff no event", partition=0)
        await hall.count()
        yield hall


@pytest.fixture
def address(hall: Hall, tmp_path: Path) -> Any:
    """The real gateway of a centre that knows the area, in a process of its own."""
    folder = tmp_path / "site"
    folder.mkdir()
    for name, text in PACK.items():
        (folder / name).write_text(text)
    port = ports.free_port()
    command = hall.command(tmp_path, IOC_SITE=str(folder))
    command["args"] = [command["args"][0], "-m", "tests.faults.ingest_process", str(port)]
    process = subprocess.Popen(**command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:
            try:
                httpx.get(f"http://{ports.LOOPBACK}:{port}/", trust_env=False)
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                break
        yield f"http://{ports.LOOPBACK}:{port}"
    finally:
        process.kill()
        process.wait()


def report(id_: str, area: str) -> bytes:
    """A citizen's report."""
    return raw(RECEIVED, id=id_, area=area, time=(datetime.now(UTC) - timedelta(hours=1)).isoformat())


async def counted(hall: Hall) -> set[str]:
    """The ids of the events that are kept."""
    return {row["id"] for row in await hall.connection.fetch("SELECT id FROM event")}


async def test_what_can_be_read_now_is_sent_once(hall: Hall, address: str, tmp_path: Path) -> None:
    export = tmp_path / "dead.ndjson"
    # Nothing is known of the area yet.
    outcome = await redrive(hall.places, address, Options(dry_run=True))
    assert outcome == Outcome(0, 6)
    await hall.take_up(PACK)
    assert await redrive(hall.places, address, Options(dry_run=True)) == Outcome(4, 2)
    assert await redrive(hall.places, address, Options(reason="malformed_json")) == Outcome(0, 0)
    assert await redrive(hall.places, address, Options(since=datetime.now(UTC))) == Outcome(0, 0)
    assert await redrive(hall.places, address, Options(export=export)) == Outcome(4, 2)
    await hall.count()
    assert await counted(hall) == {"1", "2", "3", "4", "5"}
    held = {key: held[0] for key, held in (await hall.values()).items() if key[:3] == ("day", "received", "00")}
    assert sum(held.values()) == 5

    # The centre has them, but nobody noted it: they come again, with their own ids.
    await hall.connection.execute("DELETE FROM redriven")
    assert await redrive(hall.places, address, Options()) == Outcome(4, 2)
    await hall.count()
    now = await hall.values()
    assert held == {key: now[key][0] for key in held}
    assert await redrive(hall.places, address, Options()) == Outcome(0, 2)

    # Those that were exported are put right, or given up.
    lines = [msgspec.json.decode(line) for line in export.read_bytes().splitlines()]
    assert {(line["dead"]["reason"], line["dead"]["detail"].split(":")[0]) for line in lines} == {
        ("unknown_area", "area"),
        ("invalid_utf8", "$"),
    }
    right = next(line for line in lines if "event" in line)
    assert right["event"] == msgspec.json.decode(report("6", "nowhere")) | {"time": right["event"]["time"]}
    assert "no event" in next(line["text"] for line in lines if "text" in line)
    right["event"]["area"] = "0202"
    export.write_bytes(b"\n".join(msgspec.json.encode(line) for line in lines))
    assert await redrive(hall.places, address, Options(file=export)) == Outcome(1, 1)
    total = await hall.count()
    assert total
    assert await counted(hall) == {"1", "2", "3", "4", "5", "6"}
    # The file is given a second time: what it has sent stays sent, and what cannot be read is still named.
    assert await redrive(hall.places, address, Options(file=export)) == Outcome(0, 1)
    assert await hall.count() == 0
    assert await redrive(hall.places, address, Options()) == Outcome(0, 1)


async def test_a_command_goes_back_as_who_gave_it(hall: Hall, address: str, tmp_path: Path) -> None:
    command = raw(
        "ioc.case.command.v1",
        id="c-1",
        source="person:hoa",
        subject="mfrggzdfmztwq2lk",
        area="0102",
        data={"do": {"action": "accept"}, "actor": {"id": "hoa", "roles": ["operator"]}},
    )
    await hall.send([command])
    await hall.count()
    assert "c-1" not in await counted(hall)
    await hall.take_up(PACK)
    export = tmp_path / "dead.ndjson"
    # Of a file nobody knows who wrote it.
    export.write_bytes(
        msgspec.json.encode({"dead": {"partition": 9, "offset": 9}, "event": msgspec.Raw(command)}) + b"\n"
    )
    assert (await redrive(hall.places, address, Options(file=export))).sent == 0
    assert await redrive(hall.places, address, Options()) == Outcome(5, 2)
    await hall.count()
    assert await counted(hall) == {"1", "2", "3", "4", "5", "c-1"}
    row = await hall.connection.fetchrow("SELECT body FROM event WHERE source = 'person:hoa' AND id = 'c-1'")
    assert row is not None
    assert row["body"] == command
    assert (await redrive(hall.places, address, Options())).sent == 0


async def test_a_letter_that_was_cut_is_read_where_it_stood(hall: Hall) -> None:
    # A topic takes records of 2 MB, a letter keeps half of that.
    long = codec.seal(msgspec.json.encode({"id": "long", "text": "x" * 1_200_000}), datetime.now(UTC), None)
    await hall._producer.send_and_wait(hall.prefix + CASES.name, long, partition=0)
    await hall.count()
    async with log_reader(hall.kafka) as log:
        [[letter]] = await read_letters(hall.connection, log, hall.prefix, None, "too_large")
    assert letter.is_whole
    assert letter.value == long
