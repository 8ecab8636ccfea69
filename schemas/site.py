"""What does this site watch?

A site pack is a folder of files: `site.toml`, `areas.csv`, `kpis.toml`, and `reports.toml` where reports are made.
This module reads their text; whoever runs the centre reads the files. Every mistake is a `SiteError` with the file,
the position, the reason and the fix.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, TypeVar

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from schemas.agency import AGENCIES_FILE, Agency, parse_agencies
from schemas.alert import ALERTS_FILE, AlertRule
from schemas.alert_table import Surroundings, parse_alerts
from schemas.area import AreaTree, Zone
from schemas.area_table import AREAS_FILE, LINEAGE_FILE, parse_area_tree
from schemas.boundary import BOUNDARIES_FILE
from schemas.calendar import CALENDAR_FILE, Calendar, parse_calendars
from schemas.category import CASES_FILE, CaseRules, check_categories, parse_case_rules
from schemas.channel import CHANNELS_FILE, Channels, check_channels, parse_channels
from schemas.clock_plan import CLOCKS_FILE, ClockPlan, check_clocks, parse_clocks
from schemas.dispatch_plan import DISPATCH_FILE, DispatchPlan, check_dispatch, parse_dispatch
from schemas.display import DISPLAYS_FILE, Display, check_displays, parse_displays
from schemas.errors import SiteError
from schemas.event import AreaCode
from schemas.identity import PEOPLE_FILE, Person, check_people, parse_people, seeing_all
from schemas.kpi import Catalogue
from schemas.kpi_table import KPIS_FILE, parse_kpis
from schemas.kpi_table import mistakes as kpi_mistakes
from schemas.layer import LAYERS_FILE, SiteLayer, parse_layers
from schemas.map_tiles import MapTiles, check_tiles
from schemas.report import REPORTS_FILE, Report, parse_reports
from schemas.site_file import check_zone, convert_file, mistake_at
from schemas.unit import UNITS_FILE, Unit, check_units, parse_units

_T = TypeVar("_T")

SITE_FILE = "site.toml"
REQUIRED_FILES = (SITE_FILE, AREAS_FILE, KPIS_FILE)
OPTIONAL_FILES = (
    LINEAGE_FILE,
    BOUNDARIES_FILE,
    REPORTS_FILE,
    AGENCIES_FILE,
    CASES_FILE,
    CALENDAR_FILE,
    CLOCKS_FILE,
    UNITS_FILE,
    DISPATCH_FILE,
    PEOPLE_FILE,
    ALERTS_FILE,
    CHANNELS_FILE,
    LAYERS_FILE,
    DISPLAYS_FILE,
)

_WEEK_S = 7 * 24 * 60 * 60
_YEAR_S = 366 * 24 * 60 * 60

SiteLabel = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f-\x9f]*\Z")]
"""A name of one line. What the pack names ends in keys and in texts that control characters take apart."""

Days = Annotated[int, Meta(ge=1, le=36_500)]
"""How long something is kept. Nothing is dropped on its own day, and a century is for ever."""


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sender the site expects to hear from. Silent for longer than `silent_after_s`, it is shown as stale."""

    id: SiteLabel
    names: dict[str, str]
    silent_after_s: Annotated[int, Meta(ge=1, le=_YEAR_S)]
    simulated: bool = False


class Closing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bucket closes `grace_s` after the newest event time; a partition silent for `idle_s` is not waited for.

    `grace_s` is whole minutes: who counts and who reads round to minutes, and else would do so to different ones.
    """

    grace_s: Annotated[int, Meta(ge=0, le=_WEEK_S, multiple_of=60)] = 120
    idle_s: Annotated[int, Meta(ge=60, le=_YEAR_S)] = 900


class Retention(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long minutes and hours are kept, in days. Days are kept for ever."""

    minute_days: Days = 30
    hour_days: Days = 730


