"""What did citizens write, in the reports of a case?

Whoever handles a case has to know what it is about, so the words are opened for them as they are read. Who wrote them
is not: that takes a `reveal`, which stands on the record.
"""

from collections.abc import Mapping
from typing import Any

from dashboard_api.case_view import Words
from dashboard_api.database import Reader
from dashboard_api.statements import load_statements
from schemas.case import Case
from schemas.codec import decode_plain
from schemas.command import Actor
from schemas.event import FeedbackReceived
from schemas.identity import Role
from schemas.personal import CannotOpen, KeyRing, kept_part

REPORT = "ioc.feedback.received.v1"

_SQL = load_statements("written")
_HANDLING = frozenset({Role.OPERATOR, Role.DISPATCHER})


def reads_words(actor: Actor, case: Case) -> bool:
    """Whether somebody who may see a case handles it: as an operator, a dispatcher, or in a unit that is on it."""
    return not _HANDLING.isdisjoint(actor.roles) or (actor.unit is not None and actor.unit in case.units)


async def read_words(
    reader: Reader, ring: KeyRing | None, actor: Actor, case: Case
) -> Mapping[tuple[str, str], Words]:
    """The words of a case's reports, by source and id of the signal; none for who does not handle it.

    Of a report that was corrected they are those of the newest correction. What cannot be opened with this ring, and
    was not erased, is left out.
    """
    if not reads_words(actor, case):
        return {}
    # The newest correction has what holds, under an id of its own.
    asked = {
        (member.source, member.corrected_by or member.id): (member.source, member.id)
        for member in case.members
        if member.type == REPORT
    }
    if not asked:
        return {}
    found: dict[tuple[str, str], Words] = {}
    for row in await reader.fetch(_SQL["read_words"], *map(list, zip(*asked, strict=True))):
        if (words := _words(row, ring)) is not None:
            found[asked[row["source"], row["id"]]] = words
    return found


# asyncpg's records have no column types.
def _words(row: Any, ring: KeyRing | None) -> Words | None:  # noqa: ANN401
    if not row["is_sealed"]:
        event = None if row["body"] is None else decode_plain(row["body"])
        return Words(event.data.text) if isinstance(event, FeedbackReceived) else None
    if row["as_it_came"] is None and (row["sealed"] is None or row["wrapped"] is None):
        return Words(None, erased=True)
    if ring is None:
        return None
    try:
        personal = kept_part(
            ring,
            source=row["source"],
            id_=row["id"],
            person=row["person"],
            wrapped=row["wrapped"],
            sealed=row["sealed"],
            as_it_came=row["as_it_came"],
        )
    except CannotOpen:
        return None
    return None if personal is None else Words(personal.text)
