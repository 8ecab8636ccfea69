"""Does the database at an address carry TimescaleDB? Nothing of ours works on a plain PostgreSQL."""

from typing import Any, cast
from urllib.parse import urlsplit

import asyncpg

from deploy.local.errors import OperatorError

CONNECT_TIMEOUT_S = 10


class DatabaseError(OperatorError):
    """The database cannot be reached, or is not the kind that the centre needs."""


async def require_timescaledb(database_url: str, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
    """Returns when the server can carry the timescaledb extension. Raises DatabaseError."""
    place = without_password(database_url)
    try:
        # asyncpg ships no types.
        connection = cast(Any, await asyncpg.connect(database_url, timeout=timeout_s))  # pyright: ignore
    except (OSError, TimeoutError) as error:
        raise DatabaseError(
            f"No PostgreSQL answers at {place} ({_reason(error)}).", "Start it, or correct IOC_DATABASE_URL."
        ) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise DatabaseError(
            f"PostgreSQL at {place} lets nobody in with this address ({_reason(error)}).",
            "Correct the user, password and database in IOC_DATABASE_URL.",
        ) from error
    try:
        available = await connection.fetchval(
            "SELECT true FROM pg_available_extensions WHERE name = 'timescaledb'", timeout=timeout_s
        )
        # Without the library preloaded, CREATE EXTENSION fails.
        preloaded = await connection.fetchval(
            "SELECT position('timescaledb' IN current_setting('shared_preload_libraries', true)) > 0",
            timeout=timeout_s,
        )
        if not available:
            raise DatabaseError(
                f"The PostgreSQL at {place} has no TimescaleDB.",
                "Install it there, or use the image in deploy/compose/compose.yaml.",
            )
        # A role without the right to read the setting gets NULL, which proves nothing.
        if preloaded is False:
            raise DatabaseError(
                f"The PostgreSQL at {place} does not load TimescaleDB.",
                "Put shared_preload_libraries = 'timescaledb' into its postgresql.conf and restart it.",
            )
    finally:
        await connection.close()


def without_password(database_url: str) -> str:
    """Host, port and database only: what may be shown and logged."""
    try:
        parts = urlsplit(database_url)
        return f"{parts.hostname}:{parts.port or 5432}{parts.path}"
    except ValueError:
        return "the address in IOC_DATABASE_URL"


def _reason(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
