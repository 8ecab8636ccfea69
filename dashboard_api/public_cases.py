"""What may everybody see of the cases?

Of what is published: what kind of thing it is, where (rounded where the category is sensitive), since which day, and
how it stands. Titles and texts are not among it, for people write names into them.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any

from msgspec import Struct

from dashboard_api.case_filter import Box
from dashboard_api.case_view import names_of
from dashboard_api.database import Reader
from dashboard_api.export import Column, Kind, Sheet, name_columns, names_cells
from dashboard_api.plain_words import Stage, stage_of
from dashboard_api.statements import load_statements
from schemas.case import State
from schemas.event import AreaId
from schemas.site import Site

_SQL = load_statements("public_cases")
_LIST = _SQL["list_public"].replace("{shown}", _SQL["shown"]).replace("{is_public}", _SQL["is_public"])


class PublicCase(Struct, frozen=True, kw_only=True):
    """A published case. `rounded`: its place is rounded to hundredths of a degree, about one kilometre."""

    id: str
    category: str
    names: dict[str, str]
    area: str
    stage: Stage
    opened_on: date
    closed_on: date | None
    lat: float | None
    lon: float | None
    rounded: bool


class PublicFilter(Struct, frozen=True, kw_only=True):
    """Which of them; None takes all. `areas` are exact ids, descendants included by whoever asks."""

    category: str | None = None
    areas: Collection[AreaId] | None = None
    open: bool | None = None
    box: Box | None = None


class PublicRow(Struct, frozen=True):
    """A case with its own place in the list: the start of its day, and its id."""

    case: PublicCase
    at: datetime


async def read_public(
    reader: Reader, site: Site, wanted: PublicFilter, after: tuple[datetime, str] | None, limit: int
) -> list[PublicRow]:
    """At most `limit` published cases, those opened last first."""
    rules = site.cases
    # What a pack no longer declares is taken for sensitive.
    exact = [] if rules is None else [one.id for one in rules.category if not one.sensitive]
    rows = await reader.fetch(
        _LIST,
        *(
            exact,
            site.header.zone,
            wanted.category,
            None if wanted.areas is None else list(wanted.areas),
            wanted.open,
        ),
        *(wanted.box or (None, None, None, None)),
        *(after or (None, None)),
        limit,
    )
    return [_row(row, site) for row in rows]


# asyncpg's records have no column types.
def _row(row: Any, site: Site) -> PublicRow:  # noqa: ANN401
    zone = site.areas.zone(site.areas.root.id)

    def day(at: datetime | None) -> date | None:
        return None if at is None else at.astimezone(zone).date()

    opened_on = day(row["opened_on"])
    assert opened_on is not None, "every case was opened"
    case = PublicCase(
        id=row["id"],
        category=row["category"],
        names=names_of(site, row["category"]),
        area=row["area"],
        stage=stage_of(State(row["state"])),
        opened_on=opened_on,
        closed_on=day(row["closed_on"]),
        lat=row["lat"],
        lon=row["lon"],
        rounded=row["is_rounded"],
    )
    return PublicRow(case, row["opened_on"])


def public_sheet(cases: Sequence[PublicCase], languages: Sequence[str]) -> Sheet:
    """A row for each case."""
    columns = (
        *(Column("id"), Column("category"), *name_columns(languages), Column("area"), Column("stage")),
        *(Column("opened_on"), Column("closed_on"), Column("lat", Kind.NUMBER), Column("lon", Kind.NUMBER)),
        Column("rounded", Kind.FLAG),
    )
    rows = [
        (
            *(one.id, one.category, *names_cells(one.names, languages), one.area, one.stage.value),
            *(one.opened_on.isoformat(), None if one.closed_on is None else one.closed_on.isoformat()),
            *(one.lat, one.lon, one.rounded),
        )
        for one in cases
    ]
    return Sheet("cases", columns, rows)
