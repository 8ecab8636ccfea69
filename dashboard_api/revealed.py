"""Who reported it, and whose plate is it? For somebody who has asked for it, on the record, just now.

A `reveal` command says what and why, and stands on the audit log. For ten minutes after it was applied, its sender
is shown that, of what the case had then, and nobody else is.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from msgspec import Struct

from dashboard_api.commands import source_of
from dashboard_api.database import Reader
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.statements import load_statements
from schemas.case import Case, CaseId
from schemas.codec import decode_plain
from schemas.command import Actor, Reveal
from schemas.event import CaseCommand
from schemas.personal import CannotOpen, KeyRing, Personal, Reporter, kept_part

SHOWN_FOR = timedelta(minutes=10)
"""How long what was asked for is shown."""

_SQL = load_statements("revealed")


class RevealedSignal(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is personal in one signal of the case. `erased`: it was there, and nobody can read it any more."""

    source: str
    id: str
    reporter: Reporter | None = None
    text: str | None = None
    plate: str | None = None
    erased: bool = False


class RevealedView(Struct, frozen=True, kw_only=True):
    """What is masked, until a moment: of `plate` and `reporter` those that were asked for."""

    case: CaseId
    what: list[str]
    until: datetime
    items: list[RevealedSignal]


async def read_revealed(reader: Reader, ring: KeyRing | None, actor: Actor, case: Case) -> RevealedView:
    """What the actor's own commands have revealed of a case. Raises Refused where there are none in force."""
    found: dict[str, datetime] = {}
    for row in await reader.fetch(_SQL["read_reveals"], source_of(actor), case.id, SHOWN_FOR):
        event = decode_plain(row["body"])
        if isinstance(event, CaseCommand) and isinstance(event.data.do, Reveal):
            found.setdefault(event.data.do.what, row["decided_at"] + SHOWN_FOR)
    if not found:
        raise Refused(
            "id",
            RefusalReason.NOT_REVEALED,
            "you have not asked for what is masked here, or not within ten minutes",
            "Send the command `reveal` with what and why, and ask again when it was applied.",
            status=403,
        )
    keys = [
        (member.source, id_) for member in case.members for id_ in (member.id, member.corrected_by) if id_ is not None
    ]
    rows = await reader.fetch(_SQL["read_personal"], [source for source, _ in keys], [id_ for _, id_ in keys])
    items: list[RevealedSignal] = []
    for row in rows:
        # What came after the command is not what it was given for.
        what = {name for name, until in found.items() if row["received_at"] <= until - SHOWN_FOR}
        if not what:
            continue
        personal = None
        if ring is not None:
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
                personal = None
        items.append(_signal(row["source"], row["id"], personal, what))
    return RevealedView(case=case.id, what=sorted(found), until=min(found.values()), items=items)


def _signal(source: str, id_: str, personal: Personal | None, what: Collection[str]) -> RevealedSignal:
    if personal is None:
        return RevealedSignal(source=source, id=id_, erased=True)
    return RevealedSignal(
        source=source,
        id=id_,
        reporter=personal.reporter if "reporter" in what else None,
        text=personal.text if "reporter" in what else None,
        plate=personal.plate if "plate" in what else None,
    )
