"""Does the life cycle let everyone do what they are there for, and nobody anything else?"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest

from schemas.case import OPEN, CaseId, Evidence, Kind, OfferStep, Refusal, Severity, State
from schemas.command import (
    Accept,
    Acknowledge,
    Action,
    AddNote,
    Answer,
    AnyAction,
    Assign,
    Close,
    Confirm,
    Dispatch,
    Dispute,
    Merge,
    OfferStepped,
    Rate,
    Reject,
    Reopen,
    Reply,
    Resolve,
    Resume,
    Reveal,
    ReviewViolation,
    Split,
    TakeStep,
    Triage,
    Wait,
    WithdrawOffer,
    name_of,
)
from schemas.identity import Role
from streams.core.consequence import SYSTEM_ACTOR
from streams.core.decide import decide
from streams.core.life_cycle import BEFORE_FIELD, PERMITS, TABLE, To, move_of
from streams.core.life_cycle_table import commands_as_markdown, life_cycle_as_markdown, permits_as_markdown
from streams.core.scene import Scene
from tests.schemas.case_pack import site
from tests.streams.case_world import (
    AT_PROVINCE,
    AT_ROADS,
    CITIZEN,
    COLLEAGUE,
    COMMUNE,
    DISPATCHER,
    EVERYBODY,
    OPERATOR,
    PACK,
    SITE,
    UNIT,
    World,
)

PROOF = [Evidence(ref="blob:after")]
STEPS = ("delivered", "seen", "accepted", "declined", "en_route", "on_scene", "done")


def _offered(world: World) -> CaseId:
    case = world.report("pothole")
    world.do(case, Dispatch(unit="a"), DISPATCHER)
    return case


def _stepped(world: World, *steps: str) -> CaseId:
    case = _offered(world)
    for step in steps:
        world.do(case, OfferStepped(offer=1, step=step), UNIT["a"])  # pyright: ignore[reportArgumentType]
    return case


def _done(world: World, *actions: Action) -> CaseId:
    case = world.report("pothole")
    for action in actions:
        world.do(case, action, CITIZEN if isinstance(action, Confirm | Dispute) else OPERATOR)
    return case


def _merged(world: World) -> CaseId:
    case, other = world.report("crack"), world.report("crack", "r2")
    world.do(case, Merge(other=other))
    return other


RESOLVE = Resolve(result="mended", evidence=PROOF)
WAYS: dict[State, Callable[[World], CaseId]] = {
    State.NEW: lambda world: world.report("crack"),
    State.TRIAGED: lambda world: world.do(world.report("crack"), Triage()).id,
    State.ASSIGNED: _offered,
    State.ACCEPTED: lambda world: _stepped(world, "accepted"),
    State.EN_ROUTE: lambda world: _stepped(world, "en_route"),
    State.ON_SCENE: lambda world: _stepped(world, "on_scene"),
    State.WAITING_CITIZEN: lambda world: _done(world, Wait(until="citizen", text="where?")),
    State.WAITING_AGENCY: lambda world: _done(world, Wait(until="agency", text="when?")),
    State.RESOLVED: lambda world: _done(world, RESOLVE),
    State.CONFIRMED: lambda world: _done(world, RESOLVE, Confirm()),
    State.CLOSED: lambda world: _done(world, RESOLVE, Confirm(), Close()),
    State.REJECTED: lambda world: _done(world, Reject(reason="no")),
    State.REOPENED: lambda world: _done(world, RESOLVE, Dispute(reason="no")),
    State.MERGED: _merged,
}
"""How a case gets into each state."""

ACTIONS: list[Action] = [
    Triage(),
    Assign(agency="power"),
    Accept(),
    Merge(other=CaseId("nowhere")),
    Split(members=["nothing"]),
    Dispatch(unit="b"),
    WithdrawOffer(offer=1),
    *(OfferStepped(offer=1, step=step) for step in STEPS),  # pyright: ignore[reportArgumentType]
    Wait(until="citizen", text="?"),
    Wait(until="agency", text="?"),
    Resume(),
    Answer(text="soon"),
    AddNote(text="seen"),
    RESOLVE,
    Close(result="mended", evidence=PROOF),
    Reject(reason="no"),
    Reopen(reason="no"),
    Acknowledge(),
    ReviewViolation(upheld=True),
    TakeStep(step="owner_found"),
    Reveal(what="reporter", reason="to call back"),
    Confirm(),
    Dispute(reason="no"),
    Rate(score=3),
    Reply(text="here"),
]


@pytest.mark.parametrize("state", State)
def test_every_action_by_everyone_in_every_state(state: State) -> None:
    """What has no row is refused, what somebody may not do is refused, and each outcome is as the table says."""
    world = World()
    id_ = WAYS[state](world)
    case = world.cases[id_]
    assert case.state is state
    if case.tracking and state is State.CLOSED:
        world.pass_time(days=8)
    for action in ACTIONS:
        move = move_of(action)
        for actor in EVERYBODY:
            event = world.command_event(action, actor, id_)
            cases = dict(world.cases)
            scene = Scene(site=SITE, cases=cases, units=world.units)
            decided = decide(event, COMMUNE, world.now, scene)
            subject = decided.subject
            if decided.refusal is Refusal.UNKNOWN_CASE and subject is None:
                continue
            assert subject is not None
            may = bool(set(actor.roles) & PERMITS[move].roles)
            assert (decided.refusal is Refusal.FORBIDDEN) <= (not may or isinstance(action, Reveal))
            if not may:
                assert decided.refusal is Refusal.FORBIDDEN
                continue
            rule = TABLE.get((cases[CaseId(subject)].state, move))
            if rule is None:
                assert decided.refusal in (Refusal.IMPOSSIBLE, Refusal.ALREADY)
            elif decided.refusal is None:
                after = next((one for one in decided.cases if one.id == subject), cases[CaseId(subject)])
                if isinstance(rule.to, State):
                    assert after.state is rule.to
                if rule.to is To.SAME:
                    assert after.state is cases[CaseId(subject)].state
                assert decided.entries, "whatever is done is on the timeline"


@pytest.mark.parametrize("state", State)
def test_a_pack_that_no_longer_knows_what_a_case_is_about(state: State) -> None:
    """Areas, agencies, categories and units go; the cases that name them are still decided about."""
    world = World()
    case = WAYS[state](world)
    world.site = site(
        PACK
        | {
            "areas.csv": "code,parent,kind,name_vi,name_en\nx,,province,Tỉnh,Province\n",
            "agencies.toml": '[[agency]]\nid = "power"\nnames = { en = "Power" }\n',
            "cases.toml": 'other = "new"\n[[category]]\nid = "new"\nnames = { en = "New" }\n',
            "units.toml": "",
        }
    )
    for action in ACTIONS:
        for actor in (OPERATOR, DISPATCHER, CITIZEN, UNIT["a"]):
            before = dict(world.cases), dict(world.units), set(world.fired)
            world.ask(case, action, actor)
            world.pass_time(hours=1)
            world.cases, world.units, world.fired = before


def test_a_complaint_stays_one_when_its_category_is_gone() -> None:
    world = World()
    case = world.report("conduct", accused_agency="roads")
    world.site = site(PACK | {"cases.toml": 'other = "new"\n[[category]]\nid = "new"\nnames = { en = "New" }\n'})
    after = world.do(case, Triage(severity=Severity.MAJOR), AT_PROVINCE)
    assert (after.kind, after.accused_agency, after.severity) == (Kind.CONDUCT, "roads", Severity.MAJOR)


def test_whoever_sees_can_get_on_from_every_open_state() -> None:
    """From every state in which somebody has something to do a way leads to an end."""
    onward = {state: {rule.to for (at, _), rule in TABLE.items() if at is state} for state in State}
    ends = {State.CLOSED, State.REJECTED}
    reaching = set(ends)
    while more := {state for state, to in onward.items() if state not in reaching and to & reaching}:
        reaching |= more
    assert reaching >= OPEN


def test_every_action_has_a_permit() -> None:
    for action in get_args(AnyAction):
        name = name_of(action)
        assert any(move == name or move.startswith((f"{name}_", "unit_")) for move in PERMITS), name
    assert all(move in PERMITS for _, move in TABLE)
    assert all(rule.why for rule in TABLE.values())


def test_only_the_centre_makes_what_happens_by_itself() -> None:
    own = {move for move, permit in PERMITS.items() if permit.roles == {Role.SYSTEM}}
    assert own >= {"deadline", "unattended", "source_closed", "over"}
    assert all(Role.AUDITOR not in permit.roles for permit in PERMITS.values())


@pytest.mark.parametrize("state", BEFORE_FIELD)
@pytest.mark.parametrize("step", [OfferStep.ACCEPTED, OfferStep.EN_ROUTE, OfferStep.ON_SCENE])
def test_one_unit_takes_the_case_where_the_table_says(state: State, step: OfferStep) -> None:
    world = World()
    case = WAYS[state](world)
    if not world.cases[case].units:
        world.do(case, Dispatch(unit="a"), DISPATCHER)
    at = world.cases[case].state
    rule = TABLE[at, f"unit_{step}"]
    offer = world.cases[case].offers[-1].number
    after = world.do(case, OfferStepped(offer=offer, step=step.value), UNIT["a"])  # pyright: ignore[reportArgumentType]
    assert after.state is rule.to


@pytest.mark.parametrize("table", [life_cycle_as_markdown, permits_as_markdown, commands_as_markdown])
def test_the_page_shows_what_holds(table: Callable[[], str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "cases.md").read_text()
    assert table() in page


def test_a_duplicate_by_another_id_does_nothing_twice() -> None:
    world = World()
    case = world.report("pothole")
    world.do(case, Accept(), AT_ROADS)
    before = world.cases[case]
    assert world.ask(case, Accept(), AT_ROADS).refusal is Refusal.ALREADY
    assert world.cases[case] == before


def test_a_deadline_has_to_be_due() -> None:
    """Nobody makes time pass by sending a deadline early."""
    world = World()
    world.report("pothole")
    due = world.next_due()
    assert due is not None
    assert world.now < due.due_at
    assert world.fire(due).refusal is Refusal.FROM_THE_FUTURE
    world.now = due.due_at + timedelta(seconds=1)
    assert world.fire(due).refusal is None


def test_who_makes_what_happens_by_itself_is_the_centre() -> None:
    world = World()
    case, other = world.report("crack"), world.report("crack", "r2")
    assert world.ask(case, Merge(other=other), SYSTEM_ACTOR).refusal is None
    assert world.ask(case, Reject(reason="no"), SYSTEM_ACTOR).refusal is Refusal.FORBIDDEN
    assert world.ask(case, Reject(reason="no"), COLLEAGUE).refusal is None
