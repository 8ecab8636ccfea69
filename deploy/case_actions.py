"""What may somebody ask for next, by the life cycle that the stream workers decide by?

The dashboard may not know the workers' rooms, so that who runs both hands it this.
"""

from dashboard_api.case_view import NextAction
from schemas.case import Case, Kind
from schemas.command import Actor
from schemas.identity import Role
from schemas.site import Site
from streams.core.life_cycle import TABLE, lacking, steps_left

_CHOICES = {
    "wait_citizen": ("wait", "citizen"),
    "wait_agency": ("wait", "agency"),
    "unit_accepted": ("offer", "accepted"),
    "unit_en_route": ("offer", "en_route"),
    "unit_on_scene": ("offer", "on_scene"),
    "unit_done": ("offer", "done"),
    "unit_declined": ("offer", "declined"),
}
"""The moves that are one action with a choice."""

_NOT_ASKED_FOR = frozenset({"be_merged", "unit_told"})
"""The other side of a merger, and what phones send by themselves."""


def next_actions(site: Site, case: Case, actor: Actor) -> list[NextAction]:
    """The commands that the life cycle has for this case and these roles, in its order.

    What a command brings may fill what it needs. Whether an offer is the unit's own is decided with the command.
    """
    roles = {Role(role) for role in actor.roles}
    found: list[NextAction] = []
    for (state, move), rule in TABLE.items():
        if state is not case.state or move in _NOT_ASKED_FOR or roles.isdisjoint(rule.roles):
            continue
        if not _applies(site, case, actor, move):
            continue
        action, choice = _CHOICES.get(move, (move, None))
        if action == "law_step":
            choice = steps_left(site.cases, case)[0].id
        needs = tuple(need.value for need in rule.needs if lacking(site.cases, case, [need]) is not None)
        found.append(NextAction(action=action, choice=choice, needs=needs))
    return found


def _applies(site: Site, case: Case, actor: Actor, move: str) -> bool:
    """Whether a move can mean anything for what the case is and holds, apart from its state."""
    match move:
        case "review":
            reviewed = any(one.by == actor.id for one in case.reviews)
            return case.kind is Kind.VIOLATION and not reviewed
        case "law_step":
            return bool(steps_left(site.cases, case))
        case "unmerge":
            return bool(case.absorbed)
        case "split":
            return len(case.members) > 1
        case "dispatch":
            return case.kind is not Kind.CONDUCT and bool(site.units)
        case "acknowledge":
            return case.acknowledged_by is None
        case "confirm":
            return actor.tracking not in case.confirmed
        case "rate":
            return case.rating is None
        case _:
            is_of_units = move == "withdraw_offer" or move.startswith("unit_")
            return not is_of_units or bool(case.units)
