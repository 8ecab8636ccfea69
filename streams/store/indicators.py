"""What are indicators and areas called, and which sums make an indicator, for whoever reads the tables with SQL?"""

import asyncio
import logging
from importlib.resources import files

import msgspec

from schemas.area_table import parse_area_tree
from schemas.errors import SiteError
from schemas.site import SITE_FILE, Pack, parse_catalogue, parse_header
from schemas.statements import parse_statements
from streams.core.plain import plain_readings
from streams.store.cells import REFUSED, Connection

_SQL = parse_statements((files("streams.store") / "indicators.sql").read_text())
_log = logging.getLogger(__name__)

_Columns = list[list[object]]


async def keep_indicators(connection: Connection, number: int, pack: Pack) -> None:
    """Puts what a registered pack declares into the tables, unless it or a later one is there already.

    Nothing is counted by these tables: where the database refuses a pack they stay as they are, and all else goes on.
    """
    if (await connection.fetchval(_SQL["kept_version"]) or 0) >= number:
        return
    try:
        # A country has thousands of areas.
        present, indicators, areas = await asyncio.to_thread(_columns, pack)
    except SiteError:
        # A pack of another release; workers of this one do not count by it either.
        return
    try:
        async with connection.transaction():
            await connection.execute(_SQL["lock_indicators"])
            if (await connection.fetchval(_SQL["kept_version"]) or 0) >= number:
                return
            await connection.execute(_SQL["forget_indicators"])
            await connection.execute(_SQL["forget_areas"])
            await connection.execute(_SQL["put_indicators"], number, *indicators)
            await connection.execute(_SQL["put_areas"], present, *areas)
    except REFUSED as error:
        _log.error("names of site pack version %d are not kept for SQL: %s: %s", number, type(error).__name__, error)


def _columns(pack: Pack) -> tuple[str, _Columns, _Columns]:
    """The present list, and the columns of the two tables."""
    header = parse_header(pack[SITE_FILE])
    readings = plain_readings(parse_catalogue(pack))
    areas = list(parse_area_tree(pack, header.area_list, header.zone))
    indicators: _Columns = [
        [one.kpi.id for one in readings],
        [_json(one.kpi.names) for one in readings],
        [one.kpi.unit for one in readings],
        [one.numerator.base for one in readings],
        [one.numerator.column for one in readings],
        [None if one.denominator is None else one.denominator.base for one in readings],
        [None if one.denominator is None else one.denominator.column for one in readings],
        [one.kpi.per for one in readings],
    ]
    known: _Columns = [
        [area.id for area in areas],
        [area.list_id for area in areas],
        [area.kind for area in areas],
        [area.parent for area in areas],
        [_json(area.names) for area in areas],
    ]
    return header.area_list, indicators, known


def _json(names: dict[str, str]) -> str:
    return msgspec.json.encode(names).decode()
