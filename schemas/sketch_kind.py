"""May what is stored under an indicator's id go on being added to?

Sums of one meaning are counted on as sums of another, and `ioc backfill --again` mends them. But a histogram and a
sketch of different ones do not merge, nor does either with a plain sum: whoever counted, read or compacted such a row
could not go on. So an id keeps what its sketches hold for ever, also while it is away.
"""

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from schemas.errors import SiteError
from schemas.kpi import Catalogue, Measure
from schemas.kpi_table import KPIS_FILE

_KINDS: Mapping[str, str] = {Measure.PERCENTILE: "histograms", Measure.DISTINCT: "different ones"}
_SUMS = "sums"


def check_kinds(catalogue: Catalogue, past: Iterable[str]) -> None:
    """Raises SiteError where a base's id stands for another kind than in one of the `past` texts of `kpis.toml`.

    Those were right when they were taken up; by what rules does not matter here.
    """
    now = {base.id: _KINDS.get(base.measure, _SUMS) for base in catalogue.bases}
    for text in past:
        for id_, measure in _measures(tomllib.loads(text)):
            before = _KINDS.get(measure, _SUMS)
            if now.get(id_, before) != before:
                reason = f"under this id {before} are stored, and those do not merge with {now[id_]}"
                raise SiteError(KPIS_FILE, f"kpi {id_!r}", reason, "Give the indicator a new id.")


def _measures(table: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The ids under which events are added up, as `schemas.kpi.Catalogue` names them, and their measures."""
    for kpi in table.get("kpi", []):
        operands = {part: kpi[part] for part in ("numerator", "denominator") if isinstance(kpi.get(part), dict)}
        yield kpi["id"], kpi["measure"]
        yield from ((f"{kpi['id']}/{part}", operand["measure"]) for part, operand in operands.items())
