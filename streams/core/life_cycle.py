"""What can be done with a case in which state, by whom, and what does it need?

The life cycle is a table: `TABLE[state, move]` is a rule with its reason, and what has no row is impossible. A move
is an action, told apart where it matters (`wait_citizen`, `unit_on_scene`), or something that happens by itself.
"""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from schemas.case import (
    BROUGHT_BY_CAMERA,
    BROUGHT_BY_REPORT,
    OPEN,
    REVIEWS_NEEDED,
    WAITING,
    Case,
    Evidence,
    Kind,
    OfferStep,
    State,
)
from schemas.category import CaseRules, LawStep
from schemas.command import Action, OfferStepped, Wait, name_of
from schemas.identity import Role

OPERATOR, DISPATCHER, UNIT, LEADER = Role.OPERATOR, Role.DISPATCHER, Role.UNIT, Role.LEADER
CITIZEN, ADMINISTRATOR, SYSTEM = Role.CITIZEN, Role.ADMINISTRATOR, Role.SYSTEM


class To(StrEnum):
    """Where a move leads that does not always lead to one state."""

    SAME = "same"
    BACK = "back"  # to where it was before it waited
    UNITS = "units"  # to where the unit is that has come the furthest, if any is left


class Need(StrEnum):
    """What a case has to have before a move, counting what the move brings."""

    AGENCY = "agency"
    RESULT = "result"
    EVIDENCE = "evidence"
    REASON = "reason"
    UPHELD = "upheld"  # a camera violation: enough people say that it is one
    STEPS = "steps"  # every step that the law gives for its category was taken
    DROPPED = "dropped"  # a camera violation: enough people say that it is none


class Permit(NamedTuple):
    """Who may make a move, whether it is a fact (which no newer version makes wrong), and what it needs."""

    roles: frozenset[Role]
    is_fact: bool
    needs: tuple[Need, ...]
    why: str


class Rule(NamedTuple):
    """One row of the table."""

    to: State | To
    roles: frozenset[Role]
    needs: tuple[Need, ...]
    is_fact: bool
    why: str


UNTOUCHED = (State.NEW, State.TRIAGED)
AT_WORK = (State.ASSIGNED, State.ACCEPTED, State.EN_ROUTE, State.ON_SCENE, State.REOPENED)
WAITS = (State.WAITING_CITIZEN, State.WAITING_AGENCY)
ENDED = (State.CONFIRMED, State.CLOSED, State.REJECTED)
ACTIVE = (*UNTOUCHED, *AT_WORK)
UNDONE = (*ACTIVE, *WAITS)
NOT_MERGED = (*UNDONE, State.RESOLVED, *ENDED)
ANY = (*NOT_MERGED, State.MERGED)

BEFORE_FIELD = (*UNTOUCHED, State.ASSIGNED, State.REOPENED)
FIELD: Mapping[OfferStep, State] = {
    OfferStep.ON_SCENE: State.ON_SCENE,
    OfferStep.EN_ROUTE: State.EN_ROUTE,
    OfferStep.ACCEPTED: State.ACCEPTED,
}
"""The state that a unit's step puts a case in, the furthest first."""

RUNNING = frozenset(ACTIVE)
"""States in which the law's clocks run."""

STOPPED = frozenset({State.RESOLVED, *ENDED})
"""States in which they have stopped."""


def _permit(*roles: Role, fact: bool = False, needs: Iterable[Need] = (), why: str) -> Permit:
    return Permit(frozenset(roles), fact, tuple(needs), why)


_BY_RADIO = "the unit says so, or the dispatcher who has it on the radio"

