"""Has the unit got it, has it gone, is it there; and who is told when not?

An offer's steps are facts: they may come late and in any order, and each keeps its moment. What is awaited next has a
deadline; a missed one goes up the chain that `dispatch.toml` declares, each rung once.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from schemas.case import OFFER_OVER, OFFERS_MAX, Case, Deadline, Offer, OfferStep, Refusal
from schemas.dispatch_plan import AWAITED, Chain, Rung, StepTimes
from schemas.dispatching import suggest
from schemas.site import Site
from schemas.unit import UnitState
from streams.core.notice import to_agency, to_unit

_ORDER = {step: number for number, step in enumerate((OfferStep.OFFERED, *AWAITED))}

_DECISIONS = frozenset({OfferStep.ACCEPTED, OfferStep.DECLINED})
"""Steps that somebody decides on: of no use once the offer is over. The others are facts, which hold all the same."""


class Escalation(NamedTuple):
    """What was done about a missed step.

    `offer`    the one whose step was missed
    `unit`     the unit that missed it
    `level`    the rung's position in the chain, from 0
    `tell`     who is told: `unit:<id>`, `agency:<id>` or a person's id
    `next`     the new offer's number, with `next_unit`
    `channel`  by which the unit is told again, with `other_channel`
    """

    rung: Rung
    offer: int
    unit: str
    missed: OfferStep
    level: int
    tell: tuple[str, ...]
    next: int | None = None
    channel: str | None = None


def offer(site: Site, case: Case, unit: str, at: datetime, by: str | None, level: int = 0) -> Case:
    """The case with one more offer, which waits for its first step. Whether the unit may go was asked before."""
    made = Offer(
        number=max((one.number for one in case.offers), default=0) + 1,
        unit=unit,
        step=OfferStep.OFFERED,
        at={OfferStep.OFFERED: at},
        level=level,
        by=by,
    )
    return replace(case, offers=(*case.offers, _waiting(site, case, made)))


def step_offer(site: Site, case: Case, number: int, step: OfferStep, at: datetime) -> Case | Refusal:
    """The case after a unit's step.

    ALREADY where the step has its moment, IMPOSSIBLE where there is no such offer or it was done and is declined now,
    TOO_LATE where the unit decides on an offer that is over. A fact about an offer that is over keeps its moment and
    changes nothing else.
    """
    held = offer_of(case, number)
    if held is None or step not in (*AWAITED, OfferStep.DECLINED):
        return Refusal.IMPOSSIBLE
    if step in held.at:
        return Refusal.ALREADY
    over = held.step in OFFER_OVER
    if step is OfferStep.DECLINED and held.step is OfferStep.DONE:
        return Refusal.IMPOSSIBLE
    if over and held.step is not OfferStep.DONE and step in _DECISIONS:
        return Refusal.TOO_LATE
    # A phone's clock drifts: nothing was done about an offer before it was made.
    moments = {**held.at, step: max(at, held.at[OfferStep.OFFERED])}
    if over:
        return _with(case, replace(held, at=moments))
    if step is OfferStep.DECLINED:
        return _with(case, replace(held, step=step, at=moments, awaits=None, due_at=None))
    if _ORDER[step] < _ORDER[held.step]:
        return _with(case, replace(held, at=moments))
    return _with(case, _waiting(site, case, replace(held, step=step, at=moments)))


def withdraw(case: Case, number: int, at: datetime, reason: str | None = None) -> Case | Refusal:
    """The case after the centre took an offer back. IMPOSSIBLE where there is none, TOO_LATE where it is over."""
    held = offer_of(case, number)
    if held is None:
        return Refusal.IMPOSSIBLE
    if held.step in OFFER_OVER:
        return Refusal.TOO_LATE
    return _with(case, _ended(held, OfferStep.WITHDRAWN, at, reason))


def missed(
    site: Site, case: Case, number: int, at: datetime, states: Mapping[str, UnitState]
) -> tuple[Case, list[Escalation]]:
    """The case after the step that an offer waits for was missed, and what was done about it.

    One rung of the chain: a rung that cannot be taken (no other unit could be sent, the unit has no other channel)
    gives way to the next. When no rung is left nobody waits any more. At most one escalation comes back; counting it
    on the case is the caller's.
    """
    held = offer_of(case, number)
    if held is None or held.step in OFFER_OVER or held.awaits is None:
        return case, []
    chain = _chain_of(site, case, held.awaits)
    if chain is not None:
        for level in range(held.level, len(chain.rungs)):
            done = _take(site, case, held, held.awaits, chain, level, at, states)
            if done is not None:
                return done[0], [done[1]]
    return _with(case, replace(held, due_at=None)), []


def pass_on(
    site: Site, case: Case, number: int, at: datetime, states: Mapping[str, UnitState]
) -> tuple[Case, list[Escalation]]:
    """The case after a unit declined: the chain for acceptance goes on, mostly with an offer to the next unit.

    Where no other unit could be sent, whoever comes next in that chain is told.
    """
    held = offer_of(case, number)
    chain = _chain_of(site, case, OfferStep.ACCEPTED)
    if held is None or held.step is not OfferStep.DECLINED or chain is None:
        return case, []
    for level in range(held.level, len(chain.rungs)):
        # The unit has answered: to tell it again is of no use.
        if chain.rungs[level] is Rung.OTHER_CHANNEL:
            continue
        done = _take(site, case, held, OfferStep.ACCEPTED, chain, level, at, states)
        if done is not None:
            return done[0], [done[1]]
    return case, []


def offer_deadlines(case: Case) -> list[Deadline]:
    """What its open offers wait for: `offer:<number>:<step awaited>`."""
    return [
        Deadline(case=case.id, name=f"offer:{one.number}:{one.awaits}", due_at=one.due_at)
        for one in case.offers
        if one.step not in OFFER_OVER and one.awaits is not None and one.due_at is not None
    ]


def offer_of(case: Case, number: int) -> Offer | None:
    """The case's offer of this number."""
    return next((one for one in case.offers if one.number == number), None)


