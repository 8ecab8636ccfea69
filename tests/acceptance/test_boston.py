"""Does the whole centre come to the verdicts that the city of Boston came to itself?

Half a year of the city's own reports goes the whole way: `ioc replay` → ingest → Kafka → a stream worker →
TimescaleDB → the dashboard's REST API. The city has labelled its closed cases ONTIME or OVERDUE.
"""

import asyncio
import csv
import gzip
import socket
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import polars as pl
import pytest
import uvicorn

from dashboard_api.app import SERVER_OPTIONS, create_app
from dashboard_api.config import DashboardConfig
from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from deploy.replay.recorded_file import load_mappings
from ingest.decode.recording import AreaLookup
from schemas.window import TIERS
from tests.conftest import ROOT, unavailable
from tests.faults.centre import SITE, SITE_FOLDER, Centre, Services, until

FILE = ROOT.parent / "shared" / "data" / "citizen311" / "boston_311_2011H2_sla.csv.gz"

ROWS = 58_251
LABELLED = 43_664
UNLABELLED = 157

REPLAY_WITHIN_S = 200
KPI = "feedback.closed_on_time"

Verdicts = Counter[tuple[str, bool]]
"""Cases by department, in time or not."""


@pytest.fixture(scope="module")
def cases() -> dict[str, dict[str, str]]:
    """The city's rows by case id."""
    if not FILE.exists():
        unavailable(f"The recording {FILE} is not on this machine.")
    with gzip.open(FILE, "rt", newline="") as text:
        rows = {row["case_enquiry_id"]: row for row in csv.DictReader(text)}
    assert len(rows) == ROWS
    return rows


@pytest.fixture
async def centre(cases: dict[str, dict[str, str]], cache_dir: Path, tmp_path: Path) -> AsyncIterator[Centre]:
    """A whole centre of its own."""
    del cases  # without them there is nothing to start for
    services = Services(LocalKafka(tmp_path / "kafka", cache_dir), LocalPostgres(tmp_path / "postgres", cache_dir))
    centre = Centre(services, f"boston{uuid.uuid4().hex[:8]}", tmp_path)
    try:
        services.heal()
        await centre.create()
        yield centre
    finally:
        centre.end()
        services.kafka.kill()
        services.postgres.kill()