PERMITS: Mapping[str, Permit] = {
    "open": _permit(OPERATOR, DISPATCHER, why="who is told by word of mouth puts it down"),
    "triage": _permit(OPERATOR, why="judging what it is, is the operator's work"),
    "assign": _permit(OPERATOR, DISPATCHER, why="who hands out work decides whose it is"),
    "accept": _permit(OPERATOR, DISPATCHER, needs=[Need.AGENCY], why="an agency's own staff take it on"),
    "merge": _permit(OPERATOR, SYSTEM, why="an operator confirms a proposal, or the site pack's rule does"),
    "unmerge": _permit(OPERATOR, why="what an operator joined an operator takes apart"),
    "split": _permit(OPERATOR, why="what an operator joined an operator takes apart"),
    "dismiss": _permit(OPERATOR, why="judging what it is, is the operator's work"),
    "dispatch": _permit(DISPATCHER, why="one place knows where all units are"),
    "withdraw_offer": _permit(DISPATCHER, why="who sends a unit calls it back"),
    "unit_told": _permit(UNIT, DISPATCHER, SYSTEM, fact=True, why=f"{_BY_RADIO}; or a receipt does"),
    "unit_accepted": _permit(UNIT, DISPATCHER, fact=True, why=_BY_RADIO),
    "unit_en_route": _permit(UNIT, DISPATCHER, fact=True, why=_BY_RADIO),
    "unit_on_scene": _permit(UNIT, DISPATCHER, fact=True, why=_BY_RADIO),
    "unit_done": _permit(UNIT, DISPATCHER, fact=True, why=_BY_RADIO),
    "unit_declined": _permit(UNIT, DISPATCHER, fact=True, why=_BY_RADIO),
    "wait_citizen": _permit(OPERATOR, why="it stops the clocks, so whoever answers for them says so"),
    "wait_agency": _permit(OPERATOR, why="it stops the clocks, so whoever answers for them says so"),
    "resume": _permit(OPERATOR, why="who let it wait lets it go on"),
    "answer": _permit(OPERATOR, why="one voice speaks to the citizen"),
    "note": _permit(
        OPERATOR, DISPATCHER, UNIT, LEADER, SYSTEM, fact=True, why="whoever handles it adds what they know"
    ),
    "resolve": _permit(
        OPERATOR,
        needs=[Need.RESULT, Need.UPHELD, Need.STEPS],
        why="the citizen is told what was done, so it has to be said",
    ),
    "close": _permit(
        OPERATOR,
        needs=[Need.RESULT, Need.EVIDENCE, Need.UPHELD, Need.STEPS],
        why="nobody looks at it again: what was done is said and shown",
    ),
    "reject": _permit(
        OPERATOR, needs=[Need.REASON, Need.DROPPED], why="whoever reported it is told why nothing will be done"
    ),
    "reopen": _permit(OPERATOR, LEADER, needs=[Need.REASON], why="who sees that it was not done says so"),
    "acknowledge": _permit(OPERATOR, DISPATCHER, LEADER, fact=True, why="one who has seen it spares the others"),
    "review": _permit(OPERATOR, LEADER, fact=True, why="a verdict is a person's own, whatever came in between"),
    "law_step": _permit(OPERATOR, needs=[Need.UPHELD], why="whoever handles it does what the law wants done"),
    "reveal": _permit(OPERATOR, DISPATCHER, fact=True, why="who handles it may have to know, on the record"),
    "confirm": _permit(CITIZEN, why="only who reported it can agree that it is fixed"),
    "dispute": _permit(CITIZEN, needs=[Need.REASON], why="only who reported it can disagree"),
    "rate": _permit(CITIZEN, fact=True, why="only who reported it can be satisfied"),
    "reply": _permit(CITIZEN, fact=True, why="the citizen answers what was asked"),
    "deadline": _permit(SYSTEM, fact=True, why="the centre itself watches the time"),
    "availability": _permit(UNIT, DISPATCHER, fact=True, why="a unit knows best whether it can be sent"),
    "silence": _permit(OPERATOR, LEADER, why="who hears an alert can ask for quiet, in one's own areas"),
    "erase": _permit(ADMINISTRATOR, why="it cannot be undone"),
    "be_merged": _permit(OPERATOR, SYSTEM, why="as `merge`, seen from the other case"),
    "unattended": _permit(
        SYSTEM, needs=[Need.RESULT, Need.EVIDENCE, Need.UPHELD, Need.STEPS], why="silence ends it, but proves nothing"
    ),
    "source_closed": _permit(
        SYSTEM,
        fact=True,
        needs=[Need.RESULT, Need.EVIDENCE, Need.UPHELD, Need.STEPS],
        why="the source says what it has done",
    ),
    "source_reopened": _permit(SYSTEM, fact=True, why="the source says that it came back"),
    "source_withdrew": _permit(SYSTEM, fact=True, needs=[Need.REASON], why="the source says that it never was"),
    "seen_again": _permit(SYSTEM, fact=True, why="it happens again, whatever was thought"),
    "over": _permit(SYSTEM, fact=True, needs=[Need.RESULT], why="the figure is back where it should be"),
}
"""Of each move who may make it, and what it needs."""

_Row = tuple[Collection[State], str, State | To, str]

