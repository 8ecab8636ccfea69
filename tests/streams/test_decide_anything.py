"""Does everything hold whatever anybody sends in whatever order?"""

import os
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from schemas.agency import is_below
from schemas.case import MEMBERS_MAX, OFFER_OVER, Case, CaseId, Evidence, Kind, Refusal, Severity, State
from schemas.command import (
    Accept,
    Acknowledge,
    Action,
    Actor,
    AddNote,
    Answer,
    Assign,
    Close,
    Confirm,
    DeadlinePassed,
    Dismiss,
    Dispatch,
    Dispute,
    ErasePerson,
    Merge,
    OfferStepped,
    Open,
    Rate,
    Reject,
    Reopen,
    Reply,
    Resolve,
    Resume,
    Reveal,
    ReviewViolation,
    SetAvailability,
    Silence,
    Split,
    TakeStep,
    Triage,
    Unmerge,
    Wait,
    WithdrawOffer,
)
from schemas.event import (
    CaseStepped,
    FeedbackAnswer,
    FeedbackAnswered,
    FeedbackClosed,
    FeedbackOutcome,
    FeedbackRated,
    FeedbackReopened,
    FeedbackReopening,
    Rating,
)
from schemas.identity import Seen, may_see
from streams.core.consequence import SYSTEM_ACTOR
from streams.core.decide import deadlines_of
from streams.core.life_cycle import PERMITS, move_of
from streams.core.merging import leads_to
from tests.schemas.case_pack import AT
from tests.streams.case_world import (
    DISPATCHER,
    EVERYBODY,
    OPERATOR,
    SITE,
    WATCHED,
    World,
)

SUBJECTS = ("r1", "r2", "r3", "r4")
CATEGORIES = [category.id for category in SITE.cases.category] if SITE.cases is not None else []
AGENCIES = [*SITE.agencies, "nonsense"]
PLACES = (None, "geo:21.1,105.1", "geo:21.1003,105.1", "geo:21.3,105.3", "geo:99,200")
"""The last is none on earth: it may stand in what was let in before that was looked at."""

MOMENTS = (
    AT,
    AT + timedelta(days=100),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-14))),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
)
"""The last two cannot be said in UTC."""

PROOF = [Evidence(ref="blob:after")]

agencies, categories = st.sampled_from(AGENCIES), st.sampled_from(CATEGORIES)
units = st.sampled_from([*SITE.units, "z"])
offers = st.integers(1, 4)
evidence = st.sampled_from([[], PROOF])

PLAYED = st.sampled_from([False] * 5 + [True])
"""Whether a command is given in a drill."""

FEW = 3
"""Signals of a case, so that some are too many: nobody sends 500 by chance."""

LATE = st.sampled_from([0, 0, 0, 120, 3600, 86_400])
"""How many seconds ago a fact was that is told of now."""

ONWARD: list[Action] = [
    Triage(),
    Triage(category="conduct", accused_agency="roads"),
    Triage(category="crack"),
    Assign(agency="roads"),
    Assign(agency="inspection"),
    Accept(),
    Wait(until="citizen", text="?"),
    Reply(text="here"),
    Resolve(result="mended", evidence=PROOF),
    Resolve(result="mended"),
    Confirm(),
    Dispute(reason="no"),
    Rate(score=4),
    Close(evidence=PROOF),
    Reopen(reason="no"),
    ReviewViolation(upheld=True),
]


def actions(other: CaseId, members: list[str]) -> st.SearchStrategy[Action]:
    """Any action; those that name another case name this one."""
    made: list[st.SearchStrategy[Any]] = [
        st.builds(
            Triage,
            category=st.none() | categories,
            severity=st.none() | st.sampled_from(Severity),
            accused_agency=st.none() | agencies,
            publish=st.none() | st.booleans(),
        ),
        st.builds(Assign, agency=agencies),
        st.just(Accept()),
        st.just(Merge(other=other)),
        st.just(Unmerge(other=other)),
        st.just(Dismiss(other=other)),
        st.builds(Dispatch, unit=units, force=st.booleans(), reason=st.just("it has to")),
        st.builds(WithdrawOffer, offer=offers),
        st.builds(
            OfferStepped,
            offer=offers,
            step=st.sampled_from(["delivered", "seen", "accepted", "declined", "en_route", "on_scene", "done"]),
            result=st.sampled_from(["", "mended"]),
            evidence=evidence,
        ),
        st.builds(Wait, until=st.sampled_from(["citizen", "agency"]), text=st.just("?"), agency=st.none() | agencies),
        st.just(Resume()),
        st.just(Answer(text="soon")),
        st.builds(AddNote, text=st.sampled_from(["", "seen"]), evidence=evidence),
        st.builds(Resolve, result=st.just("mended"), evidence=evidence),
        st.builds(Close, result=st.sampled_from(["", "mended"]), evidence=evidence),
        st.just(Reject(reason="no")),
        st.just(Reopen(reason="no")),
        st.just(Acknowledge()),
        st.builds(ReviewViolation, upheld=st.booleans()),
        st.builds(TakeStep, step=st.sampled_from(["owner_found", "notice_sent"])),
        st.builds(Reveal, what=st.sampled_from(["plate", "reporter"]), reason=st.just("to know")),
        st.just(Confirm()),
        st.just(Dispute(reason="no")),
        st.builds(Rate, score=st.integers(1, 5)),
        st.builds(Reply, text=st.just("here"), evidence=evidence),
    ]
    if members:
        made.append(st.builds(Split, members=st.lists(st.sampled_from(members), min_size=1, unique=True)))
    return st.one_of(made)


