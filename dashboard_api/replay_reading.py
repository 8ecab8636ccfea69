"""How did cases, units and events stand at a past moment, for who may see them now?

A case's past is shown to whoever may see the case today: as its timeline is. What was erased since stays erased, for
versions hold no words that a person's key does not guard.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from dashboard_api.case_filter import CaseFilter
from dashboard_api.case_view import item_of
from dashboard_api.cases import unknown_case
from dashboard_api.database import Reader
from dashboard_api.homes import still_shown
from dashboard_api.messages import event_text
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.replay import position_of
from dashboard_api.scope import inside, parameters, scoped_statements
from dashboard_api.units import unit_view
from dashboard_api.within import descendants
from dashboard_api.written import read_excerpts, reads_words
from schemas.case import Case, Entry
from schemas.command import Actor
from schemas.event import AreaId
from schemas.personal import KeyRing
from schemas.site import Site
from schemas.unit import UnitState

CHANGED_MAX = 2_000
"""Cases that may have changed between two looks of a replay; when there are more it begins anew from a snapshot."""

_SQL = scoped_statements("replay")
_OPEN, _ALL = (_SQL[name].replace("{wanted}", _SQL["wanted"]) for name in ("list_open", "list_all"))
_cases = msgspec.json.Decoder(Case)
_entries = msgspec.json.Decoder(Entry)
_states = msgspec.json.Decoder(UnitState)


class Floors(msgspec.Struct, frozen=True, kw_only=True):
    """Since when the past is there: of cases, of units, and of which buckets had closed."""

    cases: datetime
    units: datetime
    closing: datetime


class After(NamedTuple):
    """A place in the list of all cases, those opened last first."""

    opened_at: datetime
    id: str


async def read_floors(reader: Reader) -> Floors:
    """Since when the past is there."""
    return Floors(**{row["concept"]: row["since"] for row in await reader.fetch(_SQL["read_floors"])})


def check_moment(
    moment: datetime, now: datetime, floors: Floors, field: str, *, cases: bool, units: bool, kpis: bool
) -> None:
    """Raises Refused for a moment that has not come yet, or whose past is not kept of what is asked for."""
    if moment > now:
        raise Refused(field, RefusalReason.OUT_OF_RANGE, "that moment has not come yet", "Use one that has passed.")
    wanted = {"cases": cases, "units": units, "figures": kpis}
    since = {"cases": floors.cases, "units": floors.units, "figures": floors.closing}
    for name, is_wanted in wanted.items():
        if is_wanted and moment < since[name]:
            detail = f"how {name} stood is known since {since[name].isoformat(timespec='seconds')}"
            fix = f"Use that moment or a later one, or ask for no {name}."
            raise Refused(field, RefusalReason.NOT_KEPT, detail, fix)


async def read_cases(
    reader: Reader, actor: Actor, wanted: CaseFilter, moment: datetime, limit: int, after: After | None = None
) -> list[Case]:
    """At most `limit` cases as they were, that the actor may see now, those opened last first."""
    values: list[object] = [*parameters(actor), moment, *wanted.stored(), wanted.exercise, limit]
    rows = await reader.fetch(_OPEN if wanted.open else _ALL, *values, *(after or (None, None)))
    return await _still_shown(reader, actor, rows)


async def read_case(reader: Reader, actor: Actor, id_: str, moment: datetime) -> Case:
    """The case as it was, with the signals that the actor may read now.

    Raises Refused with the status 404 where there was none that the actor may see now.
    """
    row = await reader.fetchrow(_SQL["read_case"], *parameters(actor), moment, id_)
    if row is None:
        raise unknown_case()
    return (await _still_shown(reader, actor, [row]))[0]


async def read_timeline(
    reader: Reader, actor: Actor, id_: str, moment: datetime, after: int, limit: int
) -> list[Entry]:
    """Lines of a case's timeline that were there, after this number, the oldest first."""
    rows = await reader.fetch(_SQL["read_timeline"], *parameters(actor), moment, id_, after, limit)
    return [_entries.decode(row["body"]) for row in rows]


async def read_changed(reader: Reader, actor: Actor, after: datetime, through: datetime) -> list[Case] | None:
    """The cases that changed in (after, through], as they were at its end; None: there are too many."""
    rows = await reader.fetch(_SQL["changed_cases"], *parameters(actor), after, through, CHANGED_MAX)
    return None if len(rows) == CHANGED_MAX else await _still_shown(reader, actor, rows)


async def read_units(
    reader: Reader, site: Site, ids: Collection[str], moment: datetime, after: datetime | None = None
) -> Mapping[str, str]:
    """These units as they were, in the order of the site pack; with `after` those of which more was known since.

    At which cases they were is not said: not everybody may see those.
    """
    units = sorted(ids)
    if after is None:
        rows = await reader.fetch(_SQL["read_units"], units, moment)
    else:
        rows = await reader.fetch(_SQL["changed_units"], units, moment, after)
    states = {row["unit"]: _state(row) for row in rows}
    return {
        unit.id: msgspec.json.encode(unit_view(site, unit, states.get(unit.id), (), moment)).decode()
        for unit in site.units.values()
        if unit.id in states or (after is None and unit.id in ids)
    }


async def read_events(
    reader: Reader,
    actor: Actor,
    site: Site,
    areas: Sequence[AreaId],
    span: tuple[datetime, datetime],
    limit: int,
    *,
    exercise: bool,
) -> list[str]:
    """Events that were committed in (span[0], span[1]] and that the actor may see, the oldest first."""
    if limit == 0:
        return []
    around = descendants(site.areas, areas)
    rows = await reader.fetch(
        _SQL["read_events"],
        *parameters(actor),
        *span,
        None if around is None else list(around),
        exercise,
        limit,
        inside(actor, site.areas),
    )
    return [event_text(row["body"], row["committed_at"], position_of(row["committed_at"])) for row in reversed(rows)]


async def case_texts(
    reader: Reader, site: Site, ring: KeyRing | None, actor: Actor, cases: Sequence[Case], as_of: datetime
) -> list[str]:
    """Cases as lists show them, with the first words of those that the actor handles, if nobody has erased them."""
    excerpts = await read_excerpts(reader, ring, [case for case in cases if reads_words(actor, case)], as_of)
    return [msgspec.json.encode(item_of(site, case, excerpts.get(case.id))).decode() for case in cases]


async def _still_shown(reader: Reader, actor: Actor, rows: Sequence[Any]) -> list[Case]:
    """The versions in these rows, with the signals that the actor may read now."""
    return await still_shown(reader, actor, [_cases.decode(row["body"]) for row in rows], of_past=True)


# asyncpg's records have no column types.
def _state(row: Any) -> UnitState:  # noqa: ANN401
    return msgspec.structs.replace(
        _states.decode(row["body"]), lat=row["lat"], lon=row["lon"], position_at=row["position_at"]
    )
