"""What did citizens write, in their reports and in what they answered later?

Whoever handles a case has to know what it is about, so the words are opened for them as they are read. Who wrote them
is not: that takes a `reveal`, which stands on the record. Citizens are shown their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from dashboard_api.case_view import Words
from dashboard_api.commands import source_of
from dashboard_api.database import Reader
from dashboard_api.homes import tracked_by
from dashboard_api.statements import load_statements
from schemas.case import Case, CaseId, Entry, Member
from schemas.codec import decode_plain
from schemas.command import Actor
from schemas.event import FeedbackReceived
from schemas.identity import Role, citizen
from schemas.personal import CannotOpen, KeyRing, kept_part

REPORT = "ioc.feedback.received.v1"

EXCERPT_CHARS_MAX = 120
"""So much of what a citizen wrote stands in a list, in place of a title."""

Identity = tuple[str, str]
"""Source and id of an event."""

_SQL = load_statements("written")
_HANDLING = frozenset({Role.OPERATOR, Role.DISPATCHER})


def reads_words(actor: Actor, case: Case) -> bool:
    """Whether somebody who may see a case handles it: as an operator, a dispatcher, or in a unit that is on it."""
    return not _HANDLING.isdisjoint(actor.roles) or (actor.unit is not None and actor.unit in case.units)


async def read_words(
    reader: Reader, ring: KeyRing | None, actor: Actor, case: Case, as_of: datetime | None = None
) -> Mapping[Identity, Words]:
    """The words of a case's reports, by source and id of the signal; none for who does not handle it.

    The case has the signals that are `still_shown` to the actor. Of a report that was corrected they are those of the
    newest correction, up to `as_of` where it is given. What cannot be opened with this ring, and was not erased, is
    left out.
    """
    if not reads_words(actor, case):
        return {}
    return await _read(reader, ring, (_asked(member) for member in case.members if member.type == REPORT), as_of)


async def read_said(
    reader: Reader, ring: KeyRing | None, actor: Actor, case: Case, entries: Iterable[Entry]
) -> Mapping[Identity, Words]:
    """What citizens wrote in the commands that these lines tell of; none for who does not handle the case.

    The case is as it is now, with the signals that are `still_shown`: whoever's report has left it has taken along
    what they said of it.
    """
    if not reads_words(actor, case):
        return {}
    senders = {source_of(citizen(tracking)) for tracking in tracked_by(case.members)}
    sealed = (entry.sealed for entry in entries if entry.sealed is not None)
    return await _read(reader, ring, ((*one, None) for one in sealed if one[0] in senders))


async def read_excerpts(
    reader: Reader, ring: KeyRing | None, cases: Iterable[Case], as_of: datetime | None = None
) -> Mapping[CaseId, str]:
    """The first words of those cases that have no title, for who `reads_words`. One statement for all.

    The cases have the signals that are `still_shown`.
    """
    asked: dict[Identity, tuple[CaseId, tuple[str, str, str | None]]] = {}
    for case in cases:
        first = _untitled(case)
        if first is not None:
            asked[first.source, first.id] = case.id, _asked(first)
    found = await _read(reader, ring, (key for _, key in asked.values()), as_of)
    return {asked[identity][0]: text for identity, words in found.items() if (text := excerpt_of(words)) is not None}


def first_words(case: Case, words: Mapping[Identity, Words]) -> str | None:
    """The first of a case's words where it has no title."""
    first = _untitled(case)
    said = None if first is None else words.get((first.source, first.id))
    return None if said is None else excerpt_of(said)


async def read_own(
    reader: Reader, ring: KeyRing | None, members: Sequence[Member], said: Iterable[Identity]
) -> Mapping[Identity, Words]:
    """What a citizen wrote: in the reports that they follow, and in commands of theirs."""
    return await _read(reader, ring, (*(_asked(member) for member in members), *((*one, None) for one in said)))


def excerpt_of(words: Words) -> str | None:
    """What stands for a title where nobody has given one: the citizen's own, or the first words; on one line."""
    line = " ".join((words.title or words.text or "").split())
    if not line:
        return None
    return line if len(line) <= EXCERPT_CHARS_MAX else f"{line[: EXCERPT_CHARS_MAX - 1].rstrip()}…"


def _untitled(case: Case) -> Member | None:
    """The report that a case without a title is known by."""
    return None if case.title else next((member for member in case.members if member.type == REPORT), None)


def _asked(member: Member) -> tuple[str, str, str | None]:
    return member.source, member.id, member.corrected_by


async def _read(
    reader: Reader,
    ring: KeyRing | None,
    asked: Iterable[tuple[str, str, str | None]],
    as_of: datetime | None = None,
) -> Mapping[Identity, Words]:
    rows = list(asked)
    if not rows:
        return {}
    found: dict[Identity, Words] = {}
    for row in await reader.fetch(_SQL["read_words"], *map(list, zip(*rows, strict=True)), as_of):
        if (words := _words(row, ring)) is not None:
            found[row["source"], row["id"]] = words
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
            id_=row["sealed_id"],
            person=row["person"],
            wrapped=row["wrapped"],
            sealed=row["sealed"],
            as_it_came=row["as_it_came"],
        )
    except CannotOpen:
        return None
    return None if personal is None else Words(personal.text, personal.title)
