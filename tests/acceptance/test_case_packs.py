"""Can the shipped site packs handle what they open cases for?"""

import re
import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from deploy.site import load_site
from schemas.agency import is_below
from schemas.area_id import AreaId
from schemas.calendar import CALENDAR_FILE, parse_calendars
from schemas.case import Case, CaseId, ClockName, Kind, State
from schemas.category import CASES_FILE, Category, supervising_agency
from schemas.clock_plan import CLOCKS_FILE, parse_clocks
from schemas.dispatch_plan import AWAITED, DISPATCH_FILE, parse_dispatch
from schemas.dispatching import suggest
from schemas.identity import Seen, actor_from, actor_without_token, may_see
from schemas.site import Site
from schemas.unit import UNITS_FILE, parse_units
from schemas.working_time import after_working_s
from streams.core.clock import start_clocks

ROOT = Path(__file__).parents[2]
SITES = ROOT / "deploy" / "sites"
HANOI = ZoneInfo("Asia/Ho_Chi_Minh")

PACKS = {"vietnam": load_site(SITES / "vietnam"), "boston": load_site(SITES / "boston")}
NOON = {name: datetime(2026, 10, 20, 12, tzinfo=ZoneInfo(site.header.zone)) for name, site in PACKS.items()}
"""A common Tuesday, by the site's own clock."""

AREAS = {"vietnam": AreaId("19"), "boston": AreaId("BOS-09")}
"""Where the shipped units work."""

CATEGORIES = [
    pytest.param(name, category, id=f"{name}: {category.id}")
    for name, site in PACKS.items()
    for category in (site.cases.category if site.cases else ())
    if category.opens
]


def opened(name: str, category: Category) -> tuple[Site, Case]:
    """A case of this category as it begins, at noon."""
    site = PACKS[name]
    area = AREAS[name]
    return site, Case(
        id=CaseId("c"),
        version=1,
        kind=category.kind,
        state=State.NEW,
        category=category.id,
        severity=category.severity,
        area=area,
        areas=tuple(reversed(site.areas.path(area))),
        agency=category.agency,
        opened_at=NOON[name],
        recorded_at=NOON[name],
        changed_at=NOON[name],
    )


@pytest.mark.parametrize("name", PACKS)
def test_named_in_both_languages(name: str) -> None:
    site = PACKS[name]
    assert site.cases is not None
    for one in (*site.cases.category, *site.agencies.values(), *site.units.values(), *site.calendars.values()):
        assert set(one.names) == {"vi", "en"}


@pytest.mark.parametrize("name", PACKS)
@pytest.mark.parametrize("file", [CASES_FILE, CALENDAR_FILE, CLOCKS_FILE, UNITS_FILE, DISPATCH_FILE, "agencies.toml"])
def test_letters_are_composed(name: str, file: str) -> None:
    """A name typed with combining marks looks the same and is found by nobody."""
    text = (SITES / name / file).read_text()
    assert text == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(("name", "category"), CATEGORIES)
def test_every_case_ends_sometime(name: str, category: Category) -> None:
    """Each category has a clock for its end, and one for the first thing that somebody has to do."""
    site, case = opened(name, category)
    clocks = {clock.name: clock for clock in start_clocks(site, case, case.opened_at)}
    assert ClockName.RESOLUTION in clocks
    assert all(clock.due_at is not None and clock.due_at > case.opened_at for clock in clocks.values())
    if category.kind is Kind.INCIDENT:
        assert {ClockName.ACCEPTANCE, ClockName.ARRIVAL} <= set(clocks)
    if category.kind in (Kind.SERVICE, Kind.CONDUCT) and name == "vietnam":
        assert ClockName.FIRST_ANSWER in clocks


@pytest.mark.parametrize(("name", "category"), CATEGORIES)
def test_somebody_can_be_sent(name: str, category: Category) -> None:
    """Where a skill is needed there is a unit that has it, and that is on duty at noon."""
    site, case = opened(name, category)
    if category.skills:
        assert suggest(site, case, {}, case.opened_at)[0].capable


