"""Where does what is personal go, when events are kept, and how is a person erased?

In the transaction that counts the events their personal parts are opened and sealed anew, under a key of each
person's own; the kept event has no personal part any more. A person is erased by destroying that key: what was
sealed under it cannot be read by anybody, wherever a copy of it is.
"""

import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from typing import NamedTuple

import asyncpg
import msgspec
from msgspec.structs import replace

from schemas.codec import SEALED_BYTES_MAX, decode
from schemas.command import without_words, words_in
from schemas.event import AnyEvent, CameraIncident, CaseCommand, FeedbackReceived
from schemas.personal import (
    KEY_BYTES,
    CannotOpen,
    KeyRing,
    Personal,
    Reporter,
    citizens_part,
    encode_personal,
    encrypt,
    event_identity,
    holder_of,
    is_masked,
    kept_part,
    mask_plate,
    with_title,
)
from schemas.statements import parse_statements
from streams import metrics
from streams.core.batch import Arrival
from streams.store.cells import Connection
from streams.store.writer import LaneBatch

SQL = parse_statements((files("streams.store") / "personal.sql").read_text())

SHOWN_MAX = 1_000
"""Of one person at most so many events are read, the newest."""

_log = logging.getLogger(__name__)
_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Kept(NamedTuple):
    """What is kept of a person in one event; `personal` is None once it was erased, or cannot be opened."""

    source: str
    id: str
    case: str | None
    received_at: datetime
    personal: Personal | None


class _Part(NamedTuple):
    """The personal part of an arrival: `personal` where it could be opened, else `sealed` as it came."""

    source: str
    id: str
    person: str | None
    received_at: datetime
    personal: Personal | None
    sealed: str | None


async def keep_personal(
    connection: Connection, batches: Sequence[LaneBatch], ring: KeyRing | None
) -> list[LaneBatch]:
    """Keeps what is personal in these batches, and returns them without it. In the caller's transaction.

    What cannot be opened is kept as it came, still sealed: a worker may have older keys than the door.
    """
    parts: list[_Part] = []
    said: list[tuple[_Part, str]] = []
    without: list[LaneBatch] = []
    for batch in batches:
        if batch.unique and any(_is_bearer(arrival.event, ring) for arrival in batch.arrivals):
            calling_code = batch.version.site.header.calling_code
            arrivals: list[Arrival] = []
            for arrival in batch.arrivals:
                event = arrival.event
                if not _is_bearer(event, ring):
                    pass
                elif isinstance(event, CaseCommand):
                    part, arrival = _without_words(arrival, event, ring)
                    said.append((part, event.data.actor.tracking or ""))
                else:
                    part, arrival = _taken_apart(arrival, ring, calling_code)
                    parts.append(part)
                arrivals.append(arrival)
            batch = replace(batch, arrivals=arrivals)
        without.append(batch)
    if said:
        parts += await _with_persons(connection, said, without)
    if parts:
        await _keep(connection, parts, ring)
    return without


async def erase_persons(connection: Connection, erased: Iterable[tuple[str, datetime]]) -> None:
    """Destroys these persons' keys, and what was sealed under them. Each comes with when the centre was asked to."""
    rows = sorted(erased)
    if rows:
        persons, moments = zip(*rows, strict=True)
        await connection.execute(SQL["destroy_keys"], persons, moments)
        await connection.execute(SQL["drop_personal"], persons)


async def read_personal(connection: Connection, ring: KeyRing, source: str, id_: str) -> Personal | None:
    """The personal part of an event; None when it has none, was erased, or cannot be opened with this ring."""
    row = await connection.fetchrow(SQL["read_personal"], source, id_)
    return None if row is None else _opened(row, ring, source, id_)


async def read_person(connection: Connection, ring: KeyRing, person: str, limit: int = SHOWN_MAX) -> list[Kept]:
    """What is kept of a person, the newest first."""
    return [
        Kept(
            row["source"], row["id"], row["case_id"], row["received_at"], _opened(row, ring, row["source"], row["id"])
        )
        for row in await connection.fetch(SQL["read_person"], person, limit)
    ]


async def read_persons(connection: Connection, case: str) -> list[str]:
    """The persons of whom something is kept in a case."""
    return [row["person"] for row in await connection.fetch(SQL["read_persons"], case)]