@asynccontextmanager
async def dashboard(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The REST API behind a real socket."""
    app = create_app(DashboardConfig(database_url=database_url, current_site=lambda: SITE, now=lambda: datetime.now(UTC)))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", **SERVER_OPTIONS))
    listener = socket.create_server(("127.0.0.1", 0))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            async with asyncio.timeout(30):
                # uvicorn has no event to wait for.
                while not server.started:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            yield client
    finally:
        server.should_exit = True
        await running
        listener.close()


async def replay(centre: Centre, address: str) -> str:
    """`ioc replay FILE --keep --speed max`, as a person would. Returns what it says."""

    def run() -> "subprocess.CompletedProcess[str]":
        environ = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "IOC_SITE": str(SITE_FOLDER),
            "IOC_DATA": str(centre.folder / "replay"),
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            [
                *(sys.executable, "-m", "deploy.cli", "replay", str(FILE)),
                *("--keep", "--speed", "max", "--url", address, "--restart"),
            ],
            env=environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=REPLAY_WITHIN_S,
            check=False,
        )

    done = await asyncio.to_thread(run)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


async def test_half_a_year_of_boston(centre: Centre, cases: dict[str, dict[str, str]]) -> None:
    with centre.ingest() as address:
        await ready(centre, address)
        worker = centre.start_worker(0)
        closed = sum(bool(row["closed_dt"]) for row in cases.values())
        said = await replay(centre, address)
        assert f"{ROWS + closed} events taken, 0 rejected" in said
        await until(centre._caught_up, "everything is counted", centre)
        state = await tables(centre)
        assert state["events"] == ROWS + closed

        await every_case_as_the_city_judged_it(centre, cases)
        await departments_as_the_city_counted_them(centre, cases)
        await neighbourhoods_as_polars_counts_them(centre)
        await tiers_agree(centre)

        # The same file once more: known for ever, so nothing moves.
        await replay(centre, address)
        await until(centre._caught_up, "everything is passed", centre)
        assert await tables(centre) == state
        assert worker.exit_code() is None


async def ready(centre: Centre, address: str) -> None:
    """Waits until the gateway takes events."""

    async def is_ready() -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"{address}/readyz")).status_code == 200
            except httpx.TransportError:
                return False

    await until(is_ready, "the gateway is ready", centre)


def city_verdicts(cases: dict[str, dict[str, str]]) -> tuple[Verdicts, Verdicts]:
    """The city's own labels of closed cases that had a target; and for those that it left blank, closed > target."""
    labelled: Verdicts = Counter()
    blank: Verdicts = Counter()
    for row in cases.values():
        if not row["closed_dt"] or not row["target_dt"]:
            continue
        if row["ontime"]:
            labelled[row["department"], row["ontime"] == "ONTIME"] += 1
        else:
            # Both are local times, an hour of a changed clock apart at the worst, and none of these is that near.
            blank[row["department"], row["closed_dt"] <= row["target_dt"]] += 1
    assert (labelled.total(), blank.total()) == (LABELLED, UNLABELLED)
    return labelled, blank


async def every_case_as_the_city_judged_it(centre: Centre, cases: dict[str, dict[str, str]]) -> None:
    """Case by case, from the bodies that the event table keeps."""
    async with centre.connected() as connection:
        rows = await connection.fetch(
            "SELECT subject, time, body FROM event WHERE type = 'ioc.feedback.closed.v1' ORDER BY subject"
        )
    judged: Verdicts = Counter()
    wrong: list[str] = []
    for row in rows:
        data: dict[str, Any] = msgspec.json.decode(row["body"])["data"]
        label = cases[row["subject"]]["ontime"]
        if "due_at" not in data or not label:
            continue
        in_time = row["time"] <= datetime.fromisoformat(data["due_at"])
        judged[data["agency"], in_time] += 1
        if in_time != (label == "ONTIME"):
            wrong.append(row["subject"])
    assert wrong == []
    assert judged == city_verdicts(cases)[0]


async def departments_as_the_city_counted_them(centre: Centre, cases: dict[str, dict[str, str]]) -> None:
    """The KPI by department: summed up in the table, and as the dashboard answers."""
    labelled, blank = city_verdicts(cases)
    both = labelled + blank
    expected = {agency: (both[agency, True], both[agency, False]) for agency in {agency for agency, _ in both}}
    async with centre.connected() as connection:
        rows = await connection.fetch(
            """SELECT dim, (sum(total) / 1000000)::bigint AS kept, sum(n)::bigint AS n
               FROM kpi_day WHERE kpi = $1 AND area = 'BOS' GROUP BY dim""",
            KPI,
        )
    assert {row["dim"]: (row["kept"], row["n"] - row["kept"]) for row in rows} == expected

    shown: Verdicts = Counter()
    last_year = max(int(row["closed_dt"][:4]) for row in cases.values() if row["closed_dt"])
    async with dashboard(centre.database_url) as client:
        # An answer holds a bounded number of days, so a year is asked for at a time.
        for year in range(2011, last_year + 1):
            bounds = {"from": f"{year}-01-01T05:00:00Z", "to": f"{year + 1}-01-01T05:00:00Z"}  # New York's midnight
            answer = await client.get(
                f"/v1/kpis/{KPI}/series", params={"area": "BOS", "step": "day", "by": "agency", **bounds}
            )
            assert answer.status_code == 200, answer.text
            for one in answer.json()["series"]:
                for bucket in one["buckets"]:
                    kept = round(bucket.get("numerator", 0))
                    shown[one["dim"], True] += kept
                    shown[one["dim"], False] += bucket["n"] - kept
    assert +shown == both


async def neighbourhoods_as_polars_counts_them(centre: Centre) -> None:
    """Reports received, by area and local day."""
    mapping = load_mappings(SITE_FOLDER, SITE)["boston_311_sla"]
    assert isinstance(mapping.area, AreaLookup)
    codes: dict[str, str] = dict(mapping.area.codes)
    frame = (
        pl.read_csv(gzip.decompress(FILE.read_bytes()), infer_schema=False)
        .with_columns(
            area=pl.col("neighborhood").replace_strict(codes, default=mapping.area.missing),
            day=pl.col("open_dt").str.slice(0, 10),
        )
        .group_by("area", "day")
        .len()
    )
    expected = {(area, day): n for area, day, n in frame.iter_rows()}
    async with centre.connected() as connection:
        rows = await connection.fetch(
            """SELECT area, (bucket AT TIME ZONE 'America/New_York')::text AS day, sum(n)::bigint AS n
               FROM kpi_day WHERE kpi = 'feedback.received' AND area <> 'BOS' GROUP BY 1, 2"""
        )
        city = await connection.fetchval(
            "SELECT sum(n)::bigint FROM kpi_day WHERE kpi = 'feedback.received' AND area = 'BOS'"
        )
    assert all(row["day"].endswith(" 00:00:00") for row in rows)
    assert {(row["area"], row["day"][:10]): row["n"] for row in rows} == expected
    assert city == ROWS


async def tiers_agree(centre: Centre) -> None:
    """Minutes, hours and days hold the same events, by KPI, area and dimension."""
    async with centre.connected() as connection:
        found = [
            {
                tuple(row)
                for row in await connection.fetch(
                    f"SELECT kpi, area, dim, sum(n)::bigint, sum(total) FROM kpi_{tier.value} GROUP BY 1, 2, 3"
                )
            }
            for tier in TIERS
        ]
    assert found[0]
    assert found[0] == found[1] == found[2]


async def tables(centre: Centre) -> dict[str, int]:
    """What a second replay must not change."""
    async with centre.connected() as connection:
        counts = {"events": await connection.fetchval("SELECT count(*) FROM event")}
        for tier in TIERS:
            counts[tier.value] = await connection.fetchval(
                f"SELECT sum(hashtextextended(k::text, 0)) FROM kpi_{tier.value} AS k"
            )
    return counts