_ROWS: tuple[_Row, ...] = (
    ([State.NEW], "triage", State.TRIAGED, "somebody has judged what it is"),
    ([*NOT_MERGED[1:]], "triage", To.SAME, "a better judgement is no progress; a complaint is protected at any time"),
    ([*UNTOUCHED, State.ASSIGNED, State.ACCEPTED, State.REOPENED, *WAITS], "assign", State.ASSIGNED,
     "the new owner has yet to take it on; the clocks run on as they were"),
    ([State.EN_ROUTE, State.ON_SCENE], "assign", To.SAME, "units on their way go on, whoever the owner is"),
    ([State.ASSIGNED, State.REOPENED], "accept", State.ACCEPTED, "the owner takes it on"),
    ([*UNDONE, State.RESOLVED], "merge", To.SAME, "more signals change no progress"),
    ([*UNDONE, State.RESOLVED], "be_merged", State.MERGED, "what happens to it happens to the other from now on"),
    (NOT_MERGED, "unmerge", To.SAME, "a mistake can be undone at any time"),
    ([*UNDONE, State.RESOLVED], "split", To.SAME, "fewer signals change no progress"),
    (NOT_MERGED, "dismiss", To.SAME, "it says something of two cases, not of their progress"),
    ([State.NEW], "dispatch", State.TRIAGED, "to send somebody is a judgement of what it is"),
    ([State.TRIAGED, *AT_WORK, State.WAITING_AGENCY], "dispatch", To.SAME,
     "an offer is no progress until it is accepted"),
    (ANY, "withdraw_offer", To.UNITS, "a unit can always be told to turn round"),
    (ANY, "unit_told", To.SAME, "what a unit has heard is no progress of the case"),
    (ANY, "unit_declined", To.UNITS, "the next unit is another offer"),
    ([*UNTOUCHED, State.ASSIGNED, State.REOPENED], "unit_accepted", State.ACCEPTED, "who goes there has taken it on"),
    ([State.ACCEPTED, State.EN_ROUTE, State.ON_SCENE, *WAITS, State.RESOLVED, *ENDED, State.MERGED],
     "unit_accepted", To.SAME, "a fact, late or of a further unit"),
    ([*UNTOUCHED, State.ASSIGNED, State.ACCEPTED, State.REOPENED], "unit_en_route", State.EN_ROUTE,
     "the first unit has left"),
    ([State.EN_ROUTE, State.ON_SCENE, *WAITS, State.RESOLVED, *ENDED, State.MERGED],
     "unit_en_route", To.SAME, "a fact, late or of a further unit"),
    ([*UNTOUCHED, State.ASSIGNED, State.ACCEPTED, State.EN_ROUTE, State.REOPENED], "unit_on_scene", State.ON_SCENE,
     "the first unit is there"),
    ([State.ON_SCENE, *WAITS, State.RESOLVED, *ENDED, State.MERGED],
     "unit_on_scene", To.SAME, "a fact, late or of a further unit"),
    (ANY, "unit_done", To.UNITS, "whether the case is resolved depends on a result, and on the other units"),
    (ACTIVE, "wait_citizen", State.WAITING_CITIZEN, "nothing can be done until the citizen answers"),
    (ACTIVE, "wait_agency", State.WAITING_AGENCY, "nothing can be done until another agency has done its part"),
    (WAITS, "resume", To.BACK, "it goes on where it stood"),
    (NOT_MERGED, "answer", To.SAME, "one may always say something"),
    (ANY, "note", To.SAME, "one may always add what one knows"),
    ([State.TRIAGED, *AT_WORK, *WAITS], "resolve", State.RESOLVED, "it is done; the citizen is asked"),
    ([State.RESOLVED, State.CONFIRMED], "close", State.CLOSED, "nobody has anything left to do or to say"),
    ([State.RESOLVED, State.CONFIRMED], "unattended", State.CLOSED, "nobody has said anything for so long"),
    (UNDONE, "reject", State.REJECTED, "nothing will be done"),
    ([State.RESOLVED, *ENDED], "reopen", State.REOPENED, "it was not done after all; the clock runs on"),
    ([*UNDONE, State.RESOLVED], "acknowledge", To.SAME, "who has seen it has not done anything yet"),
    (UNDONE, "review", To.SAME, "what follows from the verdicts is another step"),
    ([*UNDONE], "law_step", To.SAME, "the last of them allows the result; it is not the result"),
    (ANY, "reveal", To.SAME, "who looks changes nothing"),
    ([State.RESOLVED], "confirm", State.CONFIRMED, "the citizen agrees"),
    ([State.RESOLVED, *ENDED], "dispute", State.REOPENED, "the citizen does not agree; the clock runs on"),
    ([State.RESOLVED, *ENDED], "rate", To.SAME, "how satisfied somebody is can be said when it is done"),
    ([State.WAITING_CITIZEN], "reply", To.BACK, "what was waited for has come"),
    ([*ACTIVE, State.WAITING_AGENCY, State.RESOLVED, *ENDED], "reply", To.SAME, "one may always add something"),
    (ANY, "deadline", To.SAME, "what a deadline sets off is another step"),
    ([*UNDONE, State.RESOLVED, State.CONFIRMED, State.REJECTED], "source_closed", State.CLOSED,
     "who it was reported to has ended it"),
    ([State.RESOLVED, *ENDED], "source_reopened", State.REOPENED, "who it was reported to has taken it up again"),
    (UNDONE, "source_withdrew", State.REJECTED, "nothing is left to be done"),
    ([State.RESOLVED, *ENDED], "seen_again", State.REOPENED, "what was over is not"),
    (UNDONE, "over", State.RESOLVED, "what it was about has ended by itself"),
)  # fmt: skip