async def contact_of(connection: Connection, ring: KeyRing, person: str) -> Reporter | None:
    """How a person can be reached, as they said last; None for one who was erased, or never said."""
    for kept in await read_person(connection, ring, person):
        if kept.personal is not None and kept.personal.reporter is not None:
            return kept.personal.reporter
    return None


def _opened(row: asyncpg.Record, ring: KeyRing, source: str, id_: str) -> Personal | None:
    try:
        return kept_part(
            ring,
            source=source,
            id_=id_,
            person=row["person"],
            wrapped=row["wrapped"],
            sealed=row["sealed"],
            as_it_came=row["as_it_came"],
        )
    except CannotOpen:
        return None


def _is_bearer(event: AnyEvent, ring: KeyRing | None) -> bool:
    """Whether an event has a personal part. Where somebody else than the door has written it, it may lie open.

    Open words stay where they are while there are no keys to seal them with.
    """
    match event:
        case FeedbackReceived(data=data):
            is_open = data.reporter is not None or (data.text is not None and ring is not None)
            return data.personal is not None or is_open
        case CaseCommand(data=data):
            return data.personal is not None or (words_in(data.do) is not None and ring is not None)
        case CameraIncident(data=data):
            return data.personal is not None or (data.plate is not None and not is_masked(data.plate))
        case _:
            return False


def _taken_apart(arrival: Arrival, ring: KeyRing | None, calling_code: str | None) -> tuple[_Part, Arrival]:
    """The personal part of an arrival, and the arrival without it."""
    event = arrival.event
    assert isinstance(event, FeedbackReceived | CameraIncident)
    sealed = event.data.personal
    personal = _opened_as_it_came(event, sealed, ring)
    author = event.data.author if isinstance(event, FeedbackReceived) else None
    person = event.data.person or author
    envelope = _object_decoder.decode(arrival.raw)
    data = _object_decoder.decode(envelope["data"])
    data.pop("personal", None)
    if isinstance(event, FeedbackReceived):
        open_too = citizens_part(event.data.reporter, event.data.title, event.data.text)
        personal = personal or (None if sealed is not None else open_too)
        # A person's own title was left open by the door at first; so it still is on older logs.
        is_former = sealed is not None and event.data.person is not None
        if is_former and personal is not None:
            personal = with_title(personal, event.data.title)
        if is_former or event.data.reporter is not None:
            data.pop("title", None)
        for name in ("reporter", "text"):
            data.pop(name, None)
    elif event.data.plate is not None and not is_masked(event.data.plate):
        personal = personal or Personal(plate=event.data.plate)
        data["plate"] = _raw(mask_plate(event.data.plate))
    if person is None and personal is not None and ring is not None:
        corrects = event.supersedes or event.withdraws
        named = ring.pseudonym(personal, event.source, event.id, calling_code, corrects)
        (person,) = named.values()
        data |= {name: _raw(pseudonym) for name, pseudonym in named.items()}
    envelope["data"] = msgspec.Raw(msgspec.json.encode(data))
    raw = msgspec.json.encode(envelope)
    part = _Part(event.source, event.id, person, arrival.received_at, personal, sealed if personal is None else None)
    return part, replace(arrival, event=decode(raw, SEALED_BYTES_MAX), raw=raw)


def _without_words(arrival: Arrival, event: CaseCommand, ring: KeyRing | None) -> tuple[_Part, Arrival]:
    """What a citizen has written in a command, of nobody yet, and the command without it."""
    command = event.data
    personal = _opened_as_it_came(event, command.personal, ring)
    if command.personal is None and (words := words_in(command.do)) is not None:
        personal = Personal(text=words)
        command = replace(command, words=len(words))
    sealed = command.personal if personal is None else None
    part = _Part(event.source, event.id, None, arrival.received_at, personal, sealed)
    event = replace(event, data=replace(command, do=without_words(command.do), personal=None))
    raw = msgspec.json.encode(event)
    return part, replace(arrival, event=event, raw=raw)


def _opened_as_it_came(event: AnyEvent, sealed: str | None, ring: KeyRing | None) -> Personal | None:
    if sealed is None:
        return None
    if ring is not None:
        try:
            return ring.open_personal(sealed, event.source, event.id)
        except CannotOpen as error:
            _log.warning("the personal part of %s of %s stays sealed as it came: %s", event.id, event.source, error)
    metrics.PERSONAL_UNOPENED.inc()
    return None


