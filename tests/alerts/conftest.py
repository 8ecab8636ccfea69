"""Which database do the tests of alert rules use, and who counts into it?"""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy.migrate import migrate_schema
from tests.alerts.hall import Hall


@pytest.fixture
async def hall(database_url: str) -> AsyncIterator[Hall]:
    """Our tables, and a connection to look behind them."""
    await migrate_schema(database_url)
    connection = await asyncpg.connect(database_url)
    try:
        yield Hall(database_url, connection)
    finally:
        await connection.close()
