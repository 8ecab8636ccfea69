"""Does a report that comes in over HTTP leave nothing that can be read, once its sender was erased?

The whole way with the real processes: the door, the log, a worker, the tables, and the command line.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from deploy.local.ports import free_port
from deploy.person import person_id
from deploy.personal_keys import key_ring, keys_path
from deploy.settings import Settings
from schemas.errors import OperatorError
from schemas.personal import Personal, Reporter
from schemas.site import parse_site
from streams.store.personal import read_personal
from tests.ingest.gateway import until_ready, written
from tests.ingest.vector import PACK

CALLING_CODE = PACK | {"site.toml": PACK["site.toml"] + 'calling_code = "84"\n'}
SITE = parse_site(CALLING_CODE)
TRACES = ("Nguyễn", "0912 345", "912345678", "Lê Lợi")
IOC = (sys.executable, "-m", "deploy.cli")
WAIT_S = 120.0


class Centre:
    """The processes of a centre on services that are there already."""

    def __init__(self, folder: Path, kafka: str, database_url: str, topic_prefix: str) -> None:
        site = folder / "site"
        site.mkdir()
        for name, text in CALLING_CODE.items():
            (site / name).write_text(text)
        self.folder = folder
        self.port = free_port()
        self.variables = {
            "IOC_DATA": str(folder / "data"),
            "IOC_KAFKA": kafka,
            "IOC_DATABASE_URL": database_url,
            "IOC_TOPIC_PREFIX": topic_prefix,
            "IOC_SITE": str(site),
            "IOC_PORT": str(self.port),
        }
        self.running: list[asyncio.subprocess.Process] = []

    @property
    def settings(self) -> Settings:
        """What its processes are told."""
        return Settings.from_env(self.variables)

    async def start(self, *arguments: str) -> None:
        """Starts a part; what it says is in `log`."""
        with (self.folder / "log").open("ab") as log:
            self.running.append(
                await asyncio.create_subprocess_exec(
                    *IOC, *arguments, env=os.environ | self.variables, stdout=log, stderr=log
                )
            )

    async def ioc(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a command."""
        process = await asyncio.create_subprocess_exec(
            *IOC,
            *arguments,
            env=os.environ | self.variables,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(WAIT_S):
            output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def until_kept(self, who: str) -> str:
        """What `ioc person show` says once a worker has counted what was sent."""
        async with asyncio.timeout(WAIT_S):
            while True:
                code, output = await self.ioc("person", "show", who)
                if code == 0:
                    return output
                await asyncio.sleep(0.2)

    def environments(self) -> str:
        """What its processes were told."""
        return "".join(Path(f"/proc/{process.pid}/environ").read_text() for process in self.running)

    async def stop(self) -> None:
        """Ends what runs."""
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self.running:
            await process.wait()


@pytest.fixture
async def centre(
    tmp_path: Path, kafka: str, database_url: str, topic_prefix: str
) -> AsyncIterator[tuple[Centre, httpx.AsyncClient]]:
    """A centre with a web process and a worker, and a client of it."""
    made = Centre(tmp_path, kafka, database_url, topic_prefix)
    try:
        code, output = await made.ioc("migrate")
        assert code == 0, output
        await made.start("run", "web")
        await made.start("run", "streams")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{made.port}", timeout=30) as client:
            async with asyncio.timeout(WAIT_S):
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        await until_ready(client)
                        break
                    await asyncio.sleep(0.1)
            yield made, client
    finally:
        await made.stop()


async def everything(database_url: str) -> str:
    """What all tables hold, as text."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        )
        texts: list[str] = []
        for table in tables:
            for row in await connection.fetch(f'SELECT * FROM "{table["table_name"]}"'):
                texts += [
                    one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in row.values()
                ]
        return "\n".join(texts)
    finally:
        await connection.close()


async def test_a_person_is_erased(
    centre: tuple[Centre, httpx.AsyncClient], kafka: str, database_url: str, topic_prefix: str
) -> None:
    made, client = centre
    report = {
        "title": "Nguyễn Thị Mai báo",
        "text": "Trước số 12 Lê Lợi đèn không sáng",
        "place": "geo:21.0,105.5",
        "contact": {"name": "Nguyễn Thị Mai", "phone": "0912 345 678"},
    }
    answer = await client.post("/v1/reports", json=report)
    assert answer.status_code == 202, answer.text
    (record,) = await written(kafka, topic_prefix)
    # Somebody without a name, and what both write later.
    nameless = await client.post("/v1/reports", json={name: report[name] for name in ("title", "text", "place")})
    assert nameless.status_code == 202, nameless.text
    for secret, case in ((one.json()["secret"], one.json()["reference"]) for one in (answer, nameless)):
        order = {"id": "reply", "case": case, "do": {"action": "reply", "text": "Ở Lê Lợi, Nguyễn"}}
        replied = await client.post("/v1/commands", json=order, headers={"Tracking-Secret": secret})
        assert replied.status_code == 202, replied.text
    id_ = json.loads(record.value or b"")["id"]
    shown = await made.until_kept("+84912345678")
    assert f"ioc.web {id_}: sealed under the person's key" in shown
    ring = key_ring(made.settings)
    connection = await asyncpg.connect(database_url)
    try:
        mai = Reporter(name="Nguyễn Thị Mai", phone="0912 345 678")
        personal = Personal(reporter=mai, title=report["title"], text=report["text"])
        assert await read_personal(connection, ring, "ioc.web", id_) == personal
        code, output = await made.ioc("person", "erase", "0912.345.678", "--reason", "asked to", "--yes")
        assert (code, output.splitlines()[-1]) == (0, "Erased."), output
        assert await read_personal(connection, ring, "ioc.web", id_) is None
    finally:
        await connection.close()
    code, output = await made.ioc("person", "show", "0912345678")
    assert (code, "erased" in output) == (0, True)
    # Who gave no contact is looked for by the reference; this site keeps no cases.
    code, output = await made.ioc("person", "show", f"case:{nameless.json()['reference']}")
    assert (code != 0, "Nothing is kept of anybody" in output) == (True, True), output
    # Neither tables nor log nor what the processes said and were told hold anything of the person, or of the keys.
    tables = await everything(database_url)
    log = b"".join((record.value or b"") for record in await written(kafka, topic_prefix)).decode()
    said = (made.folder / "log").read_text()
    environments = made.environments()
    for trace in TRACES:
        assert trace not in tables
        assert trace not in log
        assert json.dumps(trace)[1:-1] not in log
        assert trace not in said
    keys = json.loads(keys_path(made.settings).read_text())
    for secret in (keys["index"], *keys["keys"].values(), answer.json()["secret"]):
        assert secret not in tables + log + said + environments
    assert "console:" in tables


async def test_a_new_key_seals_and_the_old_one_still_opens(tmp_path: Path) -> None:
    settings = Settings.from_env({"IOC_DATA": str(tmp_path)})
    before = key_ring(settings)
    process = await asyncio.create_subprocess_exec(
        *IOC, "person", "rotate", env=os.environ | {"IOC_DATA": str(tmp_path)}, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert b"Key 2" in output
    after = key_ring(settings)
    assert after.open(before.seal(b"x", "a"), "a") == b"x"
    assert after.seal(b"x", "a").startswith("2.")
    assert after.token("a", "b") == before.token("a", "b")


@pytest.mark.parametrize(
    ("who", "meant"),
    [
        pytest.param("0912 345 678", Personal(reporter=Reporter(phone="+84912345678")), id="a number"),
        pytest.param("Mai@x.vn", Personal(reporter=Reporter(email="mai@x.vn")), id="an address"),
        pytest.param("zalo:mai", Personal(reporter=Reporter(zalo="Mai")), id="Zalo"),
        pytest.param("plate:30a 123.45", Personal(plate="30A-123.45"), id="a plate"),
    ],
)
def test_who_is_meant(tmp_path: Path, who: str, meant: Personal) -> None:
    ring = key_ring(Settings.from_env({"IOC_DATA": str(tmp_path)}))
    person = ring.person_of(meant, "s", "1", "84")
    assert person_id(ring, SITE, who) == person
    assert person_id(ring, SITE, f"person:{person}") == person_id(ring, SITE, person) == person


def test_who_is_nobody(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no contact"):
        person_id(key_ring(Settings.from_env({"IOC_DATA": str(tmp_path)})), SITE, "Mai")
