"""A site, the people who work there, and a store of cases in memory: what tests of decisions act in.

The store gives a decision only what `cases_needed`, `units_needed` and `signals_needed` ask for, and holds each
outcome to what every outcome has to keep to.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import msgspec

from schemas.agency import is_below
from schemas.area_id import AreaId
from schemas.case import OFFER_OVER, WAITING, Case, CaseId, Deadline, Entry, Kind, State, case_id
from schemas.category import supervising_agency
from schemas.command import Action, Actor, Command, DeadlinePassed, Open
from schemas.event import (
    Alert,
    AlertChanged,
    AnyEvent,
    CameraIncident,
    CaseCommand,
    Feedback,
    FeedbackReceived,
    Incident,
)
from schemas.identity import Role
from schemas.site import Site
from schemas.topics import case_of
from schemas.unit import UnitState
from streams.core.consequence import SYSTEM, SYSTEM_ACTOR, Cause, stepped
from streams.core.correction import correction_of, settle
from streams.core.decide import (
    SILENCE_MAX,
    Decided,
    Scene,
    cases_needed,
    deadlines_of,
    decide,
    home_needed,
    next_case,
    signals_needed,
    units_needed,
    wants_near,
)
from streams.core.duty import Duty
from streams.core.life_cycle import RUNNING
from streams.core.merging import newly_of
from streams.core.notice import Notice, to_agency
from tests.schemas.case_pack import AT, FILES, site

CASES = """
other = "other"
proposals = { radius_m = 100, within_s = 3600, least_score = 0.5, confirm_score = 0.95 }
[confirmation]
close_after_days = 7
[[category]]
id = "other"
names = { en = "Other" }
publish = true
[[category]]
id = "pothole"
names = { en = "Pothole" }
agency = "roads"
skills = ["road"]
group = "roads"
[[category]]
id = "crack"
names = { en = "Crack" }
group = "roads"
[[category]]
id = "fire"
names = { en = "Fire" }
kind = "incident"
severity = "critical"
skills = ["fire"]
[[category]]
id = "red_light"
names = { en = "Red light" }
kind = "violation"
publish = true
[[category]]
id = "overload"
names = { en = "Overload" }
kind = "violation"
[[category.steps]]
id = "owner_found"
names = { en = "Owner found" }
[[category.steps]]
id = "notice_sent"
names = { en = "Notice sent" }
[[category]]
id = "conduct"
names = { en = "An official's conduct" }
kind = "conduct"
agency = "inspection"
publish = true
[[category]]
id = "chatter"
names = { en = "Chatter" }
opens = false
"""
AGENCIES = """
[[agency]]
id = "province"
names = { en = "Province" }
[[agency]]
id = "inspection"
names = { en = "Inspection" }
[[agency]]
id = "roads"
names = { en = "Roads" }
supervisor = "province"
[[agency]]
id = "bridges"
names = { en = "Bridges" }
supervisor = "roads"
[[agency]]
id = "power"
names = { en = "Power" }
supervisor = "province"
"""
CLOCKS = """
[[clock]]
clock = "first_answer"
allowed = "4h"
warn_share = 0.5
[[clock]]
clock = "acceptance"
allowed = "2h"
[[clock]]
clock = "arrival"
allowed = "30m"
[[clock]]
clock = "resolution"
allowed = "3d"
[[clock]]
clock = "resolution"
allowed = "1d"
severities = ["critical"]
"""
ALERTS = """
[[rule]]
id = "rule"
names = { vi = "Nhiều", en = "Many" }
category = "other"
kpi = "k"
every = "minute"
threshold = { above = 5 }
"""
PACK: Mapping[str, str] = FILES | {"cases.toml": CASES, "agencies.toml": AGENCIES, "clocks.toml": CLOCKS}
SITE = site(PACK)
WATCHED = site({**PACK, "alerts.toml": ALERTS})
"""The same with an alert rule, which can be silenced."""

ROOT, COMMUNE, OTHER_COMMUNE = (area.id for area in SITE.areas)
"""The province, and the two communes in it."""

REPORTED = ("agency", "accused_agency", "tracking", "title", "attachments", "person")
"""What `World.report` puts into the report itself; the rest it is given is for the envelope."""

TRACKING = "a" * 64
OTHER_TRACKING = "b" * 64
PLACE = "geo:21.1,105.1"


def _actor(id_: str, *roles: Role, **other: Any) -> Actor:
    return Actor(id=id_, roles=roles, **({"areas": (ROOT,)} | other))


OPERATOR = _actor("op", Role.OPERATOR, sees_all=True)
COLLEAGUE = _actor("op2", Role.OPERATOR, sees_all=True)
DISPATCHER = _actor("dis", Role.DISPATCHER, sees_all=True)
LEADER = _actor("boss", Role.LEADER, sees_all=True)
AUDITOR = _actor("auditor", Role.AUDITOR, sees_all=True)
ADMINISTRATOR = _actor("admin", Role.ADMINISTRATOR)
AT_ROADS = _actor("at-roads", Role.OPERATOR, Role.DISPATCHER, agency="roads", under=("province",))
AT_POWER = _actor("at-power", Role.OPERATOR, agency="power", under=("province",))
AT_PROVINCE = _actor("at-province", Role.OPERATOR, agency="province")
AT_INSPECTION = _actor("at-inspection", Role.OPERATOR, agency="inspection")
SEES_ALL_BUT_BELOW = _actor("at-bridges", Role.OPERATOR, agency="bridges", under=("roads", "province"), sees_all=True)
ELSEWHERE = _actor("elsewhere", Role.OPERATOR, sees_all=True, areas=(OTHER_COMMUNE,))
CITIZEN = _actor("citizen", Role.CITIZEN, areas=(), tracking=TRACKING)
UNIT = {name: _actor(f"unit-{name}", Role.UNIT, unit=name) for name in SITE.units}
EVERYBODY = (
    OPERATOR,
    COLLEAGUE,
    DISPATCHER,
    LEADER,
    AUDITOR,
    ADMINISTRATOR,
    AT_ROADS,
    AT_POWER,
    AT_PROVINCE,
    AT_INSPECTION,
    SEES_ALL_BUT_BELOW,
    ELSEWHERE,
    CITIZEN,
    *UNIT.values(),
)


class World:
    """A store of cases in memory, with a clock that only tests move."""

    def __init__(self, of: Site = SITE) -> None:
        self.site = of
        self.now: datetime = AT
        self.cases: dict[CaseId, Case] = {}
        self.units: dict[str, UnitState] = {}
        self.stored: dict[tuple[str, str], AnyEvent] = {}
        self.homes: dict[tuple[str, str], CaseId] = {}
        self.timeline: list[Entry] = []
        self.notices: list[Notice] = []
        self.duties: list[Duty] = []
        self.steps: list[tuple[str, CaseId, str | None]] = []
        self.fired: set[tuple[str, str, datetime]] = set()
        self.last = Decided()
        self._numbers: Iterator[int] = count(1)

    def take(self, event: AnyEvent, area: AreaId = COMMUNE) -> Decided:
        """Decides an event, once, and keeps what comes of it."""
        if (event.source, event.id) in self.stored:
            return Decided()
        self.stored[event.source, event.id] = event
        near = [one for one in self.cases.values() if one.is_open] if wants_near(event, self.site) else []
        corrects = home_needed(event)
        ways = {} if corrects is None or corrects not in self.homes else {corrects: self._way(*corrects)}
        homes = {corrected: self.homes[corrected[0], way[-1]] for corrected, way in ways.items()}
        cases = self._reached(event, homes)
        needed = units_needed(event, cases, homes)
        scene = Scene(
            site=self.site,
            cases=cases,
            units={name: state for name, state in self.units.items() if needed is None or name in needed},
            signals={key: self.stored[key] for key in signals_needed(event, cases, homes) if key in self.stored},
            homes=homes,
            ways=ways,
            near=near,
        )
        decided = decide(event, area, self.now, scene)
        assert decided == decide(event, area, self.now, scene), "a decision follows from its arguments alone"
        self._check(decided, needed)
        self.homes.setdefault((event.source, event.id), CaseId(case_of(event)))
        for case in decided.cases:
            for member in newly_of(self.cases.get(case.id), case):
                self.homes[member.source, member.id] = case.id
            # As a store keeps it, so that nothing depends on what JSON does not hold.
            self.cases[case.id] = msgspec.json.decode(msgspec.json.encode(case), type=Case)
            assert self.cases[case.id] == case
        assert all(one.until <= self.now + SILENCE_MAX for one in decided.silenced)
        self.units |= {state.unit: state for state in decided.units}
        self.timeline += decided.entries
        self.notices += decided.notices
        self.duties += decided.duties
        self.steps += [(step.data.step, step.case.id, step.data.unit) for step in decided.steps]
        cause = Cause(event.source, event.id, self.now)
        for step in stepped(self.site.areas, cause, decided.steps):
            self.stored[step.source, step.id] = step
        for following in decided.commands:
            self.take(self.command_event(following.action, SYSTEM_ACTOR, following.case))
        for signal in decided.signals:
            self.take(signal)
        self.last = decided
        return decided

    def report(self, category: str = "other", subject: str = "r1", **other: Any) -> CaseId:
        """A citizen's report comes in. Returns the case that it belongs to."""
        data = {name: other.pop(name) for name in REPORTED if name in other}
        event = FeedbackReceived(
            **self._envelope(subject, **other),
            data=Feedback(category=category, channel="web", **({"tracking": TRACKING, "person": "p" * 64} | data)),
        )
        self.take(event)
        return CaseId(case_of(event))

    def incident(self, kind: str = "fire", subject: str = "i1", **other: Any) -> CaseId:
        """A camera system raises an incident."""
        plate = other.pop("plate", None)
        data = Incident(camera="cam", kind=kind, severity="major", plate=plate, attachments=("blob:1",))
        event = CameraIncident(**self._envelope(subject, **other), data=data)
        self.take(event)
        return CaseId(case_of(event))

    def alert(self, state: Any = "firing", subject: str = "a1", **other: Any) -> CaseId:
        """An alert rule says something of a group."""
        data = Alert(rule="rule", state=state, category="power", severity="major", title="Too much")
        self.take(AlertChanged(**self._envelope(subject, **other), data=data))
        return case_id("source", subject)

    def signal(self, cls: Any, data: Any, subject: str = "r1", **other: Any) -> Decided:
        """Another signal about a subject."""
        return self.take(cls(**self._envelope(subject, **other), data=data))

    def open(self, category: str = "other", actor: Actor = OPERATOR, area: AreaId = COMMUNE, **other: Any) -> CaseId:
        """An operator opens a case."""
        id_ = f"open{next(self._numbers)}"
        source = f"person:{actor.id}"
        own = case_id(source, id_)
        action = Open(category=category, title="An entry", **other)
        envelope = self._envelope(own, source=source, id=id_)
        self.take(CaseCommand(**envelope, data=Command(do=action, actor=actor)), area)
        return own

    def ask(self, case: str, action: Action, actor: Actor = OPERATOR, **envelope: Any) -> Decided:
        """Somebody asks for something."""
        return self.take(self.command_event(action, actor, case, **envelope))

    def do(self, case: CaseId, action: Action, actor: Actor = OPERATOR, **envelope: Any) -> Case:
        """The same for what has to work. Returns the case after it."""
        decided = self.ask(case, action, actor, **envelope)
        assert decided.refusal is None, decided.detail
        return self.cases[case]

    def command_event(self, action: Any, actor: Actor, case: str, **envelope: Any) -> CaseCommand:
        source = SYSTEM if Role.SYSTEM in actor.roles else f"person:{actor.id}"
        return CaseCommand(**(self._envelope(case, source=source) | envelope), data=Command(do=action, actor=actor))

    def pass_time(self, **duration: float) -> None:
        """Time passes, and what falls due is done in its order."""
        end = self.now + timedelta(**duration)
        while (due := self.next_due()) is not None and due.due_at <= end:
            self.now = max(self.now, due.due_at)
            self.fire(due)
        self.now = end

    def next_due(self) -> Deadline | None:
        """The deadline that falls due first, of those that have not been told of."""
        waiting = [
            due
            for case in self.cases.values()
            for due in deadlines_of(case, self.site)
            if (due.case, due.name, due.due_at) not in self.fired
        ]
        return min(waiting, key=lambda due: (due.due_at, due.case, due.name), default=None)

    def fire(self, due: Deadline) -> Decided:
        """Tells that a deadline has passed."""
        self.fired.add((due.case, due.name, due.due_at))
        action, case = DeadlinePassed(name=due.name, due_at=due.due_at), self.cases.get(due.case)
        return self.ask(due.case, action, SYSTEM_ACTOR, exercise=case is not None and case.exercise)

    def told(self, why: str) -> list[str]:
        """Who was told for this reason."""
        return [to for notice in self.notices if notice.why == why for to in notice.to]

    def said(self, case: CaseId) -> list[str]:
        """What the case's timeline says was done."""
        return [entry.action for entry in self.timeline if entry.case == case]

    def told_in_public(self, case: CaseId) -> list[tuple[str, str]]:
        """What whoever reported it reads of the case's timeline: what was done, and in which words."""
        return [(one.action, one.text) for one in self.timeline if one.case == case and one.public]

    def countable(self) -> list[AnyEvent]:
        """The events that count, by the rule of corrections."""
        kept = [correction_of(event, event.received_at or self.now) for event in self.stored.values()]
        return [self.stored[one.identity] for one in settle(kept, [], ()).counted]

    def _envelope(self, subject: str, **other: Any) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": f"e{next(self._numbers)}",
            "source": "source",
            "subject": subject,
            "time": self.now,
            "received_at": self.now,
        } | other

    def _way(self, source: str, id_: str) -> list[str]:
        """What is kept under this id, what that corrects, and so on."""
        found: list[str] = []
        at: str | None = id_
        while at is not None and at not in found and (event := self.stored.get((source, at))) is not None:
            found.append(at)
            at = event.supersedes or event.withdraws
        return found

    def _reached(self, event: AnyEvent, homes: Mapping[tuple[str, str], CaseId]) -> dict[CaseId, Case]:
        found: dict[CaseId, Case] = {}
        for origin in cases_needed(event, homes):
            at: CaseId | None = origin
            while at is not None and at in self.cases:
                seen = at in found
                found[at] = self.cases[at]
                at = next_case(self.cases[at], origin)
                if seen and at in found:
                    break
        return found

    def _check(self, decided: Decided, needed: frozenset[str] | None) -> None:
        if decided.refusal is not None:
            assert decided == Decided(refusal=decided.refusal, detail=decided.detail, subject=decided.subject)
            assert decided.detail
        for case in decided.cases:
            before = self.cases.get(case.id)
            assert case.version == (1 if before is None else before.version + 1)
            check_case(case, self.site)
        assert all(entry.case in self.cases | {case.id: case for case in decided.cases} for entry in decided.entries)
        for state in decided.units:
            assert needed is None or state.unit in needed, "units_needed says what is changed"
            before = self.units.get(state.unit)
            assert state.version == (1 if before is None else before.version + 1)
        for notice in decided.notices:
            case = {**self.cases, **{one.id: one for one in decided.cases}}[notice.case]
            assert case.accused_agency is None or to_agency(case.accused_agency) not in notice.to


