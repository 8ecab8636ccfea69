"""How are the figures of drills kept apart from real ones?

What a drill adds to a base is stored under another name, in the same tables: nothing that asks for the real name ever
reads it, and whoever wants a drill's figures asks for that name. No id of a site pack holds a colon, so the two never
meet. A board in drill mode has, beside each indicator, its twin.
"""

from collections.abc import Mapping
from functools import lru_cache

from msgspec.structs import replace

from schemas.kpi import Catalogue, Kpi, Measure, Operand
from schemas.notice_text import DRILL

DRILL_PREFIX = "drill:"
"""Before the name of what drills alone have fed."""

_CATALOGUES_MAX = 8
"""Catalogues whose twins are remembered; the one asked for longest ago goes."""


def drill_name(name: str) -> str:
    """What an indicator or a base is called in drills."""
    return DRILL_PREFIX + name


def is_drill(name: str) -> bool:
    """Whether an indicator or a base is one of drills."""
    return name.startswith(DRILL_PREFIX)


def real_name(name: str) -> str:
    """What an indicator or a base is called in the site pack."""
    return name.removeprefix(DRILL_PREFIX)


@lru_cache(maxsize=_CATALOGUES_MAX)
def with_drills(catalogue: Catalogue) -> Catalogue:
    """The catalogue with a twin of every indicator behind all of them. Made once for each catalogue."""
    return Catalogue([*catalogue.kpis, *map(_twin, catalogue.kpis)], catalogue.conduct)


def _twin(kpi: Kpi) -> Kpi:
    """The same indicator of drills. What it names are other indicators' twins; of `distinct` it is a field."""
    return replace(
        kpi,
        id=drill_name(kpi.id),
        names=_marked(kpi.names),
        numerator=_operand(kpi.numerator),
        denominator=_operand(kpi.denominator),
        plus=None if kpi.plus is None else drill_name(kpi.plus),
        minus=None if kpi.minus is None else drill_name(kpi.minus),
        of=drill_name(kpi.of) if kpi.measure is Measure.SILENT and kpi.of is not None else kpi.of,
    )


def _operand(one: str | Operand | None) -> str | Operand | None:
    return drill_name(one) if isinstance(one, str) else one


def _marked(names: Mapping[str, str]) -> dict[str, str]:
    return {language: f"{DRILL.get(language, DRILL['en'])} {name}" for language, name in names.items()}
