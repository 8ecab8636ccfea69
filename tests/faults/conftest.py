"""Which services do fault tests hurt? One broker and one database server of their own, healed before each test."""

import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.local.errors import OperatorError
from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from tests.conftest import ROOT, unavailable
from tests.faults.centre import HurtCentre, Services


@pytest.fixture(scope="session")
def hurt_services(cache_dir: Path) -> Iterator[Services]:
    """Apart from the shared ones, which other tests need whole."""
    folder = ROOT / ".ioc" / "test" / uuid.uuid4().hex[:12]
    services = Services(LocalKafka(folder / "kafka", cache_dir), LocalPostgres(folder / "postgres", cache_dir))
    try:
        try:
            services.heal()
        except OperatorError as error:
            unavailable(str(error))
        yield services
    finally:
        services.postgres.kill()
        services.kafka.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def centre(hurt_services: Services, tmp_path: Path) -> AsyncIterator[HurtCentre]:
    """Topics and a database of the test's own; its workers are killed at the end."""
    hurt_services.heal()
    centre = HurtCentre(hurt_services, f"f{uuid.uuid4().hex[:8]}", tmp_path)
    try:
        await centre.create()
        yield centre
    finally:
        centre.end()