class AreasFrom(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Instead of area files: the part of the shipped pack `pack` that its present list calls `root`."""

    pack: str = field(name="from")
    root: AreaCode


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `site.toml`. An event that claims a time `future_max_s` after its arrival is not believed.

    `calling_code` is the country of phone numbers that begin with 0: `84` in Vietnam. `map` is where maps take their
    ground from, if from anywhere.
    """

    id: SiteLabel
    names: dict[str, str]
    zone: Zone
    area_list: SiteLabel
    areas: AreasFrom | None = None
    languages: Annotated[list[SiteLabel], Meta(min_length=1)]
    source: list[Source] = []
    closing: Closing = Closing()
    retention: Retention = Retention()
    future_max_s: Annotated[int, Meta(ge=0, le=_WEEK_S)] = 3600
    calling_code: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,2}\Z")] | None = None
    map: MapTiles | None = None


class Site(Struct, frozen=True, kw_only=True):
    """A whole site pack, read and checked. `displays` are by what their keys hash to."""

    header: Header
    areas: AreaTree
    kpis: Catalogue
    reports: tuple[Report, ...] = ()
    agencies: Mapping[str, Agency] = {}
    cases: CaseRules | None = None
    calendars: Mapping[str, Calendar] = {}
    clocks: tuple[ClockPlan, ...] = ()
    units: Mapping[str, Unit] = {}
    dispatch: DispatchPlan = DispatchPlan()
    people: Mapping[str, Person] = {}
    alerts: tuple[AlertRule, ...] = ()
    channels: Channels = Channels()
    layers: Mapping[str, SiteLayer] = {}
    displays: Mapping[str, Display] = {}


Pack = Mapping[str, str]
"""The texts of a site pack's files by file name. Whoever runs the centre reads the files."""


def parse_header(text: str) -> Header:
    """Reads `site.toml`. Raises SiteError."""
    header = convert_file(text, Header, SITE_FILE)
    check_zone(header.zone, partial(mistake_at, SITE_FILE, text, ("zone",)))
    if header.map is not None:
        check_tiles(header.map, partial(mistake_at, SITE_FILE, text, ("map", "tiles")))
    return header


def parse_site(pack: Pack) -> Site:
    """Reads a whole pack. Raises SiteError at the first mistake."""
    for file in REQUIRED_FILES:
        if file not in pack:
            raise _missing(file)
    header = parse_header(pack[SITE_FILE])
    areas = parse_area_tree(pack, header.area_list, header.zone)
    cases = parse_case_rules(pack[CASES_FILE]) if CASES_FILE in pack else None
    kpis = parse_kpis(pack[KPIS_FILE], header.languages, areas, () if cases is None else cases.conduct)
    site = Site(
        header=header,
        areas=areas,
        kpis=kpis,
        reports=parse_reports(pack[REPORTS_FILE], kpis) if REPORTS_FILE in pack else (),
        agencies=parse_agencies(pack[AGENCIES_FILE]) if AGENCIES_FILE in pack else {},
        cases=cases,
        calendars=parse_calendars(pack[CALENDAR_FILE]) if CALENDAR_FILE in pack else {},
        clocks=parse_clocks(pack[CLOCKS_FILE]) if CLOCKS_FILE in pack else (),
        units=parse_units(pack[UNITS_FILE]) if UNITS_FILE in pack else {},
        dispatch=parse_dispatch(pack[DISPATCH_FILE]) if DISPATCH_FILE in pack else DispatchPlan(),
        people=parse_people(pack[PEOPLE_FILE]) if PEOPLE_FILE in pack else {},
        channels=parse_channels(pack[CHANNELS_FILE], header.languages) if CHANNELS_FILE in pack else Channels(),
        layers=parse_layers(pack, header.languages) if LAYERS_FILE in pack else {},
        displays=parse_displays(pack[DISPLAYS_FILE]) if DISPLAYS_FILE in pack else {},
    )
    _check_across(pack, site)
    return replace(site, alerts=_alerts(pack, site)) if ALERTS_FILE in pack else site


def parse_catalogue(pack: Pack) -> Catalogue:
    """The indicators of a pack that has been checked before, and what feeds them. Raises SiteError."""
    cases = parse_case_rules(pack[CASES_FILE]) if CASES_FILE in pack else None
    return parse_kpis(pack[KPIS_FILE], conduct=() if cases is None else cases.conduct)