def _may(actor: Actor, case: Case, action: Action) -> bool:
    """Whether somebody sees the case and has a role for the action."""
    seen = Seen(
        areas=case.areas,
        agency=case.agency,
        accused_agency=case.accused_agency,
        units=case.units,
        tracking=case.tracking,
    )
    return may_see(actor, seen) and bool(set(actor.roles) & PERMITS[move_of(action)].roles)


class Handling(RuleBasedStateMachine):
    """Anything in any order. `World` holds every outcome to what every outcome has to keep to."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(WATCHED)
        self.signals: set[tuple[str, str]] = set()

    @rule(
        category=categories,
        subject=st.sampled_from(SUBJECTS),
        place=st.sampled_from(PLACES),
        accused=st.none() | agencies,
        agency=st.none() | agencies,
        exercise=st.sampled_from([False] * 9 + [True]),
    )
    def a_report_comes(
        self, category: str, subject: str, place: str | None, accused: str | None, agency: str | None, exercise: bool
    ) -> None:
        self.world.report(category, subject, place=place, accused_agency=accused, agency=agency, exercise=exercise)

    @rule(
        kind=st.sampled_from(["fire", "red_light", "overload"]),
        subject=st.sampled_from(("i1", "i2")),
        place=st.sampled_from(PLACES),
    )
    def a_camera_sees_something(self, kind: str, subject: str, place: str | None) -> None:
        self.world.incident(kind, subject, place=place, plate="29A-***.45")

    @rule(state=st.sampled_from(["firing", "resolved"]))
    def an_alert_changes(self, state: str) -> None:
        self.world.alert(state)

    @rule(subject=st.sampled_from(SUBJECTS), what=st.integers(0, 3))
    def its_source_says_something(self, subject: str, what: int) -> None:
        cls, data = (
            (FeedbackAnswered, FeedbackAnswer(category="other")),
            (FeedbackClosed, FeedbackOutcome(category="other")),
            (FeedbackReopened, FeedbackReopening(category="other")),
            (FeedbackRated, Rating(score=3)),
        )[what]
        self.world.signal(cls, data, subject)

    @rule(data=st.data(), takes_back=st.booleans(), category=categories)
    def its_source_corrects_itself(self, data: st.DataObject, takes_back: bool, category: str) -> None:
        members = [(one.id, case.id) for case in self.world.cases.values() for one in case.members]
        if members:
            id_, _ = data.draw(st.sampled_from(members))
            subject = data.draw(st.sampled_from(SUBJECTS))
            name = "withdraws" if takes_back else "supersedes"
            self.world.report(category, subject, accused_agency="roads", **{name: id_})

    @precondition(lambda self: self.world.cases)
    @rule(data=st.data(), sees=st.sampled_from([0, 0, 1, 2, 5]), late=LATE, played=PLAYED)
    def anybody_asks_anything(self, data: st.DataObject, sees: int, late: int, played: bool) -> None:
        """Mostly what they may not, sometimes about a version that is not the current one."""
        case, action = self._drawn(data)
        actor = data.draw(st.sampled_from(EVERYBODY))
        self._ask(case.id, action, actor, None if sees == 0 else max(1, case.version + 2 - sees), late, played)

    @precondition(lambda self: self.world.cases)
    @rule(data=st.data(), late=LATE, played=PLAYED)
    def somebody_who_may_asks(self, data: st.DataObject, late: int, played: bool) -> None:
        """Anything, of a case that the person may see, in a role that may ask for it."""
        case, action = self._drawn(data)
        who = [actor for actor in EVERYBODY if _may(actor, case, action)]
        if who:
            self._ask(case.id, action, data.draw(st.sampled_from(who)), None, late, played)

    @precondition(lambda self: self.world.cases)
    @rule(data=st.data(), steps=st.lists(st.sampled_from(ONWARD), min_size=1, max_size=4))
    def a_case_gets_on(self, data: st.DataObject, steps: list[Action]) -> None:
        """By steps that cases usually take, so that they get to where they seldom get by chance."""
        case = data.draw(st.sampled_from(sorted(self.world.cases)))
        for action in steps:
            who = [actor for actor in EVERYBODY if _may(actor, self.world.cases[case], action)]
            if who:
                self._ask(case, action, who[0], None, 0)

    @precondition(lambda self: self.world.cases)
    @rule(data=st.data(), unit=st.sampled_from(sorted(SITE.units)))
    def a_unit_is_sent(self, data: st.DataObject, unit: str) -> None:
        """Whether it can or not: what is asked for is refused where it has to be."""
        case = data.draw(st.sampled_from(sorted(self.world.cases)))
        self._ask(case, Dispatch(unit=unit, force=True, reason="it has to"), DISPATCHER, None, 0)

    @precondition(lambda self: any(case.units for case in self.world.cases.values()))
    @rule(data=st.data(), late=LATE, played=PLAYED)
    def a_unit_says_how_far_it_is(self, data: st.DataObject, late: int, played: bool) -> None:
        """With offers that are there, so that cases get somewhere."""
        at = [(case.id, offer) for case in self.world.cases.values() for offer in case.offers]
        case, offer = data.draw(st.sampled_from(at))
        step = data.draw(st.sampled_from(["seen", "accepted", "en_route", "on_scene", "done", "declined"]))
        action = OfferStepped(offer=offer.number, step=step, result="mended", evidence=PROOF)
        actor = next(one for one in EVERYBODY if one.unit == offer.unit)
        self._ask(case, action, actor, None, late, played)

    @rule(subject=st.sampled_from(SUBJECTS), accused=st.none() | agencies, exercise=PLAYED)
    def a_subject_is_reported_again_and_again(self, subject: str, accused: str | None, exercise: bool) -> None:
        """Until a case is full, where a few signals fill it."""
        for _ in range(FEW):
            self.world.report("pothole", subject, accused_agency=accused, exercise=exercise)

    @rule(
        unit=units,
        status=st.sampled_from(["available", "busy", "off"]),
        actor=st.sampled_from(EVERYBODY),
        played=PLAYED,
    )
    def a_unit_says_whether_it_can_be_sent(self, unit: str, status: Any, actor: Actor, played: bool) -> None:
        before = dict(self.world.units)
        self.world.ask(f"unit:{unit}", SetAvailability(status=status), actor, exercise=played)
        assert not played or self.world.units == before, "a unit that plays is as it was"

    @rule(category=categories, accused=st.none() | agencies, actor=st.sampled_from(EVERYBODY))
    def somebody_opens_a_case(self, category: str, accused: str | None, actor: Actor) -> None:
        self.world.open(category, actor, accused_agency=accused)

    @rule(
        subject=st.sampled_from(["alert:rule", "person:x", "unit:a", "nothing", "unit:", ""]),
        action=st.sampled_from(
            [
                *(Silence(until=until, reason="x") for until in MOMENTS),
                *(SetAvailability(status="off", until=until) for until in MOMENTS),
                ErasePerson(reason="x"),
                SetAvailability(status="off"),
                Open(category="other", title="x"),
                Accept(),
            ]
        ),
        actor=st.sampled_from(EVERYBODY),
    )
    def somebody_asks_about_something_else(self, subject: str, action: Action, actor: Actor) -> None:
        self.world.ask(subject, action, actor)

    @rule(hours=st.sampled_from([0.01, 0.5, 3, 30, 200]))
    def time_passes(self, hours: float) -> None:
        self.world.pass_time(hours=hours)

    @precondition(lambda self: self.world.fired)
    @rule(data=st.data())
    def a_deadline_comes_again(self, data: st.DataObject) -> None:
        """By another id, as nothing but a mistake could send it: it is not due any more."""
        case, name, due_at = data.draw(st.sampled_from(sorted(self.world.fired)))
        if name.startswith("unattended") or any(
            (due.name, due.due_at) == (name, due_at) for due in self._due_of(CaseId(case))
        ):
            return
        action, played = DeadlinePassed(name=name, due_at=due_at), self.world.cases[CaseId(case)].exercise
        again = self.world.ask(case, action, SYSTEM_ACTOR, exercise=played)
        assert again.refusal is Refusal.TOO_LATE

    @precondition(lambda self: len(self.world.cases) > 1)
    @rule(data=st.data())
    def merged_and_taken_apart(self, data: st.DataObject) -> None:
        """Leaves what there was."""
        cases = st.sampled_from(sorted(self.world.cases))
        case, other = data.draw(st.lists(cases, min_size=2, max_size=2, unique=True))
        before = [self.world.cases[case], self.world.cases[other]]
        if self.world.ask(case, Merge(other=other), OPERATOR).refusal is not None:
            return
        if self.world.ask(case, Unmerge(other=other), OPERATOR).refusal is not None:
            return
        for old in before:
            new = self.world.cases[old.id]
            assert new.version == old.version + 2
            changed = {
                name
                for name in old.__struct_fields__
                if getattr(old, name) != getattr(new, name) and name not in ("version", "changed_at")
            }
            assert changed <= {"parted"}

    @invariant()
    def no_signal_is_lost_or_in_two_cases(self) -> None:
        held = [
            (one.source, one.id)
            for case in self.world.cases.values()
            if case.state is not State.MERGED
            for one in case.members
        ]
        assert len(set(held)) == len(held)
        assert self.signals <= set(held)
        self.signals = set(held)

    @invariant()
    def what_corrects_a_signal_would_find_it(self) -> None:
        for case in self.world.cases.values():
            for one in case.members if case.state is not State.MERGED else ():
                home = self.world.homes[one.source, one.id]
                found = [leads_to(self.world.cases, id_) for id_ in (home, one.case)]
                assert case in found, f"the signal {one.id} of {case.id} is looked for elsewhere"

    @invariant()
    def figures_know_complaints_for_what_they_are(self) -> None:
        for event in self.world.countable():
            if isinstance(event, CaseStepped):
                case = self.world.cases[CaseId(event.data.case)]
                assert (event.data.kind == Kind.CONDUCT) == (case.kind is Kind.CONDUCT)

    @invariant()
    def no_unit_is_sent_twice(self) -> None:
        at: dict[str, set[CaseId]] = {}
        for case in self.world.cases.values():
            for offer in case.offers:
                if offer.step not in OFFER_OVER and not case.exercise:
                    at.setdefault(offer.unit, set()).add(case.id)
        for name, state in self.world.units.items():
            assert set(state.cases) == at.get(name, set())
        for name, cases in at.items():
            assert len(cases) <= SITE.units[name].capacity

    @invariant()
    def nothing_is_visible_to_the_accused(self) -> None:
        for case in self.world.cases.values():
            if case.kind is not Kind.CONDUCT:
                continue
            seen = Seen(areas=case.areas, agency=case.agency, accused_agency=case.accused_agency, units=case.units)
            for actor in EVERYBODY:
                unit = SITE.units.get(actor.unit or "")
                for agency in (actor.agency, None if unit is None else unit.agency):
                    if agency is not None and is_below(SITE.agencies, agency, case.accused_agency or ""):
                        assert not may_see(actor, seen)

    def _drawn(self, data: st.DataObject) -> tuple[Case, Action]:
        """A case, and any action."""
        cases = st.sampled_from(sorted(self.world.cases))
        case = self.world.cases[data.draw(cases)]
        return case, data.draw(actions(data.draw(cases), [one.id for one in case.members]))

    def _ask(
        self, case: CaseId, action: Action, actor: Actor, version: int | None, late: int, played: bool | None = None
    ) -> None:
        """Without `played` a drill's case is asked for something as part of the drill."""
        is_drill = self.world.cases[case].exercise
        played = is_drill if played is None else played
        action, time = replace(action, version=version), self.world.now - timedelta(seconds=late)
        event = self.world.command_event(action, actor, case, time=time, exercise=played)
        real, had = self._real(), dict(self.world.units)
        decided = self.world.take(event)
        if played:
            assert (self._real(), self.world.units) == (real, had), "a drill touches nothing real"
        if decided.refusal is None:
            assert played == is_drill, "what is real and what is played do not touch each other"
            assert set(actor.roles) & PERMITS[move_of(action)].roles
        assert self.world.take(event) == type(decided)(), "the same command twice is applied once"

    def _real(self) -> dict[CaseId, Case]:
        return {id_: case for id_, case in self.world.cases.items() if not case.exercise}

    def _due_of(self, case: CaseId) -> list[Any]:
        return deadlines_of(self.world.cases[case], SITE)


@pytest.fixture(params=[MEMBERS_MAX, FEW], ids=["cases as large as they may be", "cases that are soon full"])
def members_max(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many signals a case may have."""
    for module in ("case_signals", "merging"):
        monkeypatch.setattr(f"streams.core.{module}.MEMBERS_MAX", request.param)
    return request.param


def test_anything(members_max: int) -> None:
    run_state_machine_as_test(
        Handling,
        settings=settings(
            max_examples=30 if members_max == MEMBERS_MAX else 15,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )


@pytest.mark.soak
@pytest.mark.usefixtures("members_max")
def test_anything_for_long() -> None:
    run_state_machine_as_test(
        Handling,
        settings=settings(
            max_examples=25 * int(os.environ.get("MINUTES", "60")),
            stateful_step_count=150,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
