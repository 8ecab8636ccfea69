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

_OF_VIOLATIONS = frozenset({"review", "law_step"})


def next_actions(site: Site, case: Case, actor: Actor) -> list[NextAction]:
    """The commands that the life cycle has for this case and these roles, in its order.

    What a command brings may fill what it needs. Whether an offer is the unit's own is decided with the command.
    """
    roles = {Role(role) for role in actor.roles}
    found: list[NextAction] = []
    for (state, move), rule in TABLE.items():
        if state is not case.state or move in _NOT_ASKED_FOR or roles.isdisjoint(rule.roles):
            continue
        action, choice = _CHOICES.get(move, (move, None))
        if action in _OF_VIOLATIONS and case.kind is not Kind.VIOLATION:
            continue
        if action == "offer" and not case.units:
            continue
        if action == "law_step":
            left = steps_left(site.cases, case)
            if not left:
                continue
            choice = left[0].id
        needs = tuple(need.value for need in rule.needs if lacking(site.cases, case, [need]) is not None)
        found.append(NextAction(action=action, choice=choice, needs=needs))
    return found
