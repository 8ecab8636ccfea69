"""What do people see while the database is away, and is anything missing when it is back?"""

import asyncio
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.local.errors import OperatorError
from deploy.local.postgres import LocalPostgres
from deploy.migrate import migrate_schema
from tests.conftest import ROOT, unavailable
from tests.dashboard.centre import IMPATIENT, WAIT_S, Report, Running, Sample, dashboard, hear, say, writer


@pytest.fixture
def postgres(cache_dir: Path) -> Iterator[LocalPostgres]:
    """A server of this test's own, to be hurt."""
    folder = ROOT / ".ioc" / "test" / uuid.uuid4().hex[:12]
    server = LocalPostgres(folder / "postgres", cache_dir)
    try:
        try:
            server.start()
        except OperatorError as error:
            unavailable(str(error))
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


async def status(running: Running, path: str) -> tuple[int, float]:
    """A request's status, and how many seconds it took."""
    started_s = time.monotonic()
    async with httpx.AsyncClient(base_url=running.http, trust_env=False, timeout=20) as client:
        answer = await client.get(path)
    if answer.status_code == 503 and path != "/readyz":
        assert int(answer.headers["retry-after"]) > 0
    return answer.status_code, time.monotonic() - started_s


async def until_ready(running: Running) -> None:
    """Waits for the database to be up, as the dashboard sees it."""
    async with asyncio.timeout(WAIT_S):
        while (await status(running, "/readyz"))[0] != 200:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_restart_is_told_and_nothing_is_missed(postgres: LocalPostgres, how: str) -> None:
    await migrate_schema(postgres.address)
    now_s = int(time.time())
    async with dashboard(postgres.address, **IMPATIENT) as running, running.live() as client:
        await until_ready(running)
        async with writer(postgres.address) as stream:
            await stream.commit([Sample(kpi="feedback_received", area="01", time_s=now_s)])
            await say(client, op="subscribe", tier="day", points=1)
            await hear(client, "snapshot")
            await stream.commit(reports=[Report(id="before", area="01")])
            await hear(client, "change")
        await asyncio.to_thread(getattr(postgres, how))
        away = await hear(client, "status")
        assert away["database"]["state"] == "away"
        assert away["database"]["since"]
        code, took_s = await status(running, "/v1/events")
        assert code == 503
        assert took_s < 5
        assert (await hear(client, "heartbeat"))["feed"]["state"] == "away"

        await asyncio.to_thread(postgres.start)
        async with writer(postgres.address) as stream:
            await stream.commit(
                [Sample(kpi="feedback_received", area="01", time_s=now_s)], [Report(id="meanwhile", area="01")]
            )
        seen: list[str] = []
        while "meanwhile" not in seen:
            message = await hear(client, "change", "snapshot")
            assert message["op"] == "change", "nothing was missed, so no snapshot is needed"
            seen += [event["event"]["id"] for event in message["events"]]
        await until_ready(running)
        assert (await status(running, "/v1/events"))[0] == 200


async def test_a_frozen_database_is_noticed_within_five_seconds(postgres: LocalPostgres) -> None:
    await migrate_schema(postgres.address)
    async with dashboard(postgres.address, **IMPATIENT) as running, running.live() as client:
        await until_ready(running)
        await say(client, op="subscribe", points=1)
        await hear(client, "snapshot")
        postgres.pause()
        try:
            code, took_s = await status(running, "/v1/sources")
            assert code == 503
            assert took_s < 5
            assert (await hear(client, "status"))["database"]["detail"] == "no answer in time"
        finally:
            postgres.resume()
        await until_ready(running)
        assert (await status(running, "/v1/sources"))[0] == 200


async def test_the_dashboard_may_start_before_the_database(postgres: LocalPostgres) -> None:
    await migrate_schema(postgres.address)
    await asyncio.to_thread(postgres.stop)
    async with dashboard(postgres.address, **IMPATIENT) as running, running.live() as client:
        assert (await hear(client, "status"))["database"]["state"] == "away"
        await say(client, op="subscribe", points=1)
        await asyncio.to_thread(postgres.start)
        assert (await hear(client, "snapshot"))["position"]


async def test_a_database_without_tables_is_away_and_says_what_to_do(database_url: str) -> None:
    async with dashboard(database_url, **IMPATIENT) as running, running.live() as client:
        # A client that comes before the first attempt is told first that there was none yet.
        details = [(await hear(client, "status"))["database"]["detail"]]
        if details == ["not connected yet"]:
            details.append((await hear(client, "status"))["database"]["detail"])
        assert details[-1] == "the tables are missing: run `ioc migrate`"
        await say(client, op="subscribe", points=1)
        await migrate_schema(database_url)
        assert (await hear(client, "snapshot"))["position"]
