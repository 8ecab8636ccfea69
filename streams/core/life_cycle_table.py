"""How are the life cycle and the commands shown on a page?"""

import inspect
from collections.abc import Collection
from typing import get_args

from msgspec import structs

from schemas.case import OPEN, State
from schemas.command import Action, AnyAction, DeadlinePassed, name_of
from streams.core.life_cycle import NOT_MERGED, PERMITS, STOPPED, TABLE, UNDONE, To

_TO = {To.SAME: "as it is", To.BACK: "where it stood", To.UNITS: "where its units are"}

_GROUPS = (
    (frozenset(State), "every state"),
    (frozenset(NOT_MERGED), "every state but `merged`"),
    (OPEN, "every open state"),
    (frozenset(UNDONE), "every open state but `resolved`"),
    (STOPPED, "every state from `resolved` on"),
)


def life_cycle_as_markdown() -> str:
    """The table: one row for each move and where it leads, with the states it leads from."""
    rows: dict[tuple[str, State | To, str], list[State]] = {}
    for (state, move), rule in TABLE.items():
        rows.setdefault((move, rule.to, rule.why), []).append(state)
    lines = ["| move | from | to | why |", "| --- | --- | --- | --- |"]
    for (move, to, why), states in rows.items():
        to_text = _TO[to] if isinstance(to, To) else f"`{to}`"
        lines.append(f"| `{move}` | {_named(states)} | {to_text} | {why} |")
    return "\n".join(lines)


def permits_as_markdown() -> str:
    """Who may make each move, and what the case has to have for it."""
    lines = ["| move | who | needs | a fact | why |", "| --- | --- | --- | --- | --- |"]
    for move, permit in PERMITS.items():
        who, needs = ", ".join(sorted(permit.roles)), ", ".join(permit.needs)
        lines.append(f"| `{move}` | {who} | {needs} | {'yes' if permit.is_fact else ''} | {permit.why} |")
    return "\n".join(lines)


def commands_as_markdown() -> str:
    """What people can ask for, with the fields of each command; those that may be left out in brackets."""
    lines = ["| `action` | fields | what it asks for |", "| --- | --- | --- |"]
    for action in get_args(AnyAction):
        if action is not DeadlinePassed:
            does = " ".join((inspect.getdoc(action) or "").split())
            lines.append(f"| `{name_of(action)}` | {_fields(action)} | {does} |")
    return "\n".join(lines)


def _fields(action: type[Action]) -> str:
    own = [field for field in structs.fields(action) if field.name != "version"]
    return ", ".join(f"`{field.name}`" if field.required else f"[`{field.name}`]" for field in own)


def _named(states: Collection[State]) -> str:
    given = frozenset(states)
    return next((name for group, name in _GROUPS if group == given), ", ".join(f"`{state}`" for state in states))
