"""Who reported it, and whose plate is it? For somebody who has asked for it, on the record, just now.

A `reveal` command says what and why, and stands on the audit log. It is one showing: its sender names it by its id
and is shown once what was asked for, of the signals that the case had when the command was decided. To see it again
takes a further command, so that nobody looks without a line on the record.
"""

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from dashboard_api.commands import source_of
from dashboard_api.database import Reader
from dashboard_api.homes import still_shown
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.statements import load_statements
from schemas.case import Case, CaseId, Member
from schemas.codec import decode_plain
from schemas.command import Actor, Reveal
from schemas.event import CaseCommand
from schemas.personal import CannotOpen, KeyRing, Personal, Reporter, kept_part

SHOWN_FOR = timedelta(minutes=1)
"""How long after its decision a showing can be fetched: who waits longer has asked for something else."""

SHOWINGS_MAX = 10_000
"""Showings of the last minute that a process remembers to have given. One more is refused."""

INCIDENT = "ioc.camera.incident.v1"
"""Signals that may have a number plate; all others are somebody's reports."""

_SQL = load_statements("revealed")
_decode_case = msgspec.json.Decoder(Case).decode


class Contact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How somebody is reached; `language` is what they want to be written to in."""

    phone: str | None = None
    email: str | None = None
    zalo: str | None = None
    address: str | None = None
    language: str | None = None


class RevealedSignal(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is personal in one signal of the case, of what was asked for.

    `who`     the name that the reporter gave; `contact` is how that person is reached
    `title`, `words`  what the reporter wrote
    `plate`   the whole number plate
    `erased`  it was there, and nobody can read it any more
    `missing_key`  it is there, and cannot be opened with the keys that this centre has
    """

    source: str
    id: str
    at: datetime
    channel: str | None = None
    who: str | None = None
    contact: Contact | None = None
    title: str | None = None
    words: str | None = None
    plate: str | None = None
    erased: bool = False
    missing_key: bool = False


class RevealedView(Struct, frozen=True, kw_only=True):
    """One showing: `what` (`plate` or `reporter`) was asked for by the command `showing`, for a `reason`.

    `asked_at` is when that was decided. `items` have what is personal, in the order of the case's signals.
    """

    case: CaseId
    showing: str
    what: str
    reason: str
    asked_at: datetime
    items: list[RevealedSignal]


class Showings:
    """The showings that this process has given. What is once in an answer is not put into another one."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], datetime] = {}

    def claim(self, source: str, showing: str, now: datetime) -> None:
        """Takes a showing for this answer. Raises Refused where it was given already."""
        self._given = {key: at for key, at in self._given.items() if now - at <= 2 * SHOWN_FOR}
        if (source, showing) in self._given:
            raise _not_shown("it has been shown: one command `reveal` is one look")
        if len(self._given) >= SHOWINGS_MAX:
            raise _not_shown("too much is being revealed at this moment")
        self._given[source, showing] = now


async def read_revealed(
    reader: Reader, ring: KeyRing | None, actor: Actor, case: CaseId, showing: str
) -> RevealedView:
    """What the actor's own command with the id `showing` reveals of a case. Raises Refused if it is not in force."""
    row = await reader.fetchrow(_SQL["read_reveal"], source_of(actor), showing, case, SHOWN_FOR)
    event = None if row is None else decode_plain(row["body"])
    if row is None or not isinstance(event, CaseCommand) or not isinstance(event.data.do, Reveal):
        raise _not_shown("you have not asked for what is masked here by this command, or not within a minute")
    if row["shown"] is None:
        raise _not_shown("what the case had when the command was decided is not kept")
    asked = event.data.do
    [shown] = await still_shown(reader, actor, [_decode_case(row["shown"])], of_past=True)
    kept = {
        (member.source, id_): member
        for member in shown.members
        if (member.type == INCIDENT) is (asked.what == "plate")
        for id_ in (member.id, member.corrected_by)
        if id_ is not None
    }
    rows = await reader.fetch(_SQL["read_personal"], [source for source, _ in kept], [id_ for _, id_ in kept])
    items: list[RevealedSignal] = []
    for one in rows:
        member = kept[one["source"], one["id"]]
        if one["as_it_came"] is None and (one["sealed"] is None or one["wrapped"] is None):
            items.append(_signal(member, one["id"], Personal(), erased=True))
            continue
        personal = None
        if ring is not None:
            try:
                personal = kept_part(
                    ring,
                    source=one["source"],
                    id_=one["id"],
                    person=one["person"],
                    wrapped=one["wrapped"],
                    sealed=one["sealed"],
                    as_it_came=one["as_it_came"],
                )
            except CannotOpen:
                personal = None
        if personal is None:
            items.append(_signal(member, one["id"], Personal(), missing_key=True))
        else:
            items.append(_signal(member, one["id"], personal))
    return RevealedView(
        case=case,
        showing=showing,
        what=asked.what,
        reason=asked.reason,
        asked_at=row["decided_at"],
        items=items,
    )


def _signal(
    member: Member, id_: str, personal: Personal, *, erased: bool = False, missing_key: bool = False
) -> RevealedSignal:
    reporter = personal.reporter or Reporter()
    contact = Contact(
        phone=reporter.phone,
        email=reporter.email,
        zalo=reporter.zalo,
        address=reporter.address,
        language=reporter.language,
    )
    return RevealedSignal(
        source=member.source,
        id=id_,
        at=member.at,
        channel=member.channel,
        who=reporter.name,
        contact=None if contact == Contact() else contact,
        title=personal.title,
        words=personal.text,
        plate=personal.plate,
        erased=erased,
        missing_key=missing_key,
    )


def _not_shown(detail: str) -> Refused:
    fix = "Send the command `reveal` with what and why, and fetch it once by that command's id within a minute."
    return Refused("showing", RefusalReason.NOT_REVEALED, detail, fix, status=403)
