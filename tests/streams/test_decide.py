"""Does each event do to a case what it should, and nothing to a case that it should not?"""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.case import (
    EVIDENCE_MAX,
    EVIDENCE_REPORTED_MAX,
    Case,
    CaseId,
    ClockName,
    Evidence,
    Kind,
    Refusal,
    Severity,
    State,
)
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
    Dismiss,
    Dispatch,
    Dispute,
    ErasePerson,
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
    FeedbackReceived,
    FeedbackReopened,
    FeedbackReopening,
    Rating,
)
from schemas.identity import Role
from schemas.unit import UnitStatus
from streams.core.consequence import SYSTEM_ACTOR
from streams.core.decide import Decided
from tests.schemas.case_pack import site
from tests.streams.case_world import (
    ADMINISTRATOR,
    AT_INSPECTION,
    AT_POWER,
    AT_PROVINCE,
    AT_ROADS,
    AUDITOR,
    CASES,
    CITIZEN,
    COLLEAGUE,
    DISPATCHER,
    ELSEWHERE,
    EVERYBODY,
    LEADER,
    OPERATOR,
    OTHER_TRACKING,
    PACK,
    PLACE,
    SEES_ALL_BUT_BELOW,
    SITE,
    TRACKING,
    UNIT,
    World,
)

PROOF = [Evidence(ref="blob:after")]


def clock(case: Case, name: ClockName) -> Any:
    return next(one for one in case.clocks if one.name is name)


def refusal(world: World, case: str, action: Action, actor: Actor = OPERATOR, **envelope: Any) -> Refusal | None:
    return world.ask(case, action, actor, **envelope).refusal


def on_scene(world: World, category: str = "pothole") -> CaseId:
    """A case with unit a on the scene."""
    case = world.report(category)
    world.do(case, Dispatch(unit="a"), DISPATCHER)
    for step in ("accepted", "en_route", "on_scene"):
        world.do(case, OfferStepped(offer=1, step=step), UNIT["a"])
    return case


def complaint(world: World, accused: str = "roads", **other: Any) -> CaseId:
    return world.report("conduct", accused_agency=accused, **other)


def corrected(decided: Decided) -> FeedbackReceived:
    """The report as it is told once more."""
    (found,) = [event for event in decided.signals if isinstance(event, FeedbackReceived)]
    return found


