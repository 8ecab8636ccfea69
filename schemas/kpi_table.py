"""What does `kpis.toml` say? Every mistake is a SiteError with the line, the reason and the fix."""

from collections.abc import Collection, Container, Sequence
from typing import Any, cast

import msgspec

from schemas.errors import SiteError
from schemas.kpi import Catalogue, Kpi
from schemas.kpi_rules import check_form, check_kpi, check_references, check_targets
from schemas.site_file import Mistake, read_toml
from schemas.toml_lines import Path, line_of, toml_lines

KPIS_FILE = "kpis.toml"

KPIS_MAX = 500
"""A catalogue with more is refused: each KPI costs every event of its type, and boards list them all."""


def parse_kpis(
    text: str,
    languages: Collection[str] = (),
    areas: Container[str] | None = None,
    conduct: Collection[str] = (),
) -> Catalogue:
    """Reads `kpis.toml`: an array of tables `[[kpi]]`, one for each indicator. Raises SiteError at the first mistake.

    `languages` are those that each name has to be given in, `areas` the ids that a target may name; None: any.
    `conduct` are the categories of complaints about officials.
    """
    reading = _Reading(text, languages, areas)
    if reading.mistakes:
        raise reading.mistakes[0]
    return Catalogue(reading.kpis.values(), conduct)


def mistakes(text: str, languages: Collection[str] = (), areas: Container[str] | None = None) -> list[SiteError]:
    """All mistakes that `parse_kpis` could raise: at least one of each KPI that has any, from top to bottom.

    Of a text that is not TOML only the first.
    """
    try:
        return _Reading(text, languages, areas).mistakes
    except SiteError as error:
        return [error]


class _Reading:
    """One reading of the file: `kpis` are those whose form is right, `mistakes` all that is wrong."""

    def __init__(self, text: str, languages: Collection[str], areas: Container[str] | None) -> None:
        self._content = read_toml(text, KPIS_FILE)
        self._lines = toml_lines(text)
        self._languages = languages
        self._areas = areas
        self._found: list[tuple[int, SiteError]] = []
        self._at: dict[str, int] = {}
        self.kpis: dict[str, Kpi] = {}
        tables = self._tables()
        for at, table in enumerate(tables):
            self._read(at, table)
        declared = {str(cast("dict[str, Any]", table).get("id")) for table in tables if isinstance(table, dict)}
        for kpi in self.kpis.values():
            for mistake in check_references(kpi, self.kpis, declared):
                self._wrong(mistake, self._at[kpi.id], kpi.id)
        self.mistakes = [error for _, error in sorted(self._found, key=lambda found: found[0])]

    def _tables(self) -> Sequence[object]:
        for key in self._content.keys() - {"kpi"}:
            self._wrong(Mistake((key,), f"{key!r} is not a key here", "Begin each indicator with [[kpi]]."))
        tables = self._content.get("kpi", [])
        if not isinstance(tables, list):
            self._wrong(Mistake(("kpi",), "`kpi` is not an array of tables", "Begin each indicator with [[kpi]]."))
            return ()
        given = cast("list[object]", tables)
        if len(given) > KPIS_MAX:
            mistake = Mistake((), f"there are {len(given)} KPIs", f"Declare at most {KPIS_MAX}.")
            self._wrong(mistake, KPIS_MAX)
        return given[:KPIS_MAX]

    def _read(self, at: int, value: object) -> None:
        if not isinstance(value, dict):
            self._wrong(Mistake((), "it is not a table", "Begin each indicator with [[kpi]]."), at)
            return
        table = cast("dict[str, Any]", value)
        id_ = table.get("id")
        if form := check_form(table):
            for mistake in form:
                self._wrong(mistake, at, id_)
            return
        kpi = msgspec.convert(table, Kpi)
        if kpi.id in self.kpis:
            line = self._line(("kpi", self._at[kpi.id], "id"))
            self._wrong(Mistake(("id",), f"the id is used twice, first on line {line}", "Change one."), at, kpi.id)
            return
        self.kpis[kpi.id] = kpi
        self._at[kpi.id] = at
        for mistake in (*check_kpi(kpi, table, self._languages), *check_targets(kpi.target, self._areas)):
            self._wrong(mistake, at, kpi.id)

    def _wrong(self, mistake: Mistake, at: int | None = None, id_: object = None) -> None:
        """Notes a mistake of the file, or of the KPI at this place in it."""
        line = self._line(mistake.path if at is None else ("kpi", at, *mistake.path))
        who = "" if at is None else f", kpi {id_!r}" if isinstance(id_, str) else f", kpi {at + 1}"
        self._found.append((line, SiteError(KPIS_FILE, f"line {line}{who}", mistake.reason, mistake.fix)))

    def _line(self, path: Path) -> int:
        return line_of(self._lines, path)
