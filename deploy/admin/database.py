"""How does the administrator's page ask the database? By a connection of its own, and with a bounded wait."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import asyncpg

from schemas.errors import DependencyUnavailable
from schemas.statements import parse_statements
from streams.repair.history import Connection

WAIT_S = 5.0
"""For connecting, and for each statement; then the database counts as away."""

SQL = parse_statements((files("deploy.admin") / "admin.sql").read_text())


@asynccontextmanager
async def reading(database_url: str) -> AsyncGenerator[Connection]:
    """A connection. Raises DependencyUnavailable."""
    try:
        connection: Connection = await asyncpg.connect(database_url, timeout=WAIT_S, command_timeout=WAIT_S)
        try:
            yield connection
        finally:
            connection.terminate()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DependencyUnavailable("database", f"{type(error).__name__}: {error}") from error


async def fetch(database_url: str, statement: str, *values: object) -> list[Any]:
    """The rows of one statement of admin.sql. Raises DependencyUnavailable."""
    async with reading(database_url) as connection:
        return await connection.fetch(SQL[statement], *values)
