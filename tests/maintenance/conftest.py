"""Which database do the tests of the upkeep use, and who counts into it?"""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy.migrate import migrate_schema
from tests.maintenance.tables import Tables


@pytest.fixture
async def tables(database_url: str) -> AsyncIterator[Tables]:
    """Our tables, all timers due, and a connection to look behind them."""
    await migrate_schema(database_url)
    connection = await asyncpg.connect(database_url)
    try:
        yield Tables(database_url, connection)
    finally:
        await connection.close()