def _take(
    site: Site,
    case: Case,
    held: Offer,
    step: OfferStep,
    chain: Chain,
    level: int,
    at: datetime,
    states: Mapping[str, UnitState],
) -> tuple[Case, Escalation] | None:
    """Takes one rung of the chain; None where it cannot be taken."""
    rung = chain.rungs[level]
    match rung:
        case Rung.NEXT_UNIT:
            unit = _next_unit(site, case, states, at) if len(case.offers) < OFFERS_MAX else None
            if unit is None:
                return None
            ended = held if held.step in OFFER_OVER else _ended(held, OfferStep.MISSED, at)
            after = offer(site, _with(case, ended), unit, at, None, level + 1)
            made = after.offers[-1]
            return after, Escalation(rung, held.number, held.unit, step, level, (to_unit(unit),), next=made.number)
        case Rung.OTHER_CHANNEL:
            channel = _other_channel(site, held, chain, level)
            if channel is None:
                return None
            escalation = Escalation(rung, held.number, held.unit, step, level, (to_unit(held.unit),), channel=channel)
        case Rung.SUPERVISOR:
            tell = (*_over(site, case, held.unit), *chain.tell)
            if not tell:
                return None
            escalation = Escalation(rung, held.number, held.unit, step, level, tell)
    if held.step in OFFER_OVER:
        return case, escalation
    again = _again(site, case, held, level + 1, len(chain.rungs), at)
    return _with(case, again), escalation


def _next_unit(site: Site, case: Case, states: Mapping[str, UnitState], at: datetime) -> str | None:
    """The best unit that could be sent and has not been asked yet."""
    asked = {one.unit for one in case.offers}
    return next((one.unit for one in suggest(site, case, states, at) if one.capable and one.unit not in asked), None)


def _other_channel(site: Site, held: Offer, chain: Chain, level: int) -> str | None:
    """The unit's next channel that it has not been told by."""
    unit = site.units.get(held.unit)
    used = 1 + sum(rung is Rung.OTHER_CHANNEL for rung in chain.rungs[:level])
    return unit.channels[used] if unit is not None and used < len(unit.channels) else None


def _over(site: Site, case: Case, unit: str) -> tuple[str, ...]:
    """The agency over a unit: its agency's supervisor, else its agency. An accused agency hears nothing."""
    known = site.units.get(unit)
    own = known.agency if known is not None else case.agency
    if own is None:
        return ()
    agency = site.agencies.get(own)
    above = agency.supervisor if agency is not None and agency.supervisor is not None else own
    if above == case.accused_agency:
        return () if case.agency is None else (to_agency(case.agency),)
    return (to_agency(above),)


def _again(site: Site, case: Case, held: Offer, level: int, rungs: int, at: datetime) -> Offer:
    """The offer after a rung that leaves it open: it waits once more for the same step while there is a rung left."""
    allowed_s = None if held.awaits is None else _times_of(site, case).allowed_s(held.awaits)
    due_at = at + timedelta(seconds=allowed_s) if allowed_s is not None and level < rungs else None
    return replace(held, level=level, due_at=due_at)


def _waiting(site: Site, case: Case, held: Offer) -> Offer:
    """The offer, waiting for the next step that may only take so long."""
    times = _times_of(site, case)
    for step in AWAITED[_ORDER[held.step] :]:
        allowed_s = times.allowed_s(step)
        if allowed_s is not None and step not in held.at:
            since = held.at[held.step]
            # Another chain begins at its first rung.
            same = held.awaits is None or _chain_of(site, case, held.awaits) is _chain_of(site, case, step)
            level = held.level if same else 0
            return replace(held, awaits=step, due_at=since + timedelta(seconds=allowed_s), level=level)
    return replace(held, awaits=None, due_at=None)


def _times_of(site: Site, case: Case) -> StepTimes:
    """How long steps of this case may take."""
    return next(
        (one for one in site.dispatch.steps if case.severity in one.severities),
        next((one for one in site.dispatch.steps if not one.severities), StepTimes()),
    )


def _chain_of(site: Site, case: Case, step: OfferStep) -> Chain | None:
    return next(
        (
            chain
            for chain in site.dispatch.escalation
            if step in chain.steps
            and (not chain.severities or case.severity in chain.severities)
            and (not chain.kinds or case.kind in chain.kinds)
        ),
        None,
    )


def _ended(held: Offer, step: OfferStep, at: datetime, reason: str | None = None) -> Offer:
    return replace(
        held,
        step=step,
        at={**held.at, step: at},
        awaits=None,
        due_at=None,
        reason=held.reason if reason is None else reason,
    )


def _with(case: Case, changed: Offer) -> Case:
    return replace(case, offers=tuple(changed if one.number == changed.number else one for one in case.offers))
