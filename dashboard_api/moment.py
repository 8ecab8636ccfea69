"""At which moment of the database is a question answered?

An answer that takes several statements is still of one moment, and says of which.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from dashboard_api.answers import read_horizon
from dashboard_api.config import DashboardConfig
from dashboard_api.database import Database, Reader


class Moment(NamedTuple):
    """One moment of the database, and how it is read."""

    reader: Reader
    position: str
    as_of: datetime


@asynccontextmanager
async def one_moment(config: DashboardConfig, database: Database, query: str) -> AsyncGenerator[Moment]:
    """Reads at one moment, for the query that the metrics call so. Raises DependencyUnavailable."""
    async with database.reading(query) as reader, reader.transaction(isolation="repeatable_read", readonly=True):
        as_of = config.now().astimezone(UTC)
        # The first statement fixes the moment that all others see.
        yield Moment(reader, str(await read_horizon(reader)), as_of)
