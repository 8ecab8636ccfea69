"""Which of a case's signals may somebody read, now that some may have left it?

A case that was merged keeps the signals that it had, and so does each version of the past. One of them may have
turned out since to be a complaint about whoever sees that case. So a signal is shown as the case is that has it now.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from dashboard_api.database import Reader
from dashboard_api.scope import seen_of
from dashboard_api.statements import load_statements
from schemas.case import Case, Member, State
from schemas.command import Actor
from schemas.identity import Seen, may_see

_SQL = load_statements("homes")
_Homes = Mapping[tuple[str, str], Sequence[Seen]]


async def still_shown(reader: Reader, actor: Actor, cases: Sequence[Case], *, of_past: bool = False) -> list[Case]:
    """The cases with the signals that the actor may read now, and with what these brought; all in their order.

    A case of the present that was not merged has just the signals that are its own. `of_past`: these are versions.
    """
    asked = [member for case in cases if of_past or _keeps_others(case) for member in case.members]
    if not asked:
        return list(cases)
    homes: dict[tuple[str, str], list[Seen]] = {}
    rows = await reader.fetch(
        _SQL["read_homes"], [member.source for member in asked], [member.id for member in asked]
    )
    for row in rows:
        homes.setdefault((row["source"], row["id"]), []).append(seen_of(row))
    return [_without_hidden(case, actor, homes) if of_past or _keeps_others(case) else case for case in cases]


def tracked_by(members: Iterable[Member]) -> frozenset[str]:
    """The hashes of the secrets by which those who sent these signals follow them."""
    return frozenset(member.tracking for member in members if member.tracking is not None)


def _keeps_others(case: Case) -> bool:
    return case.state is State.MERGED


def _without_hidden(case: Case, actor: Actor, homes: _Homes) -> Case:
    shown = tuple(one for one in case.members if _may_read(actor, homes.get((one.source, one.id), ())))
    if len(shown) == len(case.members):
        return case
    kept = {(member.source, member.id) for member in shown}
    hidden = {f"event:{one.source}/{one.id}" for one in case.members if (one.source, one.id) not in kept}
    titles = {member.title for member in case.members if (member.source, member.id) not in kept}
    return replace(
        case,
        members=shown,
        evidence=tuple(one for one in case.evidence if one.signal not in hidden),
        title="" if case.title in titles - {member.title for member in shown} else case.title,
    )


def _may_read(actor: Actor, path: Sequence[Seen]) -> bool:
    """Whether one of the cases that a signal is with is seen, and every complaint among them.

    What is kept under no case has not left the one that names it.
    """
    if not path:
        return True
    complaints = (one for one in path if one.accused_agency is not None)
    return any(may_see(actor, one) for one in path) and all(may_see(actor, one) for one in complaints)