def _alerts(pack: Pack, site: Site) -> tuple[AlertRule, ...]:
    """The alert rules. They name things of nearly every other file."""
    around = Surroundings(
        languages=site.header.languages,
        areas=site.areas,
        kpis=site.kpis,
        minute_days=site.header.retention.minute_days,
        hour_days=site.header.retention.hour_days,
        agencies=site.agencies if AGENCIES_FILE in pack else None,
        categories=None if site.cases is None else [category.id for category in site.cases.category],
    )
    return parse_alerts(pack[ALERTS_FILE], around)


def _check_across(pack: Pack, site: Site) -> None:
    """Raises SiteError where one file names what another one ought to declare, and does not."""
    people = site.people if PEOPLE_FILE in pack else None
    if site.cases is not None:
        check_categories(pack[CASES_FILE], site.cases, site.agencies, seeing_all(people))
    categories = [] if site.cases is None else site.cases.category
    if CLOCKS_FILE in pack:
        check_clocks(
            pack[CLOCKS_FILE],
            site.clocks,
            calendars=site.calendars,
            categories=[category.id for category in categories],
            agencies=site.agencies,
            areas=site.areas,
        )
    if UNITS_FILE in pack:
        check_units(
            pack[UNITS_FILE],
            site.units,
            calendars=site.calendars,
            agencies=site.agencies,
            areas=site.areas,
            people=people,
            skills={skill for category in categories for skill in category.skills},
        )
    if DISPATCH_FILE in pack:
        check_dispatch(pack[DISPATCH_FILE], site.dispatch, people)
    if PEOPLE_FILE in pack:
        check_people(
            pack[PEOPLE_FILE],
            site.people,
            areas=site.areas,
            agencies=site.agencies,
            units=site.units,
            languages=site.header.languages,
        )
    if DISPLAYS_FILE in pack:
        check_displays(pack[DISPLAYS_FILE], site.displays, site.people)
    if CHANNELS_FILE in pack:
        check_channels(pack[CHANNELS_FILE], site)


def mistakes(pack: Pack) -> list[SiteError]:
    """All that is wrong with a pack: every mistake of `kpis.toml`, and of each other part the first.

    What does not fit together between files is told where each of them is right in itself.
    """
    try:
        parse_site(pack)
    except SiteError as error:
        whole = error
    else:
        return []
    found = [_missing(file) for file in REQUIRED_FILES if file not in pack]
    header = _tried(found, lambda: parse_header(pack[SITE_FILE])) if SITE_FILE in pack else None
    areas = None
    if header is not None and AREAS_FILE in pack:
        areas = _tried(found, lambda: parse_area_tree(pack, header.area_list, header.zone))
    if KPIS_FILE in pack:
        wrong = kpi_mistakes(pack[KPIS_FILE], () if header is None else header.languages, areas)
        found += wrong
        if not wrong and REPORTS_FILE in pack:
            _tried(found, lambda: parse_reports(pack[REPORTS_FILE], parse_kpis(pack[KPIS_FILE])))
    for file, parse in (
        (AGENCIES_FILE, parse_agencies),
        (CASES_FILE, parse_case_rules),
        (CALENDAR_FILE, parse_calendars),
        (CLOCKS_FILE, parse_clocks),
        (UNITS_FILE, parse_units),
        (DISPATCH_FILE, parse_dispatch),
        (PEOPLE_FILE, parse_people),
        (DISPLAYS_FILE, parse_displays),
        (CHANNELS_FILE, partial(parse_channels, languages=() if header is None else header.languages)),
    ):
        if file in pack:
            _tried(found, partial(parse, pack[file]))
    if LAYERS_FILE in pack:
        _tried(found, partial(parse_layers, pack, () if header is None else header.languages))
    return found or [whole]


def _missing(file: str) -> SiteError:
    return SiteError(file, "the file", "it is missing", "A site pack has site.toml, areas.csv and kpis.toml.")


def _tried(found: list[SiteError], read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except SiteError as error:
        found.append(error)
        return None