class TestSignals:
    def test_a_report_opens_one_case(self) -> None:
        world = World()
        case = world.report("crack", title="A crack")
        opened = world.cases[case]
        assert (opened.state, opened.kind, opened.agency) == (State.NEW, Kind.SERVICE, None)
        assert opened.title == "A crack"
        assert opened.members[0].subscriber == "p" * 64
        assert {one.name for one in opened.clocks} == set(ClockName)
        assert [step for step, *_ in world.steps] == ["opened"]

    def test_whose_category_it_is_gets_it_without_being_asked(self) -> None:
        world = World()
        assert world.cases[world.report("pothole")].state is State.ASSIGNED
        assert world.told("assigned") == ["agency:roads"]

    def test_a_source_may_name_the_agency(self) -> None:
        world = World()
        assert world.cases[world.report("pothole", agency="power")].agency == "power"
        assert world.cases[world.report("crack", "r2", agency="unheard of")].agency is None

    def test_what_is_not_declared_is_other(self) -> None:
        world = World()
        assert world.cases[world.report("whatever")].category == "other"

    def test_some_categories_open_nothing(self) -> None:
        world = World()
        world.report("chatter")
        assert not world.cases

    def test_without_declared_cases_nothing_opens(self) -> None:
        world = World(replace(SITE, cases=None))
        world.report()
        assert not world.cases

    def test_a_camera_opens_an_incident_or_a_violation(self) -> None:
        world = World()
        fire = world.cases[world.incident("fire")]
        assert (fire.kind, fire.severity) == (Kind.INCIDENT, Severity.MAJOR)
        violation = world.cases[world.incident("red_light", "i2", plate="29A-***.45")]
        assert (violation.kind, violation.plate, violation.published) == (Kind.VIOLATION, "29A-***.45", False)
        assert violation.evidence[0].ref == "blob:1"

    def test_seen_again_is_on_the_timeline_and_reopens(self) -> None:
        world = World()
        case = world.incident()
        world.incident()
        assert world.said(case)[-1] == "signal"
        assert len(world.cases[case].members) == 2
        world.do(case, Reject(reason="no fire"))
        world.incident()
        assert world.cases[case].state is State.REOPENED

    def test_an_alert_opens_and_resolves(self) -> None:
        world = World()
        case = world.alert()
        assert world.cases[case].kind is Kind.ALERT
        world.do(case, Acknowledge(), LEADER)
        world.alert("resolved")
        assert world.cases[case].state is State.RESOLVED
        world.alert()
        assert world.cases[case].state is State.REOPENED
        assert world.cases[case].acknowledged_by is None
        world.alert("resolved")
        world.pass_time(days=8)
        assert world.cases[case].state is State.CLOSED

    def test_an_alert_that_is_over_opens_nothing(self) -> None:
        world = World()
        world.alert("resolved")
        assert not world.cases

    def test_what_the_source_says_was_done_is_so(self) -> None:
        world = World()
        case = world.report()
        world.signal(FeedbackAnswered, FeedbackAnswer(category="other"))
        assert world.cases[case].answered_at == world.now
        assert clock(world.cases[case], ClockName.FIRST_ANSWER).stopped_at is not None
        world.signal(FeedbackClosed, FeedbackOutcome(category="other", result="swept"))
        assert (world.cases[case].state, world.cases[case].result) == (State.CLOSED, "swept")
        world.signal(FeedbackReopened, FeedbackReopening(category="other"))
        assert world.cases[case].state is State.REOPENED
        world.signal(FeedbackRated, Rating(score=2))
        assert world.cases[case].rating == 2
        assert [step for step, *_ in world.steps] == ["opened", "answered", "resolved", "closed", "reopened", "rated"]

    def test_a_step_of_what_never_opened_concerns_no_case(self) -> None:
        world = World()
        assert world.signal(FeedbackClosed, FeedbackOutcome(category="other")).subject is None
        assert not world.cases

    def test_a_withdrawn_report_ends_its_case(self) -> None:
        world = World()
        case = world.report(id="first")
        world.report(withdraws="first")
        assert world.cases[case].state is State.REJECTED

    def test_a_withdrawn_report_leaves_the_others(self) -> None:
        world = World()
        case = world.report(id="first")
        world.report(id="second")
        world.report(withdraws="first")
        assert world.cases[case].state is State.NEW

    def test_a_correction_by_the_source_holds_until_somebody_has_judged(self) -> None:
        world = World()
        case = world.report("other", id="first")
        world.report("crack", supersedes="first")
        assert world.cases[case].category == "crack"
        world.do(case, Triage(severity=Severity.MAJOR))
        world.report("pothole", supersedes="first")
        assert world.cases[case].category == "crack"

    def test_a_correction_that_makes_it_a_complaint_always_holds(self) -> None:
        world = World()
        case = world.report("pothole", id="first")
        world.do(case, Accept(), AT_ROADS)
        world.report("conduct", supersedes="first", accused_agency="roads")
        assert (world.cases[case].kind, world.cases[case].agency) == (Kind.CONDUCT, "province")

    def test_a_drill_touches_nothing_real(self) -> None:
        world = World()
        case = world.report()
        before = world.cases[case]
        world.report(exercise=True)
        assert world.cases[case] == before
        played = world.ask(case, Reject(reason="part of the drill"), exercise=True)
        assert played.refusal is Refusal.IMPOSSIBLE
        assert world.cases[case] == before

    def test_a_drills_case_takes_nothing_that_is_not_said_to_be_of_the_drill(self) -> None:
        world = World()
        drill = world.report(exercise=True)
        before = world.cases[drill]
        meant = world.ask(drill, Reject(reason="not our street"))
        assert meant.refusal is Refusal.IMPOSSIBLE
        assert meant.detail.startswith("exercise: the case is a drill's")
        assert world.cases[drill] == before
        assert world.do(drill, Reject(reason="not our street"), exercise=True).state is State.REJECTED

    def test_a_drill_takes_no_unit_and_no_alert_rule_away(self) -> None:
        world = World()
        world.report("pothole", "drill", exercise=True)
        (drill,) = world.cases
        assert world.do(drill, Dispatch(unit="a"), DISPATCHER, exercise=True).units == ("a",)
        assert world.ask("unit:a", SetAvailability(status="off"), UNIT["a"], exercise=True).refusal is None
        assert world.units == {}
        real = world.report("pothole")
        assert world.do(real, Dispatch(unit="a"), DISPATCHER).units == ("a",)
        assert world.units["a"].cases == (real,)
        world.do(drill, OfferStepped(offer=1, step="declined"), UNIT["a"], exercise=True)
        assert world.units["a"].cases == (real,)

    def test_a_signal_too_many_opens_a_case_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("streams.core.case_signals.MEMBERS_MAX", 2)
        world = World()
        case = world.report()
        world.report()
        world.report()
        assert len(world.cases) == 2
        assert len(world.cases[case].members) == 2

    def test_a_signal_too_many_takes_nobody_elses_case(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its id may be what its source calls another subject, or be made to look like any name of ours."""
        monkeypatch.setattr("streams.core.case_signals.MEMBERS_MAX", 1)
        world = World()
        full = world.report(subject="r1", id="first")
        names = ("r7", "alone\x1fr7", "6:sourcer7")
        theirs = [world.report("crack", subject=name, id=f"of {name}") for name in names]
        before = dict(world.cases)
        world.report(subject="r1", id="r7")
        assert {case: world.cases[case] for case in (full, *theirs)} == before
        (own,) = world.cases.keys() - before.keys()
        assert [member.id for member in world.cases[own].members] == ["r7"]

    def test_what_corrects_a_signal_too_many_finds_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("streams.core.case_signals.MEMBERS_MAX", 1)
        world = World()
        full = world.report(id="first")
        world.report(id="second")
        (own,) = world.cases.keys() - {full}
        world.report("crack", supersedes="second")
        assert (world.cases[own].category, world.cases[full].category) == ("crack", "other")
        world.report(withdraws="second")
        assert (world.cases[own].state, world.cases[full].state) == (State.REJECTED, State.NEW)

    def test_what_corrects_a_signal_that_was_split_off_finds_it(self) -> None:
        world = World()
        case = world.report("other", id="first")
        world.report("other", id="second")
        world.do(case, Split(members=["second"]))
        (part,) = world.cases.keys() - {case}
        world.report("crack", id="c1", supersedes="second")
        assert (world.cases[part].category, world.cases[case].category) == ("crack", "other")
        assert [one.corrected_by for one in world.cases[part].members] == ["c1"]
        # Where the part goes, it goes along; and it comes back with it.
        other = world.report("pothole", "r2", id="third")
        world.do(other, Merge(other=part))
        world.report("fire", id="c2", supersedes="second")
        assert {one.id: one.corrected_by for one in world.cases[other].members} == {"third": None, "second": "c2"}
        world.do(other, Unmerge(other=part))
        world.report("crack", id="c3", supersedes="second")
        assert [one.corrected_by for one in world.cases[part].members] == ["c3"]
        # The split undone.
        world.do(case, Merge(other=part))
        world.report("crack", id="c4", supersedes="second")
        assert {one.id: one.corrected_by for one in world.cases[case].members} == {"first": None, "second": "c4"}
        world.do(case, Unmerge(other=part))
        world.report(withdraws="second")
        assert (world.cases[part].state, world.cases[case].state) == (State.REJECTED, State.NEW)

    def test_what_corrects_a_signal_that_was_merged_and_then_split_off_finds_it(self) -> None:
        world = World()
        case, other = world.report("other", "r1", id="first"), world.report("other", "r2", id="second")
        world.report("other", "r2", id="third")
        world.do(case, Merge(other=other))
        world.do(case, Split(members=["second"]))
        (part,) = world.cases.keys() - {case, other}
        world.report("crack", "r2", id="c1", supersedes="second")
        assert [one.corrected_by for one in world.cases[part].members] == ["c1"]
        world.do(case, Unmerge(other=other))
        world.report("crack", "r2", id="c2", supersedes="second")
        world.report("crack", "r2", id="c3", supersedes="third")
        assert [one.corrected_by for one in world.cases[part].members] == ["c2"]
        assert [one.corrected_by for one in world.cases[other].members] == ["c3"]

    def test_a_subject_that_a_drill_has_used_is_free(self) -> None:
        """Also for what is corrected: a drill knows nothing of what is real."""
        world = World()
        drill = world.report("crack", exercise=True)
        real = world.report("pothole", id="real")
        assert (world.cases[drill].exercise, world.cases[real].exercise) == (True, False)
        world.report("fire", exercise=True, supersedes="real")
        assert world.cases[real].category == "pothole"


class TestWhoMay:
    @pytest.mark.parametrize("actor", EVERYBODY, ids=lambda actor: actor.id)
    def test_a_case_that_one_may_not_see_is_not_there(self, actor: Actor) -> None:
        """Whoever does not see a complaint gets for every action what they get for a case that does not exist."""
        world = World()
        case = complaint(world)
        told = world.ask(case, AddNote(text="let me see"), actor)
        if actor in (AT_PROVINCE, CITIZEN):
            assert told.refusal is not Refusal.UNKNOWN_CASE
            return
        absent = world.ask("nowhere", AddNote(text="let me see"), actor)
        assert told.refusal is absent.refusal is Refusal.UNKNOWN_CASE
        assert told.subject is None
        assert told.detail.replace(case, "nowhere") == absent.detail

    @pytest.mark.parametrize(
        ("action", "actor"),
        [
            pytest.param(Triage(category="crack"), DISPATCHER, id="a dispatcher does not judge"),
            pytest.param(Dispatch(unit="a"), OPERATOR, id="an operator does not dispatch"),
            pytest.param(Resolve(result="done"), LEADER, id="a leader does not resolve"),
            pytest.param(AddNote(text="x"), AUDITOR, id="an auditor only reads"),
            pytest.param(Confirm(), OPERATOR, id="nobody agrees for the citizen"),
            pytest.param(Rate(score=5), OPERATOR, id="nobody is satisfied for the citizen"),
            pytest.param(Close(result="x", evidence=PROOF), CITIZEN, id="a citizen does not close"),
        ],
    )
    def test_what_a_role_may_not(self, action: Action, actor: Actor) -> None:
        world = World()
        assert refusal(world, world.report("crack"), action, actor) is Refusal.FORBIDDEN

    def test_other_areas_and_agencies(self) -> None:
        world = World()
        case = world.report("pothole")
        assert refusal(world, case, Accept(), ELSEWHERE) is Refusal.UNKNOWN_CASE
        assert refusal(world, case, Accept(), AT_POWER) is Refusal.UNKNOWN_CASE
        assert refusal(world, case, Accept(), AT_ROADS) is None

    def test_a_citizen_only_by_the_secret(self) -> None:
        world = World()
        case = world.report("crack")
        other = Actor(id="other", roles=(Role.CITIZEN,), tracking=OTHER_TRACKING)
        assert refusal(world, case, Reply(text="hello"), other) is Refusal.UNKNOWN_CASE
        assert refusal(world, case, Reply(text="hello"), CITIZEN) is None

    def test_a_further_signal_gives_nobody_a_secret_of_the_case(self) -> None:
        world = World()
        case = world.report("pothole")
        world.report("pothole", id="further", tracking=OTHER_TRACKING)
        assert [member.id for member in world.cases[case].members][-1] == "further"
        other = Actor(id="citizen", roles=(Role.CITIZEN,), tracking=OTHER_TRACKING)
        assert refusal(world, case, Reply(text="let me in"), other) is Refusal.UNKNOWN_CASE
        world.do(case, Split(members=["further"]))
        assert all(OTHER_TRACKING not in one.tracking for one in world.cases.values())

    def test_a_further_signal_has_nobody_told_of_the_case(self) -> None:
        """Whoever sends events can name a subject, and anybody as the reporter."""
        world = World()
        case = world.report("pothole", id="first")
        first = world.cases[case].members[0].subscriber
        assert first is not None
        world.report("pothole", id="forged", person="f" * 64)
        world.report("pothole", id="again", person=first)
        assert [one.subscriber for one in world.cases[case].members] == [first, None, first]
        world.report("pothole", id="c", supersedes="forged", person="f" * 64)
        world.do(case, Split(members=["forged"]))
        assert {one.subscriber for held in world.cases.values() for one in held.members} == {first, None}
        # What an operator merges was a case of its own, and whoever reported that goes on being told.
        other = world.report("pothole", "r2", person="e" * 64)
        world.do(case, Merge(other=other))
        assert {one.subscriber for one in world.cases[case].members} == {first, "e" * 64}

    def test_nobody_is_a_citizen_by_name_only(self) -> None:
        """A role in people.toml makes nobody the one who reported it."""
        world = World()
        case = world.report("pothole")
        world.do(case, Resolve(result="mended"))
        posing = replace(OPERATOR, roles=(Role.CITIZEN, Role.OPERATOR))
        assert refusal(world, case, Confirm(), posing) is Refusal.FORBIDDEN

    def test_nobody_else_speaks_for_the_centre(self) -> None:
        world = World()
        case = world.report()
        forged = world.ask(case, Merge(other=case), SYSTEM_ACTOR, source="person:mallory")
        assert forged.refusal is Refusal.FORBIDDEN

    def test_one_opens_in_ones_own_areas(self) -> None:
        world = World()
        world.open(actor=ELSEWHERE)
        assert world.last.refusal is Refusal.FORBIDDEN
        assert not world.cases

    def test_a_clock_from_next_year(self) -> None:
        world = World()
        case = world.report()
        ahead = world.now + timedelta(days=365)
        assert refusal(world, case, Answer(text="hello"), time=ahead) is Refusal.FROM_THE_FUTURE

    def test_a_person_is_erased_by_administrators(self) -> None:
        world = World()
        assert refusal(world, "person:x", ErasePerson(reason="asked"), OPERATOR) is Refusal.FORBIDDEN
        assert world.ask("person:x", ErasePerson(reason="asked"), ADMINISTRATOR).erased == ("x",)
        assert refusal(world, "unit:x", ErasePerson(reason="asked"), ADMINISTRATOR) is Refusal.IMPOSSIBLE


class TestDecisionsAndFacts:
    def test_a_decision_on_an_older_version_is_rejected(self) -> None:
        world = World()
        case = world.report("crack")
        seen = world.cases[case].version
        world.do(case, Triage(category="pothole"))
        assert refusal(world, case, Assign(agency="power", version=seen)) is Refusal.STALE
        assert refusal(world, case, Assign(agency="power", version=world.cases[case].version)) is None

    def test_a_decision_that_arrives_late_without_a_version_is_rejected_too(self) -> None:
        world = World()
        case = world.report("crack")
        given = world.now
        world.pass_time(hours=3)
        world.do(case, Assign(agency="roads"))
        world.pass_time(hours=2)
        assert refusal(world, case, Assign(agency="power"), time=given) is Refusal.STALE
        assert world.cases[case].agency == "roads"
        assert refusal(world, case, Assign(agency="power"), time=world.now) is None

    def test_a_late_word_of_a_citizen_counts(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Resolve(result="mended", evidence=PROOF))
        given = world.now
        world.pass_time(hours=1)
        world.do(case, Triage(severity=Severity.MAJOR))
        assert world.do(case, Confirm(), CITIZEN, time=given).state is State.CONFIRMED

    def test_a_fact_on_an_older_version_holds(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Dispatch(unit="a"), DISPATCHER)
        seen = world.cases[case].version
        world.do(case, Answer(text="we come"))
        world.do(case, OfferStepped(offer=1, step="accepted", version=seen), UNIT["a"])

    def test_a_note_changes_no_version(self) -> None:
        """Else whoever adds to the timeline would make decisions of others stale."""
        world = World()
        case = world.report()
        before = world.cases[case]
        assert world.do(case, AddNote(text="seen")) == before
        assert world.said(case)[-1] == "note"

    def test_an_arrival_that_is_heard_of_late_was_in_time(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Dispatch(unit="a"), DISPATCHER)
        world.do(case, OfferStepped(offer=1, step="accepted"), UNIT["a"])
        begin = world.now
        world.pass_time(minutes=40)
        assert clock(world.cases[case], ClockName.ARRIVAL).breached_at is not None
        there = begin + timedelta(minutes=20)
        world.do(case, OfferStepped(offer=1, step="on_scene"), UNIT["a"], time=there)
        arrival = clock(world.cases[case], ClockName.ARRIVAL)
        assert (arrival.stopped_at, arrival.breached_at) == (there, None)
        assert world.cases[case].arrived_at == there

    @pytest.mark.parametrize(
        ("state", "action"),
        [
            pytest.param(State.NEW, Accept(), id="what nobody has"),
            pytest.param(State.NEW, Resolve(result="done"), id="what nobody has judged"),
            pytest.param(State.NEW, Close(result="done", evidence=PROOF), id="what is not resolved"),
            pytest.param(State.NEW, Resume(), id="what does not wait"),
            pytest.param(State.NEW, Reopen(reason="x"), id="what is open"),
            pytest.param(State.CLOSED, Assign(agency="power"), id="what is closed"),
            pytest.param(State.CLOSED, Wait(until="citizen", text="?"), id="a closed case waits for nobody"),
        ],
    )
    def test_impossible(self, state: State, action: Action) -> None:
        world = World()
        case = world.report("crack", tracking=None)
        if state is State.CLOSED:
            world.do(case, Triage())
            world.do(case, Resolve(result="done", evidence=PROOF))
            world.do(case, Close())
        assert refusal(world, case, action) is Refusal.IMPOSSIBLE

    @pytest.mark.parametrize(
        ("action", "actor"),
        [
            pytest.param(Accept(), AT_ROADS, id="accepted twice"),
            pytest.param(Assign(agency="roads"), OPERATOR, id="assigned to its owner"),
            pytest.param(Acknowledge(), LEADER, id="seen twice"),
            pytest.param(Dispatch(unit="a"), DISPATCHER, id="a unit offered twice"),
        ],
    )
    def test_already(self, action: Action, actor: Actor) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Accept(), AT_ROADS)
        if not isinstance(action, Accept | Assign):
            world.do(case, action, actor)
        assert refusal(world, case, action, actor) is Refusal.ALREADY

    @pytest.mark.parametrize(
        ("action", "reason"),
        [
            (Triage(category="nonsense"), Refusal.UNKNOWN_CATEGORY),
            (Assign(agency="nonsense"), Refusal.UNKNOWN_AGENCY),
            (Wait(until="agency", agency="nonsense", text="?"), Refusal.UNKNOWN_AGENCY),
            (Triage(category="conduct"), Refusal.INCOMPLETE),
            (Triage(accused_agency="roads"), Refusal.IMPOSSIBLE),
            (Triage(category="conduct", accused_agency="nonsense"), Refusal.UNKNOWN_AGENCY),
            (AddNote(), Refusal.INCOMPLETE),
            (Merge(other=CaseId("nowhere")), Refusal.UNKNOWN_CASE),
            (Split(members=["nothing"]), Refusal.INCOMPLETE),
            (ReviewViolation(upheld=True), Refusal.IMPOSSIBLE),
            (Reveal(what="plate", reason="curious"), Refusal.IMPOSSIBLE),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_does_not_fit(self, action: Action, reason: Refusal) -> None:
        world = World()
        assert refusal(world, world.report("crack"), action) is reason


class TestClocks:
    def test_a_transfer_keeps_one_clock(self) -> None:
        world = World()
        case = world.report("pothole")
        world.pass_time(hours=1)
        before = clock(world.cases[case], ClockName.RESOLUTION).due_at
        world.do(case, Assign(agency="province"))
        world.do(case, Assign(agency="power"))
        after = clock(world.cases[case], ClockName.RESOLUTION)
        assert after.due_at == before
        assert world.cases[case].state is State.ASSIGNED

    def test_waiting_pauses_and_an_answer_resumes(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Accept(), AT_ROADS)
        due = clock(world.cases[case], ClockName.RESOLUTION).due_at
        world.do(case, Wait(until="citizen", text="where?"))
        world.pass_time(days=2)
        assert world.cases[case].state is State.WAITING_CITIZEN
        world.do(case, Reply(text="here"), CITIZEN)
        assert world.cases[case].state is State.ACCEPTED
        assert clock(world.cases[case], ClockName.RESOLUTION).due_at == due + timedelta(days=2)

    def test_another_category_keeps_what_has_run(self) -> None:
        world = World()
        case = world.report("crack")
        opened = world.now
        world.pass_time(hours=1)
        world.do(case, Triage(severity=Severity.CRITICAL))
        assert clock(world.cases[case], ClockName.RESOLUTION).due_at == opened + timedelta(days=1)

    def test_a_breach_is_told_once_up_the_line(self) -> None:
        world = World()
        case = world.report("pothole")
        world.pass_time(hours=2, minutes=1)
        assert world.said(case).count("breach") == 2  # of the arrival and of the acceptance
        assert world.told("breached") == ["agency:roads", "agency:province"] * 2
        assert world.cases[case].escalations == 2

    def test_a_deadline_that_no_longer_holds_does_nothing(self) -> None:
        world = World()
        case = world.report("pothole")
        due = world.next_due()
        assert due is not None
        world.do(case, Reject(reason="no"))
        world.now = due.due_at
        assert world.fire(due).refusal is Refusal.TOO_LATE

    def test_a_dispute_reopens_with_the_clock_running_on(self) -> None:
        world = World()
        case = world.report("pothole")
        world.pass_time(hours=1)
        world.do(case, Resolve(result="mended", evidence=PROOF))
        stopped = clock(world.cases[case], ClockName.RESOLUTION)
        assert stopped.ran_s == 3600
        world.pass_time(hours=5)
        world.do(case, Dispute(reason="it is not"), CITIZEN)
        after = world.cases[case]
        assert (after.state, after.disputes, after.reopened) == (State.REOPENED, 1, 1)
        running = clock(after, ClockName.RESOLUTION)
        assert (running.ran_s, running.since, running.stopped_at) == (3600, world.now, None)
        assert world.told("disputed") == ["agency:roads"]


class TestTheEnd:
    def test_closing_needs_a_result_and_evidence(self) -> None:
        world = World()
        case = world.report("crack", tracking=None)
        world.do(case, Triage())
        world.do(case, Resolve(result="mended"))
        assert refusal(world, case, Close()) is Refusal.INCOMPLETE
        assert world.do(case, Close(evidence=PROOF)).state is State.CLOSED

    def test_what_a_report_came_with_is_no_evidence(self) -> None:
        world = World()
        case = world.report("crack")
        world.do(case, Reply(text="look", evidence=[Evidence(ref="blob:before")]), CITIZEN)
        world.do(case, Triage())
        world.do(case, Resolve(result="mended"))
        world.pass_time(days=8)
        assert refusal(world, case, Close()) is Refusal.INCOMPLETE

    def test_a_citizen_who_was_asked_is_waited_for(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Resolve(result="mended", evidence=PROOF))
        assert refusal(world, case, Close()) is Refusal.AWAITS_CITIZEN
        assert world.do(case, Confirm(), CITIZEN).state is State.CONFIRMED
        assert world.do(case, Close()).state is State.CLOSED

    def test_silence_closes(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Resolve(result="mended", evidence=PROOF))
        world.pass_time(days=6, hours=23)
        assert world.cases[case].state is State.RESOLVED
        world.pass_time(hours=2)
        assert world.cases[case].state is State.CLOSED

    def test_silence_proves_nothing(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Resolve(result="mended"))
        world.pass_time(days=8)
        assert world.cases[case].state is State.RESOLVED
        assert world.told("evidence_missing") == ["agency:roads"]
        assert world.do(case, Close(evidence=PROOF)).state is State.CLOSED

    def test_confirmed_with_a_confirmation_for_evidence(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Resolve(result="mended"))
        world.do(case, Confirm(), CITIZEN)
        world.pass_time(days=8)
        assert world.cases[case].state is State.CLOSED

    def test_what_citizens_bring_leaves_room_for_what_shows_that_it_was_done(self) -> None:
        world = World()
        case = world.report("pothole")
        photos = [Evidence(ref=f"blob:{number}") for number in range(20)]
        for _ in range(EVIDENCE_REPORTED_MAX // len(photos)):
            world.do(case, Reply(text="look", evidence=photos), CITIZEN)
        assert refusal(world, case, Reply(text="and look", evidence=PROOF), CITIZEN) is Refusal.TOO_MANY
        assert refusal(world, case, Reply(text="in words"), CITIZEN) is None
        world.report("pothole", attachments=("blob:more",))
        assert len(world.cases[case].evidence) == EVIDENCE_REPORTED_MAX
        while refusal(world, case, AddNote(evidence=photos)) is None:
            pass
        assert len(world.cases[case].evidence) == EVIDENCE_MAX
        world.do(case, Resolve(result="mended"))
        assert world.do(case, Confirm(), CITIZEN).state is State.CONFIRMED
        world.do(case, Dispute(reason="no"), CITIZEN)
        world.do(case, Resolve(result="mended"))
        after = world.do(case, Confirm(), CITIZEN)
        assert len(after.evidence) == EVIDENCE_MAX + 1
        assert world.do(case, Close()).state is State.CLOSED

    def test_one_of_several_who_were_asked_does_not_answer_for_the_others(self) -> None:
        world = World()
        case, other = world.report("pothole"), world.report("pothole", "r2", tracking=OTHER_TRACKING)
        world.do(case, Merge(other=other))
        world.do(case, Resolve(result="mended", evidence=PROOF))
        second = Actor(id="citizen", roles=(Role.CITIZEN,), tracking=OTHER_TRACKING)
        assert world.ask(other, Confirm(), second).refusal is None
        assert world.cases[case].state is State.RESOLVED
        assert refusal(world, other, Confirm(), second) is Refusal.ALREADY
        assert refusal(world, case, Close()) is Refusal.AWAITS_CITIZEN
        assert world.do(case, Confirm(), CITIZEN).state is State.CONFIRMED
        world.do(case, Dispute(reason="no"), CITIZEN)
        world.do(case, Resolve(result="mended"))
        world.do(case, Confirm(), CITIZEN)
        assert world.cases[case].state is State.RESOLVED, "each time it is done, everyone is asked again"

    def test_confirmed_after_silence_is_closed_too(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Resolve(result="mended"))
        world.pass_time(days=8)
        assert world.do(case, Confirm(), CITIZEN).state is State.CONFIRMED
        world.pass_time(minutes=1)
        assert world.cases[case].state is State.CLOSED

    def test_rated_once_each_time_it_is_done(self) -> None:
        world = World()
        case = world.report("pothole")
        assert refusal(world, case, Rate(score=5), CITIZEN) is Refusal.IMPOSSIBLE
        world.do(case, Resolve(result="mended"))
        world.do(case, Rate(score=2), CITIZEN)
        assert refusal(world, case, Rate(score=5), CITIZEN) is Refusal.ALREADY
        world.do(case, Dispute(reason="no"), CITIZEN)
        world.do(case, Resolve(result="mended at last"))
        assert world.do(case, Rate(score=4), CITIZEN).rating == 4

    def test_a_note_to_the_units_is_told_them_and_changes_nothing(self) -> None:
        world = World()
        case = world.report("pothole")
        assert refusal(world, case, AddNote(text="mind the dog", to_units=True)) is Refusal.INCOMPLETE
        before = world.do(case, Dispatch(unit="a"), DISPATCHER)
        assert world.do(case, AddNote(text="for the file")) == before
        assert world.told("message") == []
        assert world.do(case, AddNote(text="mind the dog", to_units=True)) == before
        assert world.told("message") == ["unit:a"]
        assert (world.timeline[-1].text, world.timeline[-1].detail) == ("mind the dog", {"to": "units"})

    def test_resolved_calls_back_whoever_is_on_the_way(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Dispatch(unit="a"), DISPATCHER)
        world.do(case, Resolve(result="it was nothing"))
        assert world.told("withdrawn") == ["unit:a"]
        assert world.units["a"].cases == ()


class TestComplaints:
    def test_goes_to_who_supervises_the_accused(self) -> None:
        world = World()
        case = world.cases[complaint(world)]
        assert (case.agency, case.accused_agency, case.published) == ("province", "roads", False)
        assert world.told("assigned") == ["agency:province"]

    def test_about_who_nobody_supervises(self) -> None:
        world = World()
        assert world.cases[complaint(world, "province")].agency == "inspection"

    def test_about_who_is_over_everybody_who_could_have_it(self) -> None:
        """Nobody who belongs to the accused agency, or is below it, is given it: it stays with who sees all."""
        world = World()
        case = complaint(world, "inspection")
        assert (world.cases[case].agency, world.cases[case].state) == (None, State.NEW)
        assert world.notices == []
        below = replace(OPERATOR, agency="office", under=("inspection",))
        for actor in (AT_INSPECTION, AT_PROVINCE, AT_ROADS, below):
            assert refusal(world, case, AddNote(text="?"), actor) is Refusal.UNKNOWN_CASE
        assert refusal(world, case, Assign(agency="inspection")) is Refusal.FORBIDDEN
        assert world.do(case, Assign(agency="province")).state is State.ASSIGNED
        assert refusal(world, case, AddNote(text="?"), OPERATOR) is Refusal.UNKNOWN_CASE
        assert refusal(world, case, AddNote(text="?"), AT_PROVINCE) is None

    def test_one_that_is_found_to_be_about_who_is_over_everybody_leaves_them(self) -> None:
        world = World()
        case = world.report("pothole", id="first")
        world.do(case, Accept(), AT_ROADS)
        after = world.do(case, Triage(category="conduct", accused_agency="inspection"))
        assert (after.agency, after.state) == (None, State.TRIAGED)
        assert refusal(world, case, AddNote(text="?"), AT_ROADS) is Refusal.UNKNOWN_CASE

    def test_the_accused_is_not_told_as_the_supervisor_either(self) -> None:
        world = World()
        case = complaint(world, "province")
        world.pass_time(hours=3)
        assert world.said(case).count("breach") == 2
        assert world.told("breached") == ["agency:inspection"] * 2

    def test_that_names_nobody(self) -> None:
        world = World()
        case = world.cases[world.report("conduct")]
        assert case.agency == "inspection"
        assert case.accused_agency is not None

    def test_about_whoever_it_was_sent_to(self) -> None:
        world = World()
        case = world.cases[world.report("conduct", agency="roads")]
        assert (case.agency, case.accused_agency) == ("province", "roads")

    @pytest.mark.parametrize("category", ["other", "pothole", "mispelt", "chatter"])
    def test_is_whatever_names_an_accused_agency(self, category: str) -> None:
        """Whatever category it came under, and no figure knows it by that."""
        world = World()
        case = world.cases[world.report(category, agency="roads", accused_agency="roads")]
        assert (case.kind, case.category, case.agency) == (Kind.CONDUCT, "conduct", "province")
        counted = [event.data for event in world.countable() if hasattr(event.data, "category")]
        assert {data.category for data in counted} == {"conduct"}
        assert {data.agency for data in counted} == {"province"}

    def test_is_whatever_names_an_accused_agency_also_where_no_category_is_for_it(self) -> None:
        rules = CASES.replace('id = "conduct"', 'id = "unheard"').replace('kind = "conduct"', 'kind = "service"')
        world = World(site(PACK | {"cases.toml": rules}))
        case = world.cases[world.report("pothole", accused_agency="roads")]
        assert (case.kind, case.agency, case.accused_agency) == (Kind.CONDUCT, "province", "roads")

    @pytest.mark.parametrize("category", ["conduct", "other"])
    @pytest.mark.parametrize("accused", ["roads", "province"])
    def test_never_joins_what_others_see(self, category: str, accused: str) -> None:
        """Neither an ordinary case, nor a complaint about somebody else."""
        world = World()
        ordinary, about_power = world.report("pothole"), complaint(world, "power", subject="r2")
        before = dict(world.cases)
        for subject in ("r1", "r2"):
            world.report(category, subject, accused_agency=accused, title="What he did")
        assert all(world.cases[case] == before[case] for case in (ordinary, about_power))
        assert [case.accused_agency for case in world.cases.values() if case.id not in before] == [accused] * 2
        assert world.said(ordinary) == ["open", "assign"]

    @pytest.mark.parametrize("accused", ["roads", "power"])
    def test_a_correction_of_who_is_accused_holds(self, accused: str) -> None:
        """Also once the agency that is accused now has taken it on: it has to let go of it."""
        world = World()
        case = complaint(world, "bridges", id="first")
        assert world.cases[case].agency == "roads"
        if accused == "roads":
            world.do(case, Accept(), AT_ROADS)
        complaint(world, accused, supersedes="first")
        after = world.cases[case]
        assert (after.accused_agency, after.agency) == (accused, "province")

    def test_a_correction_does_not_undo_who_was_found_to_be_accused(self) -> None:
        world = World()
        case = complaint(world, "bridges", id="first")
        world.do(case, Triage(category="conduct", accused_agency="power"), AT_ROADS)
        world.do(case, Accept(), AT_PROVINCE)
        world.pass_time(minutes=1)
        complaint(world, "bridges", supersedes="first")
        assert world.cases[case].accused_agency == "power"

    def test_what_the_centre_has_corrected_itself_judges_nothing(self) -> None:
        """It may be back from the log only after somebody has judged once more."""
        world = World()
        case = complaint(world, "bridges", id="first")
        echo = corrected(world.ask(case, Triage(category="conduct", accused_agency="power"), AT_ROADS))
        world.do(case, Triage(category="crack"), AT_PROVINCE)
        del world.stored[echo.source, echo.id]
        world.take(echo)
        assert (world.cases[case].kind, world.cases[case].category) == (Kind.SERVICE, "crack")

    def test_one_that_is_told_after_a_merge_leaves_what_it_was_merged_with(self) -> None:
        world = World()
        case = world.report("pothole", id="first", title="A hole", attachments=("blob:one",))
        other = world.report("pothole", "r2", id="second", title="Another", tracking=OTHER_TRACKING)
        world.do(case, Merge(other=other))
        before = set(world.cases)
        world.report("conduct", supersedes="first", accused_agency="roads", title="What he did")
        (own,) = world.cases.keys() - before
        parted, rest = world.cases[own], world.cases[case]
        assert (parted.kind, parted.accused_agency, parted.agency) == (Kind.CONDUCT, "roads", "province")
        assert [member.id for member in parted.members] == ["first"]
        assert [one.ref for one in parted.evidence] == ["blob:one"]
        assert (rest.kind, rest.agency, rest.title, rest.evidence) == (Kind.SERVICE, "roads", "Another", ())
        assert [member.id for member in rest.members] == ["second"]
        world.report("conduct", supersedes="first", accused_agency="province")
        assert world.cases[own].agency == "inspection"

    def test_is_unknown_below_the_accused_also_by_a_command_that_names_no_supervisor(self) -> None:
        world = World()
        case = world.report("conduct", accused_agency="roads")
        # As the site pack stood when nobody could have it: it is seen by who sees all.
        world.cases[case] = replace(world.cases[case], agency=None)
        below = replace(SEES_ALL_BUT_BELOW, under=())
        assert refusal(world, case, Reveal(what="reporter", reason="who?"), below) is Refusal.UNKNOWN_CASE
        assert refusal(world, case, Reveal(what="reporter", reason="who?"), OPERATOR) is None

    @pytest.mark.parametrize("corrects", ["first", "again", "once_more"])
    def test_one_that_is_told_by_a_correction_of_a_correction(self, corrects: str) -> None:
        world = World()
        case = world.report("pothole", id="first")
        world.report("pothole", id="again", supersedes="first")
        world.report("pothole", id="once_more", supersedes="again")
        world.now += timedelta(minutes=1)
        world.report("pothole", supersedes=corrects, accused_agency="roads")
        assert (world.cases[case].kind, world.cases[case].accused_agency) == (Kind.CONDUCT, "roads")
        assert [member.id for member in world.cases[case].members] == ["first"]
        (counted,) = (one for one in world.countable() if isinstance(one, FeedbackReceived))
        assert (counted.data.category, counted.data.accused_agency) == ("conduct", "roads")

    def test_the_withdrawal_of_a_correction_takes_back_the_report(self) -> None:
        world = World()
        case = world.report("pothole", id="first")
        world.report("pothole", id="again", supersedes="first")
        world.report("pothole", withdraws="again")
        assert world.cases[case].state is State.REJECTED
        assert not [one for one in world.countable() if isinstance(one, FeedbackReceived)]

    @pytest.mark.parametrize("withdraws", ["first", "again"])
    def test_a_withdrawal_takes_back_what_the_centre_itself_has_made_of_the_report(self, withdraws: str) -> None:
        world = World()
        case = world.report("pothole", id="first")
        world.now += timedelta(minutes=1)
        world.report("pothole", id="again", supersedes="first")
        world.do(case, Triage(category="conduct", accused_agency="roads"))
        assert [one for one in world.countable() if isinstance(one, FeedbackReceived)]
        world.now += timedelta(minutes=1)
        world.report("pothole", withdraws=withdraws)
        assert world.cases[case].state is State.REJECTED
        assert not [one for one in world.countable() if isinstance(one, FeedbackReceived)]
        assert world.said(case).count("source_withdrew") == 1

    @given(st.lists(st.tuples(st.integers(0, 7), st.sampled_from([None, "roads", "power"])), min_size=1, max_size=7))
    @settings(max_examples=100)
    def test_whatever_corrects_what_figures_say_what_the_case_is(self, told: list[tuple[int, str | None]]) -> None:
        world = World()
        case = world.report("pothole", id="e0")
        for number, (corrects, accused) in enumerate(told, 1):
            world.now += timedelta(minutes=1)
            named = f"e{min(corrects, number - 1)}"
            world.report("pothole", id=f"e{number}", supersedes=named, accused_agency=accused)
        (counted,) = (one for one in world.countable() if isinstance(one, FeedbackReceived))
        whole = world.cases[case]
        assert len(world.cases) == 1
        assert counted.data.accused_agency == whole.accused_agency
        assert counted.id == whole.members[0].corrected_by

    def test_a_merged_case_that_it_came_for_goes_along(self) -> None:
        """Whoever saw that one before it was merged may be the accused, and would read the complaint there."""
        world = World()
        case = world.report("pothole", id="first")
        shell = world.report("pothole", "r2", id="second", tracking=OTHER_TRACKING)
        world.do(case, Merge(other=shell))
        world.report("pothole", "r2", supersedes="second", accused_agency="roads", tracking=OTHER_TRACKING)
        assert world.cases[shell].state is State.MERGED
        assert (world.cases[shell].accused_agency, world.cases[shell].agency) == ("roads", "province")
        assert refusal(world, shell, Reveal(what="reporter", reason="who?"), AT_ROADS) is Refusal.UNKNOWN_CASE
        assert refusal(world, shell, Reveal(what="reporter", reason="who?"), AT_PROVINCE) is None
        # What the same subject says later is the complaint's, and the two are not one case again.
        world.report("pothole", "r2", id="later", tracking=OTHER_TRACKING)
        (complaint_,) = (one for one in world.cases.values() if one.accused_agency and one.id != shell)
        assert [member.id for member in complaint_.members] == ["second", "later"]
        assert refusal(world, case, Unmerge(other=shell)) is Refusal.UNKNOWN_CASE

    def test_a_merged_case_keeps_what_else_came_for_it(self) -> None:
        world = World()
        case = world.report("pothole", id="first")
        shell = world.report("pothole", "r2", id="second", tracking=OTHER_TRACKING, attachments=("blob:two",))
        world.report("pothole", "r2", id="third", tracking=OTHER_TRACKING, attachments=("blob:three",))
        world.do(case, Merge(other=shell))
        world.report("pothole", "r2", supersedes="second", accused_agency="roads", tracking=OTHER_TRACKING)
        rest = world.cases[shell]
        assert (rest.accused_agency, [member.id for member in rest.members]) == (None, ["third"])
        assert [one.ref for one in rest.evidence] == ["blob:three"]
        world.do(case, Unmerge(other=shell))
        assert [member.id for member in world.cases[shell].members] == ["third"]

    def test_nothing_of_a_part_stays_behind(self) -> None:
        """Neither title nor photo, of the report and of what its sender said later."""
        world = World()
        case = world.report("pothole", id="one", title="A hole")
        theirs = world.report("pothole", "r2", id="two", title="What he did", tracking=OTHER_TRACKING)
        world.do(case, Merge(other=theirs))
        world.report("pothole", "r2", id="three", title="What he did then", attachments=("blob:three",))
        sender = replace(CITIZEN, tracking=OTHER_TRACKING)
        world.do(case, Reply(text="here", evidence=[Evidence(ref="blob:later")]), sender)
        part = world.ask(case, Split(members=["two", "three"])).cases[1].id
        world.do(part, Triage(category="conduct", accused_agency="roads"), AT_ROADS)
        assert [one.ref for one in world.cases[part].evidence] == ["blob:three", "blob:later"]
        assert not world.cases[case].evidence
        said = [entry.text for entry in world.timeline if entry.case == case]
        assert not any("What he did" in text for text in said)

    def test_joins_one_about_the_same_agency(self) -> None:
        world = World()
        case = complaint(world)
        complaint(world)
        assert len(world.cases[case].members) == 2

    @pytest.mark.parametrize("agency", ["roads", "bridges"])
    def test_is_never_handed_to_the_accused_or_below(self, agency: str) -> None:
        world = World()
        case = complaint(world)
        assert refusal(world, case, Assign(agency=agency), AT_PROVINCE) is Refusal.FORBIDDEN
        assert refusal(world, case, Wait(until="agency", agency=agency, text="?"), AT_PROVINCE) is Refusal.FORBIDDEN
        assert refusal(world, case, Assign(agency="inspection"), AT_PROVINCE) is None

    def test_is_never_published_dispatched_or_mixed(self) -> None:
        world = World()
        case = complaint(world, place=PLACE)
        other = world.report("crack", "r2", place=PLACE)
        both = replace(AT_PROVINCE, roles=(Role.OPERATOR, Role.DISPATCHER), sees_all=True)
        assert refusal(world, case, Triage(publish=True), both) is Refusal.FORBIDDEN
        assert refusal(world, case, Dispatch(unit="c"), both) is Refusal.IMPOSSIBLE
        assert refusal(world, case, Merge(other=other), both) is Refusal.IMPOSSIBLE
        assert refusal(world, other, Merge(other=case), both) is Refusal.IMPOSSIBLE
        assert not world.last.proposals

    def test_one_that_is_recognised_late_leaves_everyone_who_was_at_it(self) -> None:
        world = World()
        case = on_scene(world)
        reports = [event for event in world.stored.values() if isinstance(event, FeedbackReceived)]
        decided = world.ask(case, Triage(category="conduct", accused_agency="roads"), AT_ROADS)
        after = world.cases[case]
        assert (after.kind, after.agency, after.state, after.units) == (Kind.CONDUCT, "province", State.ASSIGNED, ())
        assert world.told("withdrawn") == ["unit:a"]
        correction = corrected(decided)
        (report,) = reports
        assert (correction.source, correction.supersedes) == (report.source, report.id)
        assert (correction.time, correction.subject) == (report.time, report.subject)
        assert correction.data.category == "conduct"
        assert correction.data.accused_agency == "roads"
        assert after.members[0].corrected_by == correction.id
        assert refusal(world, case, AddNote(text="x"), AT_ROADS) is Refusal.UNKNOWN_CASE
        assert refusal(world, case, OfferStepped(offer=1, step="done"), UNIT["a"]) is Refusal.UNKNOWN_CASE

    def test_no_figure_of_the_accused_counts_it_any_more(self) -> None:
        world = World()
        case = on_scene(world)
        world.signal(FeedbackAnswered, FeedbackAnswer(category="pothole", agency="roads"))
        n = len([event for event in world.countable() if hasattr(event.data, "category")])
        world.do(case, Triage(category="conduct", accused_agency="roads"))
        counted = [event.data for event in world.countable() if hasattr(event.data, "category")]
        assert len(counted) == n
        assert {data.category for data in counted} == {"conduct"}
        assert {data.agency for data in counted} == {"province"}

    def test_a_step_that_is_still_on_its_way_is_taken_back(self) -> None:
        world = World()
        case = world.report("crack")
        for key in [key for key, event in world.stored.items() if isinstance(event, CaseStepped)]:
            del world.stored[key]
        decided = world.ask(case, Triage(category="conduct", accused_agency="roads"))
        (taken_back,) = [event for event in decided.signals if isinstance(event, CaseStepped)]
        assert (taken_back.withdraws, taken_back.supersedes) == (world.cases[case].counted[0][1], None)

    def test_a_source_that_says_so_later_changes_all_figures(self) -> None:
        world = World()
        case = world.report("pothole", id="first")
        world.do(case, Accept(), AT_ROADS)
        world.report("conduct", supersedes="first", accused_agency="roads")
        counted = [event.data for event in world.countable() if hasattr(event.data, "category")]
        assert len(counted) == 3  # the report, and that it was opened and accepted
        assert {data.category for data in counted} == {"conduct"}

    def test_judged_twice_the_last_correction_holds(self) -> None:
        world = World()
        case = world.report("crack", id="first")
        world.ask(case, Triage(category="conduct", accused_agency="roads"))
        correction = corrected(world.ask(case, Triage(category="conduct", accused_agency="power"), AT_PROVINCE))
        assert (correction.supersedes, correction.data.accused_agency) == ("first", "power")
        correction = corrected(world.ask(case, Triage(category="crack"), AT_PROVINCE))
        assert (correction.supersedes, correction.data.accused_agency) == ("first", None)
        assert world.cases[case].kind is Kind.SERVICE
        assert {event.data.category for event in world.countable() if hasattr(event.data, "category")} == {"crack"}

    def test_one_that_was_merged_has_to_be_unmerged_first(self) -> None:
        world = World()
        case, other = world.report("crack"), world.report("crack", "r2")
        world.do(case, Merge(other=other))
        action = Triage(category="conduct", accused_agency="roads")
        assert refusal(world, case, action) is Refusal.IMPOSSIBLE
        world.do(case, Unmerge(other=other))
        assert refusal(world, case, action) is None


class TestViolations:
    def test_two_people_have_to_agree(self) -> None:
        world = World()
        case = world.incident("red_light", plate="29A-***.45")
        world.do(case, Triage())
        assert refusal(world, case, Resolve(result="fined", evidence=PROOF)) is Refusal.INCOMPLETE
        world.do(case, ReviewViolation(upheld=True))
        assert refusal(world, case, ReviewViolation(upheld=True)) is Refusal.SAME_REVIEWER
        assert refusal(world, case, Resolve(result="fined")) is Refusal.INCOMPLETE
        world.do(case, ReviewViolation(upheld=True), COLLEAGUE)
        assert refusal(world, case, Reject(reason="no")) is Refusal.INCOMPLETE
        assert world.do(case, Resolve(result="fined")).state is State.RESOLVED

    def test_two_people_drop_it(self) -> None:
        world = World()
        case = world.incident("red_light")
        for actor, upheld in ((OPERATOR, False), (COLLEAGUE, True)):
            world.do(case, ReviewViolation(upheld=upheld), actor)
        assert refusal(world, case, Reject(reason="an ambulance")) is Refusal.INCOMPLETE
        world.do(case, ReviewViolation(upheld=False), LEADER)
        assert world.do(case, Reject(reason="an ambulance")).state is State.REJECTED

    def test_nobody_alone_calls_it_something_else(self) -> None:
        world = World()
        case = world.incident("red_light")
        assert refusal(world, case, Triage(category="other", publish=True)) is Refusal.INCOMPLETE
        assert refusal(world, case, Triage(category="conduct", accused_agency="roads")) is Refusal.INCOMPLETE
        assert refusal(world, case, Triage(category="overload")) is None
        for actor in (OPERATOR, COLLEAGUE):
            world.do(case, ReviewViolation(upheld=False), actor)
        assert world.do(case, Triage(category="other")).kind is Kind.SERVICE

    def test_what_the_law_wants_is_done_in_its_order(self) -> None:
        world = World()
        case = world.incident("overload")
        world.do(case, Triage())
        assert refusal(world, case, TakeStep(step="owner_found")) is Refusal.INCOMPLETE
        for actor in (OPERATOR, COLLEAGUE):
            world.do(case, ReviewViolation(upheld=True), actor)
        assert refusal(world, case, TakeStep(step="notice_sent")) is Refusal.IMPOSSIBLE
        assert refusal(world, case, Resolve(result="fined")) is Refusal.INCOMPLETE
        world.do(case, TakeStep(step="owner_found", note="by the register"))
        assert refusal(world, case, TakeStep(step="owner_found")) is Refusal.ALREADY
        world.do(case, TakeStep(step="notice_sent"))
        assert refusal(world, case, TakeStep(step="more")) is Refusal.IMPOSSIBLE
        assert [one.step for one in world.cases[case].taken] == ["owner_found", "notice_sent"]
        assert world.do(case, Resolve(result="fined")).state is State.RESOLVED

    def test_who_looks_is_on_the_timeline(self) -> None:
        world = World()
        case = world.incident("red_light", plate="29A-***.45")
        assert refusal(world, case, Reveal(what="plate", reason="fine"), LEADER) is Refusal.FORBIDDEN
        assert refusal(world, case, Reveal(what="reporter", reason="who?"), DISPATCHER) is Refusal.FORBIDDEN
        world.do(case, Reveal(what="plate", reason="for the fine"))
        entry = world.timeline[-1]
        assert (entry.action, entry.actor, entry.text, entry.public) == ("reveal", "op", "for the fine", False)


class TestUnits:
    def test_to_the_scene_and_done(self) -> None:
        world = World()
        case = world.report("crack")
        assert world.do(case, Dispatch(unit="a"), DISPATCHER).state is State.TRIAGED
        assert world.units["a"].cases == (case,)
        for step, state in (
            ("delivered", State.TRIAGED),
            ("seen", State.TRIAGED),
            ("accepted", State.ACCEPTED),
            ("en_route", State.EN_ROUTE),
            ("on_scene", State.ON_SCENE),
        ):
            assert world.do(case, OfferStepped(offer=1, step=step), UNIT["a"]).state is state  # pyright: ignore[reportArgumentType]
        after = world.do(case, OfferStepped(offer=1, step="done", result="mended", evidence=PROOF), UNIT["a"])
        assert (after.state, after.result, after.evidence[0].by) == (State.RESOLVED, "mended", "unit-a")
        assert world.units["a"].cases == ()
        assert [step for step, *_ in world.steps] == [
            "opened",
            "offered",
            "accepted",
            "arrived",
            "unit_done",
            "answered",
            "resolved",
        ]

    def test_whoever_reported_it_reads_that_it_is_done(self) -> None:
        world = World()
        case = on_scene(world)
        world.do(case, OfferStepped(offer=1, step="done", result="filled"), UNIT["a"])
        assert world.told_in_public(case)[-1] == ("resolve", "filled")
        world = World()
        case = on_scene(world)
        world.do(case, OfferStepped(offer=1, step="done"), UNIT["a"])
        assert world.told_in_public(case)[-1][0] == "open", "without a result nothing is resolved"

    def test_how_long_a_unit_was_at_it(self) -> None:
        """From its first step on, also where it never said that it accepts."""
        world = World()
        case = world.report("pothole")
        world.do(case, Dispatch(unit="a"), DISPATCHER)
        world.pass_time(seconds=30)
        left = world.now
        world.do(case, OfferStepped(offer=1, step="en_route"), UNIT["a"])
        world.pass_time(minutes=5)
        decided = world.ask(case, OfferStepped(offer=1, step="done"), UNIT["a"])
        (step,) = [one.data for one in decided.steps if one.data.step == "unit_done"]
        assert (step.unit, step.since) == ("a", left)

    def test_forged(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Dispatch(unit="a"), DISPATCHER)
        world.do(case, Dispatch(unit="b"), DISPATCHER)
        step = OfferStepped(offer=1, step="accepted")
        assert refusal(world, case, step, UNIT["b"]) is Refusal.NOT_YOURS
        assert refusal(world, case, step, UNIT["c"]) is Refusal.UNKNOWN_CASE
        assert refusal(world, case, step, LEADER) is Refusal.FORBIDDEN
        assert refusal(world, case, OfferStepped(offer=9, step="accepted"), UNIT["a"]) is Refusal.INCOMPLETE
        assert refusal(world, "unit:a", SetAvailability(status="off"), UNIT["b"]) is Refusal.NOT_YOURS
        assert refusal(world, "unit:z", SetAvailability(status="off"), DISPATCHER) is Refusal.UNKNOWN_UNIT

    def test_units_of_others_are_not_there(self) -> None:
        """Neither sent, nor is anything said of how busy they are."""
        world = World()
        case, other = world.report("pothole"), world.report("pothole", "r2")
        foreign = next(unit for unit in SITE.units.values() if unit.agency == "power")
        world.do(other, Dispatch(unit=foreign.id, force=True, reason="near"), DISPATCHER)
        asked = world.ask(case, Dispatch(unit=foreign.id, force=True, reason="near"), AT_ROADS)
        absent = world.ask(case, Dispatch(unit="zz", force=True, reason="near"), AT_ROADS)
        assert asked.refusal is absent.refusal is Refusal.UNKNOWN_UNIT
        assert asked.detail.replace(foreign.id, "zz", 1) == absent.detail
        off = SetAvailability(status="off")
        assert refusal(world, f"unit:{foreign.id}", off, AT_ROADS) is Refusal.UNKNOWN_UNIT
        assert refusal(world, "unit:a", off, AT_ROADS) is None

    def test_no_unit_twice(self) -> None:
        world = World()
        case, other = world.report("pothole"), world.report("pothole", "r2")
        world.do(case, Dispatch(unit="a"), DISPATCHER)
        assert refusal(world, other, Dispatch(unit="a"), DISPATCHER) is Refusal.UNIT_BUSY
        assert refusal(world, other, Dispatch(unit="a", force=True, reason="now"), DISPATCHER) is Refusal.UNIT_BUSY
        world.do(case, WithdrawOffer(offer=1), DISPATCHER)
        world.do(other, Dispatch(unit="a"), DISPATCHER)

    def test_one_that_is_not_capable_goes_for_a_reason(self) -> None:
        world = World()
        case = world.incident("fire")
        assert refusal(world, case, Dispatch(unit="a"), DISPATCHER) is Refusal.NOT_CAPABLE
        assert refusal(world, case, Dispatch(unit="a", force=True), DISPATCHER) is Refusal.INCOMPLETE
        world.do(case, Dispatch(unit="a", force=True, reason="the only one"), DISPATCHER)
        assert refusal(world, case, Dispatch(unit="zz"), DISPATCHER) is Refusal.UNKNOWN_UNIT

    def test_declined_goes_to_the_next_unit(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Dispatch(unit="a"), DISPATCHER)
        after = world.do(case, OfferStepped(offer=1, step="declined", reason="flat tyre"), UNIT["a"])
        assert after.units == ("c",)
        assert world.units["c"].cases == (case,)
        assert world.units["a"].cases == ()
        assert "unit:c" in world.told("offered")

    def test_missed_goes_up_the_chain_once(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Dispatch(unit="a"), DISPATCHER)
        world.pass_time(seconds=61)
        assert world.said(case)[-2:] == ["miss", "escalate"]
        assert world.told("escalated") == ["unit:a"]
        world.pass_time(seconds=60)
        assert world.cases[case].units == ("c",)
        assert world.told("offered") == ["unit:a", "unit:c"]

    def test_back_to_where_the_others_are(self) -> None:
        world = World()
        case = on_scene(world)
        world.do(case, Dispatch(unit="b"), DISPATCHER)
        world.do(case, OfferStepped(offer=2, step="accepted"), UNIT["b"])
        world.do(case, OfferStepped(offer=2, step="en_route"), UNIT["b"])
        assert world.do(case, OfferStepped(offer=1, step="done"), UNIT["a"]).state is State.EN_ROUTE
        assert world.do(case, WithdrawOffer(offer=2), DISPATCHER).state is State.ACCEPTED

    def test_a_unit_that_arrives_while_the_case_waits(self) -> None:
        world = World()
        case = world.report("pothole")
        world.do(case, Dispatch(unit="a"), DISPATCHER)
        world.do(case, Wait(until="citizen", text="which lane?"))
        world.do(case, OfferStepped(offer=1, step="accepted"), UNIT["a"])
        after = world.do(case, OfferStepped(offer=1, step="on_scene"), UNIT["a"])
        assert after.state is State.WAITING_CITIZEN
        assert world.do(case, Resume()).state is State.ON_SCENE

    def test_a_later_word_of_a_unit_stands(self) -> None:
        world = World()
        noon = world.now
        world.now += timedelta(minutes=10)
        world.ask("unit:a", SetAvailability(status="available"), UNIT["a"])
        late = world.ask("unit:a", SetAvailability(status="off"), UNIT["a"], time=noon)
        assert late.refusal is Refusal.STALE
        assert world.units["a"].status is UnitStatus.AVAILABLE

    def test_rules_fall_silent_in_ones_own_areas(self) -> None:
        world = World()
        assert refusal(world, "alert:none", Silence(until=world.now, reason="x")) is Refusal.IMPOSSIBLE


class TestMerging:
    def two(self, world: World) -> tuple[CaseId, CaseId]:
        return world.report("crack"), world.report("crack", "r2", tracking=OTHER_TRACKING)

    def test_every_reporter_stays_subscribed(self) -> None:
        world = World()
        case, other = self.two(world)
        after = world.do(case, Merge(other=other))
        assert set(after.tracking) == {TRACKING, OTHER_TRACKING}
        assert [member.case for member in after.members] == [case, other]
        assert (world.cases[other].state, world.cases[other].merged_into) == (State.MERGED, case)

    def test_undone_as_it_was(self) -> None:
        world = World()
        case, other = self.two(world)
        before = dict(world.cases)
        world.do(case, Merge(other=other))
        world.do(case, Unmerge(other=other))
        for id_ in (case, other):
            assert as_content(world.cases[id_]) == as_content(before[id_])
            assert world.cases[id_].version == before[id_].version + 2

    def test_what_came_meanwhile_goes_where_it_belongs(self) -> None:
        world = World()
        case, other = self.two(world)
        world.do(case, Merge(other=other))
        world.report("crack", "r2", id="further")
        assert len(world.cases[case].members) == 3
        world.do(case, Unmerge(other=other))
        assert [member.id for member in world.cases[other].members][-1] == "further"
        assert len(world.cases[case].members) == 1

    def test_signals_and_citizens_are_passed_on(self) -> None:
        world = World()
        case, other = self.two(world)
        world.do(case, Merge(other=other))
        world.signal(FeedbackAnswered, FeedbackAnswer(category="crack"), "r2")
        assert world.cases[case].answered_at is not None
        second = Actor(id="second", roles=(Role.CITIZEN,), tracking=OTHER_TRACKING)
        assert world.ask(other, Reply(text="still there"), second).subject == case
        world.signal(FeedbackClosed, FeedbackOutcome(category="crack"), "r2")
        assert world.cases[case].is_open, "one of two reports does not end what the other is about"

    def test_a_merged_case_is_left_alone(self) -> None:
        world = World()
        case, other = self.two(world)
        world.do(case, Merge(other=other))
        assert refusal(world, other, Assign(agency="power")) is Refusal.IMPOSSIBLE
        assert refusal(world, case, Merge(other=other)) is Refusal.IMPOSSIBLE

    def test_stale_about_the_other(self) -> None:
        world = World()
        case, other = self.two(world)
        seen = world.cases[other].version
        world.do(other, Triage())
        assert refusal(world, case, Merge(other=other, other_version=seen)) is Refusal.STALE

    def test_what_units_are_at_is_not_merged_away(self) -> None:
        world = World()
        case, other = self.two(world)
        world.do(other, Dispatch(unit="a"), DISPATCHER)
        assert refusal(world, case, Merge(other=other)) is Refusal.IMPOSSIBLE
        assert refusal(world, other, Merge(other=case)) is None

    def test_split_and_merged_again(self) -> None:
        world = World()
        case = world.report("crack", id="one")
        world.report("crack", id="two")
        before = world.cases[case]
        decided = world.ask(case, Split(members=["two"]))
        part = next(one for one in decided.cases if one.id != case)
        assert part.tracking == (TRACKING,)
        assert world.cases[case].tracking == (TRACKING,)
        assert part.clocks == before.clocks, "the law's clock runs on"
        world.do(case, Merge(other=part.id))
        assert as_content(world.cases[case]) == as_content(before) | {"absorbed": {part.id: State.NEW}}
        assert refusal(world, case, Split(members=["one", "two"])) is Refusal.IMPOSSIBLE

    def test_what_comes_for_a_part_follows_it(self) -> None:
        world = World()
        case, other = self.two(world)
        world.do(case, Merge(other=other))
        theirs = next(member.id for member in world.cases[case].members if member.case == other)
        decided = world.ask(case, Split(members=[theirs]))
        part = next(one for one in decided.cases if one.id != case)
        world.report("crack", "r2", id="further")
        assert [member.id for member in world.cases[part.id].members] == [theirs, "further"]
        assert refusal(world, case, Unmerge(other=other)) is Refusal.IMPOSSIBLE
        world.do(case, Merge(other=part.id))
        world.do(case, Unmerge(other=other))
        assert theirs in [member.id for member in world.cases[other].members]

    def test_near_in_place_time_and_category_is_proposed(self) -> None:
        world = World()
        case = world.report("crack", place="geo:21.1,105.1")
        world.pass_time(minutes=20)
        world.report("pothole", "r2", place="geo:21.1001,105.1")
        (proposal,) = world.last.proposals
        assert proposal.other == case
        assert 0.5 <= proposal.score < 0.95
        assert proposal.reasons == ("near_m:11", "apart_s:1200", "same_group:roads")

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param({"place": "geo:21.2,105.1"}, id="far"),
            pytest.param({"place": None}, id="nowhere"),
            pytest.param({"category": "other"}, id="about something else"),
            pytest.param({"exercise": True}, id="a drill"),
        ],
    )
    def test_others_are_not(self, other: dict[str, Any]) -> None:
        world = World()
        world.report("crack", place=PLACE)
        world.report(**({"category": "crack", "subject": "r2", "place": PLACE} | other))
        assert not world.last.proposals

    def test_a_sure_one_is_merged_by_itself(self) -> None:
        world = World()
        case = world.report("crack", place=PLACE)
        other = world.report("crack", "r2", place=PLACE)
        assert world.cases[other].merged_into == case
        assert world.cases[case].state is State.NEW

    def test_dismissed(self) -> None:
        world = World()
        case, other = self.two(world)
        (judged,) = world.ask(case, Dismiss(other=other)).judged
        assert (judged.case, judged.other, judged.state) == (case, other, "dismissed")


def as_content(case: Case) -> dict[str, Any]:
    """A case without what says that it changed."""
    return {name: getattr(case, name) for name in case.__struct_fields__ if name not in ("version", "changed_at")}
