"""What does this site watch?

A site pack is a folder of files: `site.toml`, `areas.csv`, `kpis.toml`, and `reports.toml` where reports are made.
This module reads their text; whoever runs the centre reads the files. Every mistake is a `SiteError` with the file,
the position, the reason and the fix.
"""

from collections.abc import Mapping

from msgspec import Struct

from schemas.area import AreaTree, Zone
from schemas.area_table import AREAS_FILE, parse_areas
from schemas.errors import SiteError
from schemas.event import Label
from schemas.kpi import Catalogue
from schemas.kpi_table import KPIS_FILE, parse_kpis
from schemas.report import REPORTS_FILE, Report, parse_reports
from schemas.site_file import check_zone, convert, read_toml

SITE_FILE = "site.toml"
REQUIRED_FILES = (SITE_FILE, AREAS_FILE, KPIS_FILE)


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sender the site expects to hear from. Silent for longer than `silent_after_s`, it is shown as stale."""

    id: str
    names: dict[str, str]
    silent_after_s: int
    simulated: bool = False


class Closing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bucket closes `grace_s` after the newest event time; a partition silent for `idle_s` is not waited for."""

    grace_s: int = 120
    idle_s: int = 900


class Retention(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long minutes and hours are kept, in days. Days are kept for ever."""

    minute_days: int = 30
    hour_days: int = 730


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `site.toml`. An event that claims a time `future_max_s` after its arrival is not believed."""

    id: str
    names: dict[str, str]
    zone: Zone
    area_list: Label
    languages: list[str]
    source: list[Source] = []
    closing: Closing = Closing()
    retention: Retention = Retention()
    future_max_s: int = 3600


class Site(Struct, frozen=True, kw_only=True):
    """A whole site pack, read and checked."""

    header: Header
    areas: AreaTree
    kpis: Catalogue
    reports: tuple[Report, ...] = ()


Pack = Mapping[str, str]
"""The texts of a site pack's files by file name. Whoever runs the centre reads the files."""


def parse_site(pack: Pack) -> Site:
    """Reads a whole pack. Raises SiteError at the first mistake."""
    for file in REQUIRED_FILES:
        if file not in pack:
            raise SiteError(file, "the file", "it is missing", "A site pack has site.toml, areas.csv and kpis.toml.")
    header = convert(read_toml(pack[SITE_FILE], SITE_FILE), Header, SITE_FILE, "the file")
    check_zone(header.zone, SITE_FILE, "zone")
    kpis = parse_kpis(pack[KPIS_FILE])
    return Site(
        header=header,
        areas=parse_areas(pack[AREAS_FILE], header.area_list, header.zone),
        kpis=kpis,
        reports=parse_reports(pack[REPORTS_FILE], kpis) if REPORTS_FILE in pack else (),
    )
