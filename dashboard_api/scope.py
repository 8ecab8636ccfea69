"""Who is shown which case, event and indicator?

What may be seen of cases is `schemas.identity.may_see`. Here it is said to the database, in one place that every
statement shares, so that what may not be seen is neither listed nor counted. Indicators of the audience
`supervision` are for people of an agency that supervises another one.
"""

import re
from collections.abc import Sequence
from typing import Any

from dashboard_api.statements import load_statements
from dashboard_api.within import descendants
from schemas.area import AreaTree
from schemas.command import Actor
from schemas.event import AreaId
from schemas.exercise import is_drill
from schemas.identity import Role, Seen
from schemas.kpi import Kpi
from schemas.site import Site

PARAMETERS = 8
"""A scoped statement's own parameters come after so many."""

_SQL = load_statements("scope")
_MAY_SEE_EVENT = re.compile(r"\{may_see_event (\$\d+)\}")


def scoped_statements(concept: str) -> dict[str, str]:
    """The statements of `<concept>.sql`, with the predicates of `scope.sql` where they name them."""

    def on_events(found: re.Match[str]) -> str:
        return _SQL["may_see_event"].replace("{inside}", found[1])

    # The predicate on events holds the one on cases, so it goes first.
    return {
        key: _MAY_SEE_EVENT.sub(on_events, text).replace("{may_see}", _SQL["may_see"])
        for key, text in load_statements(concept).items()
    }


def parameters(actor: Actor) -> tuple[object, ...]:
    """The first PARAMETERS of every scoped statement."""
    return (
        Role.SYSTEM in actor.roles,
        actor.tracking,
        actor.agency,
        [*actor.agencies, *(f"/{one}" for one in actor.under)],
        list(actor.areas),
        actor.unit,
        set(actor.roles) <= {Role.UNIT},
        actor.sees_all,
    )


def inside(actor: Actor, tree: AreaTree) -> list[str] | None:
    """Where somebody may read events that belong to no case, for a statement's {may_see_event}; None: everywhere."""
    return descendants(tree, [AreaId(area) for area in actor.areas])  # pyright: ignore[reportReturnType]  # an id is a word


# asyncpg's records have no column types.
def seen_of(row: Any) -> Seen:  # noqa: ANN401
    """What decides who may see the case of a row."""
    return Seen(
        areas=row["areas"],
        agency=row["agency"],
        accused_agency=row["accused_agency"],
        units=row["units"],
        tracking=row["tracking"],
    )


def supervises(site: Site, actor: Actor) -> bool:
    """Whether somebody belongs to an agency that complaints about another agency's officials go to."""
    return actor.agency is not None and any(one.supervisor == actor.agency for one in site.agencies.values())


def may_see_kpi(site: Site, actor: Actor, kpi: Kpi) -> bool:
    """Whether somebody may know an indicator's values. Those on supervision, or made of such, are not for all."""
    return not site.kpis.is_for_supervision(kpi.id) or supervises(site, actor)


def seen_kpis(site: Site, actor: Actor, *, exercise: bool = False) -> Sequence[Kpi]:
    """The indicators that somebody may see, in the order of the site pack: real ones, or their twins of drills."""
    return [kpi for kpi in site.kpis.kpis if is_drill(kpi.id) is exercise and may_see_kpi(site, actor, kpi)]