@pytest.mark.parametrize("name", PACKS)
def test_complaints_go_elsewhere(name: str) -> None:
    """Whoever is accused, somebody deals with it who is not of that agency, nor of one that it supervises."""
    site = PACKS[name]
    assert site.cases is not None
    actors = [actor_from(site, person) for person in site.people.values()] or [actor_without_token(site)]
    for category in site.cases.conduct:
        for accused in site.agencies:
            agency = supervising_agency(site.cases, site.agencies, category, accused)
            case = Seen(areas=[site.areas.root.id], agency=agency, accused_agency=accused)
            if agency is None:
                # Who works in a part of the site sees what is in that part.
                case = Seen(
                    areas=[area for actor in actors for area in actor.areas], agency=None, accused_agency=accused
                )
                assert any(may_see(actor, case) for actor in actors if "operator" in actor.roles)
            for actor in actors:
                own = [] if actor.agency is None else [actor.agency]
                if any(is_below(site.agencies, one, accused) for one in (*own, *actor.agencies)):
                    assert not may_see(actor, case)


@pytest.mark.parametrize("name", PACKS)
def test_every_step_that_is_waited_for_has_a_chain(name: str) -> None:
    """A step with a limit that nobody hears about would be of no use."""
    plan = PACKS[name].dispatch
    for times in plan.steps:
        for step in AWAITED:
            if times.allowed_s(step) is not None:
                assert any(step in chain.steps for chain in plan.escalation)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param("2026-02-13T16:55", "2026-02-23T11:25", id="the eve of Tết 2026"),
        pytest.param("2025-01-24T16:55", "2025-02-03T11:25", id="the eve of Tết 2025"),
        pytest.param("2025-04-25T16:55", "2025-04-26T11:25", id="a made-up Saturday in 2025"),
        pytest.param("2025-04-29T16:55", "2025-05-05T11:25", id="30 April, 1 May, and the day swapped for it"),
        pytest.param("2025-12-31T16:55", "2026-01-05T11:25", id="New Year 2026"),
        pytest.param("2026-08-28T16:55", "2026-09-03T11:25", id="National Day 2026"),
    ],
)
def test_first_answer_in_vietnam(start: str, end: str) -> None:
    """Four hours from five minutes before the office closes, on the days that were announced."""
    office = PACKS["vietnam"].calendars["hanh-chinh"]
    due_at = after_working_s(office, datetime.fromisoformat(start).replace(tzinfo=HANOI), 4 * 3600)
    assert due_at == datetime.fromisoformat(end).replace(tzinfo=HANOI)


def test_law_of_complaints() -> None:
    """Seven working days after the day of the complaint, and thirty days."""
    site, case = opened("vietnam", replace(category_of("official_conduct"), agency="thanh-tra-tinh"))
    clocks = {clock.name: clock.due_at for clock in start_clocks(site, case, case.opened_at)}
    assert clocks[ClockName.ACCEPTANCE] == datetime(2026, 10, 29, 17, tzinfo=HANOI)
    assert clocks[ClockName.RESOLUTION] == case.opened_at + timedelta(days=30)


def category_of(id_: str) -> Category:
    rules = PACKS["vietnam"].cases
    assert rules is not None
    return rules.of(id_)


@pytest.mark.parametrize(
    ("page", "parse"),
    [
        pytest.param("clocks.md", parse_calendars, id="calendar"),
        pytest.param("clocks.md", parse_clocks, id="clock"),
        pytest.param("dispatch.md", parse_units, id="unit"),
        pytest.param("dispatch.md", parse_dispatch, id="escalation"),
    ],
)
def test_examples_in_the_documents_are_right(
    page: str, parse: Callable[[str], object], request: pytest.FixtureRequest
) -> None:
    """What is copied from a page is read as it stands."""
    table = f"[[{request.node.callspec.id}]]"
    examples = re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.DOTALL | re.MULTILINE)
    (example,) = (one for one in examples if table in one)
    assert parse(example)
