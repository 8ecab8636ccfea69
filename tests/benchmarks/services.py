"""On what do the benchmarks run?

On a Kafka and a TimescaleDB of their own, in a folder that is removed afterwards.
"""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from deploy.settings import Settings


class Services(Struct, frozen=True, kw_only=True):
    """Where Kafka and the database are, and where a benchmark may write."""

    kafka: str
    database_url: str
    folder: Path


@contextmanager
def services(settings: Settings) -> Iterator[Services]:
    """Starts both, and removes everything at the end."""
    folder = settings.data_dir / "bench" / uuid.uuid4().hex[:8]
    kafka = LocalKafka(folder / "kafka", settings.cache_dir)
    postgres = LocalPostgres(folder / "postgres", settings.cache_dir)
    try:
        for service in (kafka, postgres):
            service.launch()
        for service in (kafka, postgres):
            service.wait_ready()
        yield Services(kafka=kafka.address, database_url=postgres.address, folder=folder)
    finally:
        for service in (postgres, kafka):
            service.kill()
        shutil.rmtree(folder, ignore_errors=True)
