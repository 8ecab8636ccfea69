"""What do the dashboard's tests with a real database start from?"""

import pytest

from deploy.migrate import migrate_schema


@pytest.fixture
async def tables(database_url: str) -> str:
    """The address of a fresh database with all tables, and nothing in them."""
    await migrate_schema(database_url)
    return database_url