def check_case(case: Case, of: Site = SITE) -> None:
    """What holds of every case in every state."""
    running = [clock for clock in case.clocks if clock.since is not None]
    if case.state in WAITING:
        assert not running, "no clock runs while a case waits"
        assert case.before_waiting in RUNNING
    elif case.state is not State.MERGED:
        assert case.before_waiting is None
    if case.state in RUNNING:
        assert all(clock.since is not None or clock.stopped_at is not None for clock in case.clocks)
    if not case.is_open and case.state is not State.MERGED:
        assert not running, "no clock runs when it is over"
        assert not case.units, "nobody is at a case that is over"
    if case.state is State.CLOSED:
        assert case.result
        assert case.evidence, "a case is closed with evidence"
    if case.state is State.REJECTED:
        assert case.reason
    assert (case.state is State.MERGED) == (case.merged_into is not None)
    open_offers = Counter(offer.unit for offer in case.offers if offer.step not in OFFER_OVER)
    assert all(n == 1 for n in open_offers.values()), "a unit has one open offer of a case"
    assert len({offer.number for offer in case.offers}) == len(case.offers)
    assert (case.kind is Kind.CONDUCT) == (case.accused_agency is not None)
    if case.kind is Kind.CONDUCT:
        assert case.agency is None or not is_below(of.agencies, case.agency, case.accused_agency or "")
        assert (
            case.agency is not None
            or supervising_agency(of.cases, of.agencies, case.category, case.accused_agency or "") is None
        ), "somebody has it who can"
        assert not case.units
        assert not case.published
    names = [due.name for due in deadlines_of(case, of)]
    assert len(set(names)) == len(names)
