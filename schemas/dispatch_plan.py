"""By when must a unit take each step, and who is told when it does not?

`dispatch.toml` in the site pack. Every mistake is a SiteError with the line, the reason and the fix.
"""

from collections.abc import Collection
from enum import StrEnum
from functools import partial
from typing import Annotated

from msgspec import Meta, Struct

from schemas.case import Kind, OfferStep, Severity
from schemas.site_file import check_declared, convert_file, mistake_at

DISPATCH_FILE = "dispatch.toml"

Seconds = Annotated[int, Meta(ge=1, le=30 * 86_400)]

AWAITED = (
    OfferStep.DELIVERED,
    OfferStep.SEEN,
    OfferStep.ACCEPTED,
    OfferStep.EN_ROUTE,
    OfferStep.ON_SCENE,
    OfferStep.DONE,
)
"""The steps that a unit takes, in order."""


class Rung(StrEnum):
    """What is done about a step that was missed."""

    NEXT_UNIT = "next_unit"  # the offer ends, the next capable unit gets one
    SUPERVISOR = "supervisor"  # who is over the unit's agency is told
    OTHER_CHANNEL = "other_channel"  # the unit is told again, in another way


class StepTimes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long each step may take after the one before, in seconds on the wall clock. Without one nobody waits.

    The first that names the case's severity holds, else the first that names none.
    """

    severities: tuple[Severity, ...] = ()
    delivered_s: Seconds | None = None
    seen_s: Seconds | None = None
    accepted_s: Seconds | None = None
    en_route_s: Seconds | None = None
    on_scene_s: Seconds | None = None
    done_s: Seconds | None = None

    def allowed_s(self, step: OfferStep) -> int | None:
        """How long this step may take."""
        match step:
            case OfferStep.DELIVERED:
                return self.delivered_s
            case OfferStep.SEEN:
                return self.seen_s
            case OfferStep.ACCEPTED:
                return self.accepted_s
            case OfferStep.EN_ROUTE:
                return self.en_route_s
            case OfferStep.ON_SCENE:
                return self.on_scene_s
            case OfferStep.DONE:
                return self.done_s
            case _:
                return None


class Chain(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done when one of `steps` is missed, one rung after the other. The first that fits holds.

    `tell`  persons who are told with `supervisor`, beside the supervising agency
    """

    steps: Annotated[tuple[OfferStep, ...], Meta(min_length=1)]
    rungs: Annotated[tuple[Rung, ...], Meta(min_length=1, max_length=16)]
    severities: tuple[Severity, ...] = ()
    kinds: tuple[Kind, ...] = ()
    tell: tuple[str, ...] = ()


class DispatchPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `dispatch.toml`.

    `position_fresh_s`  an older position is not believed: the unit counts as at its base
    `speed_mps`         how fast units come, for judging distance against load
    """

    position_fresh_s: Annotated[int, Meta(ge=1, le=7 * 86_400)] = 900
    speed_mps: Annotated[float, Meta(gt=0, le=100)] = 8.0
    steps: tuple[StepTimes, ...] = ()
    escalation: tuple[Chain, ...] = ()


def parse_dispatch(text: str) -> DispatchPlan:
    """Reads `dispatch.toml`. Raises SiteError."""
    plan = convert_file(text, DispatchPlan, DISPATCH_FILE)
    for number, chain in enumerate(plan.escalation):
        wrong = partial(mistake_at, DISPATCH_FILE, text, ("escalation", number, "steps"))
        for step in chain.steps:
            if step not in AWAITED:
                words = ", ".join(AWAITED)
                raise wrong(f"nobody waits for the step {step!r}", f"Use some of: {words}.")
        dropped = [step for step in chain.steps if step in (OfferStep.ON_SCENE, OfferStep.DONE)]
        if dropped and Rung.NEXT_UNIT in chain.rungs:
            reason = f"{Rung.NEXT_UNIT.value!r} takes the case from a unit that is on its way ({dropped[0]!r})"
            raise wrong(reason, f"Use {Rung.SUPERVISOR.value!r}, who can send another.")
    return plan


def check_dispatch(text: str, plan: DispatchPlan, people: Collection[str] | None) -> None:
    """Raises SiteError where a chain tells a person that the pack does not declare, if it declares any."""
    if people is None:
        return
    for number, chain in enumerate(plan.escalation):
        check_declared(chain.tell, people, "person", DISPATCH_FILE, text, ("escalation", number, "tell"))
