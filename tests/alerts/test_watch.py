"""Do workers look at rules while they run, whatever goes wrong with one?"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from streams.alerts import watch
from streams.alerts.watch import watch_alerts
from streams.versions import Version, Versions
from tests.alerts.hall import BEGIN_S, MINUTE_S, Hall, metric, rule, version_of
from tests.alerts.rules import ABOVE_5

WAIT_S = 60.0
NOW_S = BEGIN_S + 2 * MINUTE_S


@asynccontextmanager
async def watching(hall: Hall, version: Version, workers: int = 2) -> AsyncGenerator[None]:
    """Some workers look at rules, and the machine's clock stands at NOW_S."""
    async with hall.writer(version) as writer:
        tasks = [
            asyncio.create_task(watch_alerts(writer, Versions(version), lambda: float(NOW_S))) for _ in range(workers)
        ]
        yield
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(hall: Hall, query: str) -> None:
    """Waits for an answer that is true."""
    deadline_s = time.monotonic() + WAIT_S
    while not await hall.connection.fetchval(query):
        assert time.monotonic() < deadline_s, query
        await asyncio.sleep(0.02)


async def becomes(check: Callable[[], bool]) -> None:
    """Waits until something is so."""
    deadline_s = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.02)


def sample(name: str, **labels: str) -> float:
    """What a metric says."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other at once."""
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(watch, "TEND_EVERY_S", 0.1)


async def test_what_is_due_is_looked_at_and_told_once(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5) + rule(ABOVE_5, id_="other"))
    await hall.begin(version, BEGIN_S)
    fired = sample("ioc_streams_alert_verdicts_total", verdict="fire")
    await hall.count(version, [metric(BEGIN_S + 30, 6.0), metric(BEGIN_S + 90, 6.0)], NOW_S)
    async with watching(hall, version):
        await until(hall, f"SELECT count(*) = 2 FROM alert_rule WHERE looked_until = to_timestamp({NOW_S})")
        await becomes(lambda: sample("ioc_streams_alerts_open", rule="slow") == 1)
    assert await hall.connection.fetchval("SELECT count(*) FROM outbox") == 2
    assert sample("ioc_streams_alert_verdicts_total", verdict="fire") == fired + 2
    assert sample("ioc_streams_alert_series_firing", rule="other") == 1
    assert sample("ioc_streams_alert_age_seconds", rule="slow") == 0


async def test_what_goes_wrong_with_one_rule_keeps_no_other_from_being_looked_at(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5) + rule(ABOVE_5, id_="other"))
    await hall.begin(version, BEGIN_S)
    await hall.connection.execute("INSERT INTO alert_series VALUES ('slow', '00', 'web', 'firing', 'no json')")
    failed = sample("ioc_streams_alert_looks_failed_total")
    await hall.count(version, [metric(BEGIN_S + 30, 6.0)], NOW_S)
    async with watching(hall, version, workers=1):
        await until(hall, f"SELECT looked_until = to_timestamp({NOW_S}) FROM alert_rule WHERE rule = 'other'")
        await becomes(lambda: sample("ioc_streams_alert_looks_failed_total") > failed)
    assert {one.data.rule for one in await hall.told()} == {"other"}
