"""Which real services do the tests share?

One Kafka and one PostgreSQL, started when the first test asks and removed at the end.
"""

import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec
import pytest

from deploy.local.errors import OperatorError
from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from deploy.settings import Settings

ROOT = Path(__file__).parent.parent


class Services(msgspec.Struct, frozen=True):
    """The addresses of the shared services."""

    kafka: str
    database_url: str


def unavailable(reason: str) -> None:
    """Skips loudly on a person's machine; on CI a test that cannot run has failed."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """Where the downloaded programs are, shared with `ioc up`."""
    return Settings.from_env(os.environ).cache_dir


@pytest.fixture(scope="session")
def services(cache_dir: Path) -> Iterator[Services]:
    """Kafka and PostgreSQL for the whole run. Tests that hurt a service start their own."""
    settings = Settings.from_env(os.environ)
    folder = ROOT / ".ioc" / "test" / uuid.uuid4().hex[:12]
    kafka = None if settings.kafka else LocalKafka(folder / "kafka", cache_dir)
    postgres = None if settings.database_url else LocalPostgres(folder / "postgres", cache_dir)
    try:
        try:
            # Both start at once; each takes a second or two.
            for service in (kafka, postgres):
                if service is not None:
                    service.launch()
            for service in (kafka, postgres):
                if service is not None:
                    service.wait_ready()
        except OperatorError as error:
            unavailable(str(error))
        yield Services(
            kafka=settings.kafka or (kafka.address if kafka else ""),
            database_url=settings.database_url or (postgres.address if postgres else ""),
        )
    finally:
        for service in (postgres, kafka):
            if service is not None:
                service.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def kafka(services: Services) -> str:
    """The bootstrap servers of the shared broker; put `topic_prefix` before every name on it."""
    return services.kafka


@pytest.fixture
def topic_prefix() -> str:
    """A string of this test's own, so that tests on one broker do not meet."""
    return f"t{uuid.uuid4().hex[:10]}."


@pytest.fixture
async def database_url(services: Services) -> AsyncIterator[str]:
    """A fresh database with the timescaledb extension, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = await asyncpg.connect(services.database_url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        url = urlunsplit(urlsplit(services.database_url)._replace(path=f"/{name}"))
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        await connection.close()
        yield url
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    finally:
        await admin.close()
