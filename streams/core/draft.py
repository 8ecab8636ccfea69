"""What has been decided so far, while one event is looked at?

A draft collects new versions of cases with all that goes with them, and is thrown away when the event is refused.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from schemas.agency import is_below, supervisors_of
from schemas.area_id import AreaId
from schemas.case import COUNTED_MAX, OFFER_OVER, WAITING, Case, CaseId, ClockName, Entry, Kind, Refusal, State
from schemas.command import Actor, AnyAction
from schemas.event import CaseCommand, CaseStep, Event
from schemas.identity import Seen, may_see
from schemas.site import Site
from schemas.unit import UnitState
from streams.core import clock, dispatch
from streams.core.consequence import SYSTEM, Cause, step_id
from streams.core.duty import Duty
from streams.core.life_cycle import RUNNING, STOPPED
from streams.core.notice import SUBSCRIBERS, Notice, Why, has_subscribers, to_agency, to_unit
from streams.core.scene import Corrected, Decided, Following, Judged, Proposal, Scene, Silenced, Step

Word = str | int | float | bool | None


class Refused(NamedTuple):
    """Why an event changes nothing: a machine-readable word, and a sentence for whoever sent it."""

    reason: Refusal
    detail: str


class Draft:
    """The outcome of one event in the making. `actor` and `role` are who the timeline says it was."""

    def __init__(self, scene: Scene, event: Event, now: datetime, actor: Actor, role: str) -> None:
        self.scene = scene
        self.site: Site = scene.site
        self.event = event
        self.now = now
        self.actor = actor
        self.role = role
        # A command on the log may be from before anybody noted who supervises its sender, or before they did.
        own = (one for one in (actor.agency, *actor.agencies) if one is not None)
        over = (one for agency in own for one in supervisors_of(scene.site.agencies, agency))
        self._seeing = replace(actor, under=tuple(dict.fromkeys((*actor.under, *over))))
        self.units: dict[str, UnitState] = {}
        self.proposals: list[Proposal] = []
        self.judged: list[Judged] = []
        self.signals: list[Corrected] = []
        self.silenced: list[Silenced] = []
        self.erased: list[str] = []
        self._cases: dict[CaseId, Case] = {}
        self._entries: list[Entry] = []
        self._steps: list[Step] = []
        self._commands: list[Following] = []
        self._notices: list[Notice] = []
        self.duties: list[Duty] = []
        self._counted: dict[CaseId, list[tuple[str, str]]] = {}

    @property
    def at(self) -> datetime:
        """When a fact was so: what its event says, but not after it became known."""
        return min(self.event.time, self.now)

    def sees(self, case: Case, units: Iterable[str] = ()) -> bool:
        """Whether the actor may know of a case; `units` see it beside those that are on it."""
        return may_see(
            self._seeing,
            Seen(
                areas=case.areas,
                agency=case.agency,
                accused_agency=case.accused_agency,
                units=(*case.units, *units),
                tracking=case.tracking,
            ),
        )

    def unit(self, unit: str) -> UnitState:
        """What is known of a unit by now."""
        return self.units.get(unit) or self.scene.units.get(unit) or UnitState(unit=unit)

    def put(self, case: Case) -> Case:
        """Makes this the case's new version."""
        self._cases[case.id] = case
        return case

    def tell(
        self, case: Case, action: str, at: datetime, text: str = "", *, public: bool = False, **detail: Word
    ) -> None:
        """Adds a line to the case's timeline."""
        self._tell(case, action, at, text, public, detail)

    def tell_said(self, case: Case, action: str, at: datetime, *, public: bool = False, **detail: Word) -> None:
        """Adds a line that says how much a citizen wrote in this command. The words are kept apart, under a seal."""
        event = self.event
        words = event.data.words if isinstance(event, CaseCommand) else 0
        sealed = (event.source, event.id) if words else None
        self._tell(case, action, at, "", public, detail | {"words": words or None}, sealed)

    def _tell(
        self,
        case: Case,
        action: str,
        at: datetime,
        text: str,
        public: bool,
        detail: dict[str, Word],
        sealed: tuple[str, str] | None = None,
    ) -> None:
        self._entries.append(
            Entry(
                case=case.id,
                number=0,
                at=at,
                recorded_at=self.now,
                action=action,
                actor=self.actor.id,
                role=self.role,
                text=text,
                public=public,
                detail={name: value for name, value in detail.items() if value is not None},
                sealed=sealed,
            )
        )

    def count(
        self,
        case: Case,
        step: str,
        at: datetime,
        *,
        since: datetime | None = None,
        by: ClockName | None = None,
        unit: str | None = None,
        score: int | None = None,
    ) -> None:
        """Adds a step to be counted; `by` names the clock that it ends, which has been stopped."""
        stopped = next((one for one in case.clocks if one.name is by), None)
        before = self.scene.cases.get(case.id)
        due_at = next((one.due_at for one in before.clocks if one.name is by), None) if before is not None else None
        channel = next((member.channel for member in case.members if member.channel is not None), None)
        data = CaseStep(
            case=case.id,
            step=step,
            kind=case.kind,
            category=case.category,
            severity=case.severity,
            agency=case.agency,
            channel=channel,
            unit=unit,
            since=since,
            due_at=due_at,
            worked_s=None if stopped is None else max(0.0, stopped.ran_s),
            on_time=None if stopped is None else stopped.breached_at is None,
            score=score,
        )
        self.remember(case, SYSTEM, step_id(Cause(self.event.source, self.event.id, self.now), len(self._steps)))
        self._steps.append(Step(case, at, data))

    def remember(self, case: Case, source: str, id_: str) -> None:
        """Notes on the case that this event was counted for it."""
        self._counted.setdefault(case.id, []).append((source, id_))

    def follow(self, case: CaseId, area: AreaId, action: AnyAction) -> None:
        """Lets a command follow from this."""
        self._commands.append(Following(case, area, action))

    def notify(self, case: Case, to: Iterable[str], why: Why, **detail: Word) -> None:
        """Has somebody told; no agency that must not know, and subscribers only where there are any."""
        accused = case.accused_agency
        hidden: set[str] = set()
        if accused is not None:
            below = (one for one in self.site.agencies if is_below(self.site.agencies, one, accused))
            hidden = {to_agency(one) for one in (accused, *below)}
        told = tuple(
            dict.fromkeys(one for one in to if one not in hidden and (one != SUBSCRIBERS or has_subscribers(case)))
        )
        if told:
            given: dict[str, Word] = {name: value for name, value in detail.items() if value is not None}
            notice = Notice(case=case.id, to=told, why=why, at=self.now, detail=given, exercise=case.exercise)
            self._notices.append(notice)

    def notify_agency(self, case: Case, why: Why, **detail: Word) -> None:
        """Has the agency that owns the case told."""
        if case.agency is not None:
            self.notify(case, [to_agency(case.agency)], why, **detail)

    def notify_supervisor(self, case: Case, why: Why, **detail: Word) -> None:
        """Has the agency told that is over the one that owns the case."""
        owner = None if case.agency is None else self.site.agencies.get(case.agency)
        if owner is not None and owner.supervisor is not None:
            self.notify(case, [to_agency(owner.supervisor)], why, **detail)

    def move(self, case: Case, to: State, at: datetime) -> Case:
        """The case in another state, with its clocks as that state wants them."""
        was, clocks, before = case.state, case.clocks, case.before_waiting
        if to is was:
            return case
        if to in WAITING and was not in WAITING:
            clocks, before = clock.pause(self.site, clocks, at), was
        if was in WAITING and to not in WAITING:
            before = None
            if to in RUNNING:
                clocks = clock.resume(self.site, clocks, at)
        if to in STOPPED:
            for name in ClockName:
                clocks = clock.stop(self.site, clocks, name, at)
        if was in STOPPED and to in RUNNING:
            clocks = clock.run_on(self.site, clocks, ClockName.RESOLUTION, at)
        return replace(case, state=to, clocks=clocks, before_waiting=before)

    def stop(self, case: Case, name: ClockName, at: datetime) -> Case:
        """The case with one clock stopped."""
        return replace(case, clocks=clock.stop(self.site, case.clocks, name, at))

    def answered(self, case: Case, at: datetime) -> Case:
        """The citizen has been told something: the first time ends a clock."""
        asked = case.kind in (Kind.SERVICE, Kind.CONDUCT) or has_subscribers(case)
        if case.answered_at is not None or not asked:
            return case
        case = replace(self.stop(case, ClockName.FIRST_ANSWER, at), answered_at=at)
        self.count(case, "answered", at, since=case.opened_at, by=ClockName.FIRST_ANSWER)
        return case

    def accepted(self, case: Case, at: datetime, unit: str | None = None) -> Case:
        """Somebody has taken it on: the first time ends a clock."""
        if case.accepted_at is not None:
            return case
        case = replace(self.stop(case, ClockName.ACCEPTANCE, at), accepted_at=at)
        self.count(case, "accepted", at, since=case.opened_at, by=ClockName.ACCEPTANCE, unit=unit)
        return case

    def arrived(self, case: Case, at: datetime, unit: str, since: datetime) -> Case:
        """A unit is there: the first one ends a clock."""
        if case.arrived_at is not None:
            self.count(case, "arrived", at, since=since, unit=unit)
            return case
        case = replace(self.stop(case, ClockName.ARRIVAL, at), arrived_at=at)
        self.count(case, "arrived", at, since=since, by=ClockName.ARRIVAL, unit=unit)
        return case

    def withdrawn(self, case: Case, numbers: Collection[int], reason: str) -> Case:
        """The case without these offers, as far as they are open; the units are told."""
        for offer in case.offers:
            if offer.number in numbers and offer.step not in OFFER_OVER:
                after = dispatch.withdraw(case, offer.number, self.now, reason)
                assert isinstance(after, Case), "an open offer can be withdrawn"
                case = after
                self.tell(case, "withdraw_offer", self.now, reason, offer=offer.number, unit=offer.unit)
                self.notify(case, [to_unit(offer.unit)], Why.WITHDRAWN, offer=offer.number, reason=reason)
        return case

    def ended(self, case: Case, to: State, at: datetime, reason: str) -> Case:
        """The case with nobody left at work: offers withdrawn, clocks stopped."""
        return self.move(self.withdrawn(case, [offer.number for offer in case.offers], reason), to, at)

    def reopened(self, case: Case, at: datetime) -> Case:
        """The case taken up again, with the clock running on."""
        case = self.move(case, State.REOPENED, at)
        case = replace(
            case,
            reopened=case.reopened + 1,
            resolved_at=None,
            closed_at=None,
            rating=None,
            acknowledged_by=None,
            confirmed=(),
        )
        self.count(case, "reopened", at, since=case.opened_at)
        self.notify_agency(case, Why.REOPENED)
        return case

    def finish(self, subject: CaseId | str | None) -> Decided:
        """The outcome. Versions grow by one, and units learn which cases they have."""
        cases: list[Case] = []
        for id_ in self._counted.keys() - self._cases.keys():
            self._cases[id_] = self.scene.cases[id_]
        for case in self._cases.values():
            before = self.scene.cases.get(case.id)
            if (counted := self._counted.get(case.id)) is not None:
                case = replace(case, counted=(*case.counted, *counted)[-COUNTED_MAX:])
            if case == before:
                continue
            self._keep_units(before, case)
            version = 1 if before is None else before.version + 1
            cases.append(replace(case, version=version, changed_at=self.now))
        return Decided(
            subject=subject,
            cases=tuple(cases),
            entries=tuple(self._entries),
            units=tuple(self.units.values()),
            steps=tuple(self._steps),
            commands=tuple(self._commands),
            signals=tuple(self.signals),
            duties=tuple(self.duties),
            notices=tuple(self._notices),
            proposals=tuple(self.proposals),
            judged=tuple(self.judged),
            silenced=tuple(self.silenced),
            erased=tuple(self.erased),
        )

    def _keep_units(self, before: Case | None, after: Case) -> None:
        """Notes which cases units have. A drill takes up none of their capacity."""
        if after.exercise:
            return
        had, has = () if before is None else before.units, after.units
        for unit in dict.fromkeys((*had, *has)):
            state = self.unit(unit)
            cases = tuple(case for case in state.cases if case != after.id)
            if unit in has:
                cases = (*cases, after.id)
            if cases != state.cases:
                self.change_unit(replace(state, cases=cases))

    def change_unit(self, state: UnitState) -> None:
        """Makes this what is known of a unit. Its version is one more than the scene's."""
        before = self.scene.units.get(state.unit)
        self.units[state.unit] = replace(state, version=1 if before is None else before.version + 1)
