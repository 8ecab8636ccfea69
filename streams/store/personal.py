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
from schemas.event import CameraIncident, FeedbackReceived
from schemas.personal import (
    KEY_BYTES,
    CannotOpen,
    KeyRing,
    Personal,
    Reporter,
    encode_personal,
    encrypt,
    event_identity,
    is_masked,
    kept_part,
    mask_plate,
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
    without: list[LaneBatch] = []
    for batch in batches:
        if batch.unique and any(_is_bearer(arrival) for arrival in batch.arrivals):
            calling_code = batch.version.site.header.calling_code
            arrivals: list[Arrival] = []
            for arrival in batch.arrivals:
                if _is_bearer(arrival):
                    part, arrival = _taken_apart(arrival, ring, calling_code)
                    parts.append(part)
                arrivals.append(arrival)
            batch = replace(batch, arrivals=arrivals)
        without.append(batch)
    if parts:
        await _keep(connection, parts, ring)
    return without


async def erase_persons(connection: Connection, erased: Iterable[tuple[str, datetime]]) -> None:
    """Destroys these persons' keys, and what was sealed under them. Each comes with when the centre was asked to."""
    rows = sorted(erased)
    if rows:
        persons, moments = zip(*rows, strict=True)
        await connection.execute(SQL["erase"], persons, moments)


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


def _is_bearer(arrival: Arrival) -> bool:
    """Whether an event has a personal part. Where somebody else than the door has written it, it may lie open."""
    match arrival.event:
        case FeedbackReceived(data=data):
            return data.personal is not None or data.reporter is not None
        case CameraIncident(data=data):
            return data.personal is not None or (data.plate is not None and not is_masked(data.plate))
        case _:
            return False


def _taken_apart(arrival: Arrival, ring: KeyRing | None, calling_code: str | None) -> tuple[_Part, Arrival]:
    """The personal part of an arrival, and the arrival without it."""
    event = arrival.event
    assert isinstance(event, FeedbackReceived | CameraIncident)
    personal: Personal | None = None
    sealed = event.data.personal
    person = event.data.person
    if sealed is not None and ring is not None:
        try:
            personal = ring.open_personal(sealed, event.source, event.id)
        except CannotOpen as error:
            metrics.PERSONAL_UNOPENED.inc()
            _log.warning("the personal part of %s of %s stays sealed as it came: %s", event.id, event.source, error)
    elif sealed is not None:
        metrics.PERSONAL_UNOPENED.inc()
    envelope = _object_decoder.decode(arrival.raw)
    data = _object_decoder.decode(envelope["data"])
    data.pop("personal", None)
    if isinstance(event, FeedbackReceived):
        reporter = event.data.reporter
        data.pop("reporter", None)
        if reporter is not None and not reporter.is_anonymous:
            data.pop("text", None)
            personal = personal or Personal(reporter=reporter, text=event.data.text)
    elif event.data.plate is not None and not is_masked(event.data.plate):
        personal = personal or Personal(plate=event.data.plate)
        data["plate"] = _raw(mask_plate(event.data.plate))
    if person is None and personal is not None and ring is not None:
        person = ring.person_of(personal, event.source, event.id, calling_code)
        data["person"] = _raw(person)
    envelope["data"] = msgspec.Raw(msgspec.json.encode(data))
    raw = msgspec.json.encode(envelope)
    part = _Part(event.source, event.id, person, arrival.received_at, personal, sealed if personal is None else None)
    return part, replace(arrival, event=decode(raw, SEALED_BYTES_MAX), raw=raw)


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
