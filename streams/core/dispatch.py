"""Has the unit got it, has it gone, is it there; and who is told when not?

An offer's steps are facts: they may come late and in any order, and each keeps its moment. What is awaited next has a
deadline; a missed one goes up the chain that `dispatch.toml` declares, each rung once.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from schemas.case import Case, Deadline, OfferStep, Refusal
from schemas.dispatch_plan import Rung
from schemas.dispatching import Suggestion as Suggestion
from schemas.dispatching import check_unit as check_unit
from schemas.dispatching import suggest as suggest
from schemas.site import Site
from schemas.unit import UnitState


class Escalation(NamedTuple):
    """What was done about a missed step.

    `offer`    the one whose step was missed
    `unit`     the unit that missed it
    `next`     the new offer's number, with `next_unit`
    `channel`  by which the unit is told again, with `other_channel`
    `tell`     who is told: `unit:<id>`, `agency:<id>` or a person's id
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
    raise NotImplementedError


def step_offer(site: Site, case: Case, number: int, step: OfferStep, at: datetime) -> Case | Refusal:
    """The case after a unit's step. TOO_LATE where the offer is over, ALREADY where the step has its moment."""
    raise NotImplementedError


def missed(
    site: Site, case: Case, number: int, at: datetime, states: Mapping[str, UnitState]
) -> tuple[Case, list[Escalation]]:
    """The case after the step that an offer waits for was missed, and what was done about it."""
    raise NotImplementedError


def offer_deadlines(case: Case) -> list[Deadline]:
    """What its open offers wait for: `offer:<number>:<step awaited>`."""
    raise NotImplementedError