def _tabled(rows: Iterable[_Row]) -> dict[tuple[State, str], Rule]:
    table: dict[tuple[State, str], Rule] = {}
    for states, move, to, why in rows:
        permit = PERMITS[move]
        for state in states:
            assert (state, move) not in table, f"{state} {move} has two rows"
            table[state, move] = Rule(to, permit.roles, permit.needs, permit.is_fact, why)
    return table


TABLE: Mapping[tuple[State, str], Rule] = _tabled(_ROWS)
"""The life cycle."""

PASSED_ON = frozenset({"confirm", "dispute", "rate", "reply"})
"""What a citizen does to a case that was merged goes to the one that it was merged into."""

_STEP_MOVES = {
    "delivered": "unit_told",
    "seen": "unit_told",
    "accepted": "unit_accepted",
    "en_route": "unit_en_route",
    "on_scene": "unit_on_scene",
    "done": "unit_done",
    "declined": "unit_declined",
}


def move_of(action: Action) -> str:
    """The move that an action is."""
    if isinstance(action, Wait):
        return f"wait_{action.until}"
    if isinstance(action, OfferStepped):
        return _STEP_MOVES[action.step]
    return name_of(action)


def led_to(case: Case, rule: Rule) -> State:
    """The state that a rule leads a case to."""
    if rule.to in (To.SAME, To.UNITS):
        return case.state
    if rule.to is To.BACK:
        return case.before_waiting or State.TRIAGED
    return State(rule.to)


def steps_left(rules: CaseRules | None, case: Case) -> tuple[LawStep, ...]:
    """What the law still wants done about a case, in order."""
    taken = {one.step for one in case.taken}
    category = None if rules is None else rules.of(case.category)
    if category is None or category.id != case.category:
        return ()
    return tuple(step for step in category.steps if step.id not in taken)


def lacking(rules: CaseRules | None, case: Case, needs: Iterable[Need], reason: str = "") -> Need | None:
    """The first thing that the case, with what the move brings, does not have."""
    has = {
        Need.AGENCY: case.agency is not None,
        Need.RESULT: bool(case.result),
        Need.EVIDENCE: any(_proves(case, one) for one in case.evidence),
        Need.REASON: bool(reason),
        Need.UPHELD: case.kind is not Kind.VIOLATION or _agreed(case, upheld=True),
        Need.STEPS: not steps_left(rules, case),
        Need.DROPPED: case.kind is not Kind.VIOLATION or _agreed(case, upheld=False),
    }
    return next((need for need in needs if not has[need]), None)


def _proves(case: Case, evidence: Evidence) -> bool:
    """Whether an attachment shows that something was done: what a signal came with shows only why it has to be.

    Of a violation that is all there is to show.
    """
    return evidence.kind != BROUGHT_BY_REPORT and (evidence.kind != BROUGHT_BY_CAMERA or case.kind is Kind.VIOLATION)


def _agreed(case: Case, *, upheld: bool) -> bool:
    return len({review.by for review in case.reviews if review.upheld is upheld}) >= REVIEWS_NEEDED


assert frozenset(UNDONE) | {State.RESOLVED} == OPEN, "a case is open as long as somebody has something to do"
assert frozenset(WAITS) == WAITING, "the clocks stand still while a case waits"