async def _with_persons(
    connection: Connection, said: Sequence[tuple[_Part, str]], batches: Sequence[LaneBatch]
) -> list[_Part]:
    """What citizens have written, each with whoever wrote the report whose secret was shown.

    Nothing is kept of who shows a secret that opens no report: what such a command asks for is refused.
    """
    trackings = {tracking for _, tracking in said}
    rows = await connection.fetch(SQL["read_holders"], sorted(trackings))
    persons: dict[str, str | None] = {row["tracking"]: row["person"] for row in rows}
    for batch in batches:
        for arrival in batch.arrivals:
            # A report is before its commands on the log, and may be in the same batch.
            match arrival.event:
                case FeedbackReceived(data=data) if data.tracking is not None and data.tracking in trackings:
                    persons.setdefault(data.tracking, data.person or data.author)
                case _:
                    pass
    return [
        part._replace(person=persons[tracking] or holder_of(tracking))
        for part, tracking in said
        if tracking in persons
    ]


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(text))


async def _keep(connection: Connection, parts: Sequence[_Part], ring: KeyRing | None) -> None:
    erased: dict[str, datetime] = {}
    keys: dict[str, bytes] = {}
    persons = sorted({part.person for part in parts if part.person is not None})
    if persons:
        keys, erased = await _keys(connection, parts, persons, ring)
    rows: list[tuple[object, ...]] = []
    for part in parts:
        sealed, as_it_came = None, part.sealed
        if _is_erased(part, erased):
            as_it_came = None
        elif part.personal is not None and ring is not None:
            plain, about = encode_personal(part.personal), event_identity(part.source, part.id)
            key = keys.get(part.person or "")
            # A key that was lost with an older ring opens nothing; the centre's own seal does not depend on it.
            sealed, as_it_came = (encrypt(key, plain, about), None) if key else (None, ring.seal(plain, about))
        rows.append((part.source, part.id, part.person, part.received_at, sealed, as_it_came))
    await connection.execute(SQL["put_personal"], *zip(*rows, strict=True))


async def _keys(
    connection: Connection, parts: Sequence[_Part], persons: Sequence[str], ring: KeyRing | None
) -> tuple[dict[str, bytes], dict[str, datetime]]:
    """The keys of persons, made where they are wanted and missing, and when persons were erased."""
    # Who has no row yet could be erased unseen between here and the commit: what is there can be waited for.
    await connection.execute(SQL["put_persons"], persons)
    found = await _read_keys(connection, persons)
    erased = _erased(found)
    if ring is None:
        return {}, erased
    wanted: dict[str, datetime] = {}
    for part in parts:
        if part.person is None or part.personal is None:
            continue
        has_key = part.person in found and found[part.person]["wrapped"] is not None
        if not has_key and not _is_erased(part, erased):
            wanted[part.person] = max(part.received_at, wanted.get(part.person, part.received_at))
    if wanted:
        made = {person: ring.wrap(secrets.token_bytes(KEY_BYTES), person) for person in sorted(wanted)}
        newest = [wanted[person] for person in made]
        await connection.execute(SQL["put_keys"], list(made), list(made.values()), newest)
        # Somebody may have been erased while that waited.
        found = await _read_keys(connection, persons)
    keys: dict[str, bytes] = {}
    for person, row in found.items():
        if row["wrapped"] is None:
            continue
        try:
            keys[person] = ring.unwrap(row["wrapped"], person)
        except CannotOpen as error:
            _log.warning("the key of person %s cannot be opened: %s", person, error)
    return keys, _erased(found)


def _erased(found: Mapping[str, asyncpg.Record]) -> dict[str, datetime]:
    return {person: row["erased_at"] for person, row in found.items() if row["erased_at"] is not None}


def _is_erased(part: _Part, erased: Mapping[str, datetime]) -> bool:
    """Whether a part came before its person was erased. What comes later is kept, under another key."""
    return part.person is not None and part.person in erased and part.received_at <= erased[part.person]


async def _read_keys(connection: Connection, persons: Sequence[str]) -> Mapping[str, asyncpg.Record]:
    return {row["person"]: row for row in await connection.fetch(SQL["read_keys"], persons)}
