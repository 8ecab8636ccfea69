"""What may somebody ask for next, by the life cycle that the stream workers decide by?

The dashboard may not know the workers' rooms, so that who runs both hands it this.
"""

from dashboard_api.case_view import NextAction
from schemas.case import Case
from schemas.command import Actor
from schemas.identity import Role
from streams.core.life_cycle import TABLE, Need, lacking

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


def next_actions(case: Case, actor: Actor) -> list[NextAction]:
    """The commands that the life cycle has for this case and these roles, in its order.

    What a command brings may fill what it needs. Whether an offer is the unit's own is decided with the command.
    """
    roles = {Role(role) for role in actor.roles}
    found: list[NextAction] = []
    for (state, move), rule in TABLE.items():
        if state is not case.state or move in _NOT_ASKED_FOR or roles.isdisjoint(rule.roles):
            continue
        action, choice = _CHOICES.get(move, (move, None))
        if action == "offer" and not case.units:
            continue
        needs = tuple(need.value for need in rule.needs if lacking(case, [Need(need)]) is not None)
        found.append(NextAction(action=action, choice=choice, needs=needs))
    return found
