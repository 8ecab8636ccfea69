"""Which site packs have counted, and which one counts now?"""

import asyncpg

from schemas.errors import DependencyUnavailable
from schemas.kpi_table import KPIS_FILE, parse_kpis
from schemas.site import Pack
from schemas.sketch_kind import check_kinds
from streams.store.cells import SQL, Connection
from streams.store.indicators import keep_indicators
from streams.versions import RegisteredPack, decoded, digest, encoded

CONNECT_TIMEOUT_S = 5.0


async def read_site(connection: Connection, number: int) -> RegisteredPack:
    """One registered pack."""
    row = await connection.fetchrow(SQL["read_site"], number)
    assert row is not None, f"site version {number} counts, so it was registered"
    return RegisteredPack(row["version"], decoded(row["pack"]))


async def newest_site(connection: Connection) -> RegisteredPack | None:
    """The newest registered pack; None when there is none yet."""
    row = await connection.fetchrow(SQL["latest_site"])
    return None if row is None else RegisteredPack(row["version"], decoded(row["pack"]))


async def register_site(connection: Connection, pack: Pack) -> int:
    """Registers a pack as the newest version, unless it is that already. Returns its number.

    Raises SiteError where what was stored by an earlier version could not be added to by this one.
    """
    number: int | None = None
    async with connection.transaction():
        while number is None:  # of two that register at once, one looks again
            number = await connection.fetchval(SQL["register_site"], digest(pack), encoded(pack))
        # Numbers are given one after the other, so who has one sees all that came before it.
        past = await connection.fetch(SQL["read_catalogues"], KPIS_FILE)
        check_kinds(parse_kpis(pack[KPIS_FILE]), [row["kpis"] for row in past])
    await keep_indicators(connection, number, pack)
    return number


async def begin(database_url: str, pack: Pack) -> RegisteredPack:
    """The pack that a worker begins with: the newest, or its own when there is none. Raises DependencyUnavailable."""
    try:
        connection = await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT_S, command_timeout=CONNECT_TIMEOUT_S)
        try:
            newest = await newest_site(connection)
            return newest or RegisteredPack(await register_site(connection, pack), pack)
        finally:
            connection.terminate()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DependencyUnavailable("database", f"{type(error).__name__}: {error}") from error
