"""Is what citizens write anywhere in plain, on the log or in a table, and does anything of it survive an erasure?

The whole way of reports and commands: as the door makes them, as the workers count, decide and keep them.
"""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from dashboard_api.case_view import Words
from dashboard_api.written import read_own
from deploy.migrate import migrate_schema
from ingest.decode.cloudevents import Decoder
from ingest.decode.commands import CommandDecoder
from ingest.decode.media import Mode
from ingest.decode.report import draft
from schemas.case import CaseId, Entry
from schemas.codec import SEALED_BYTES_MAX, decode
from schemas.command import Actor, AnyAction, ErasePerson, Resolve
from schemas.event import AnyEvent, CaseCommand, FeedbackReceived
from schemas.identity import Role, citizen, tracking_of
from schemas.personal import KEY_BYTES, CannotOpen, KeyRing, Personal, event_identity
from streams.store.personal import read_personal, read_persons
from streams.store.timescale import TimescaleWriter
from streams.versions import Versions
from tests.schemas.case_pack import AT
from tests.streams.case_store import SITE, VERSION, Store, command

RING = KeyRing({"1": b"k" * KEY_BYTES}, "1", b"i" * KEY_BYTES)
REPORTS = Decoder(SITE, ring=RING, is_outside=False)
COMMANDS = CommandDecoder(SITE, RING)
ADMINISTRATOR = Actor(id="admin", roles=(Role.ADMINISTRATOR.value,), sees_all=True, areas=(SITE.areas.root.id,))
LATER = timedelta(hours=1)
MARK = "Žluťoučký"
"""In all that is personal here."""
TRACES = (MARK, json.dumps(MARK)[1:-1], "0912 345", "912345678")
"""What it looks like, also with the escapes of JSON."""


class Reported:
    """A citizen's report as it stands on the log, and what its sender goes on with."""

    def __init__(self, name: str, **given: Any) -> None:
        body = {"text": f"{MARK} {name} text", "title": f"{MARK} {name} title", "category": "pothole", "area": "01"}
        drafted = draft(msgspec.json.encode(body | given), token=name.encode(), ring=RING, site=SITE, received_at=AT)
        judged = REPORTS.decode(Mode.STRUCTURED, (), drafted.event, AT)
        assert not judged.refused, judged.refused
        self.value = judged.lots[0].values[0]
        self.case = drafted.case
        self.tracking = tracking_of(drafted.secret.encode())
        found = decode(self.value, SEALED_BYTES_MAX)
        assert isinstance(found, FeedbackReceived)
        self.event = found
        self.person = found.data.person or found.data.author or ""

    def asks(self, id_: str, do: dict[str, Any], minutes: int) -> bytes:
        """A command of the citizen's, as it stands on the log."""
        at = AT + timedelta(minutes=minutes)
        order = {"id": id_, "case": self.case, "do": do}
        ordered = COMMANDS.decode(msgspec.json.encode(order), citizen(self.tracking), at)
        assert ordered.lots, ordered.results
        return ordered.lots[0].values[0]


NAMED = Reported("named", contact={"name": f"{MARK} Mai", "phone": "0912 345 678"})
ANONYMOUS = Reported("anonymous")
BOTH = (NAMED, ANONYMOUS)


def said(one: Reported, name: str) -> list[bytes]:
    """All that a citizen can write afterwards: before it is resolved, and then."""
    return [
        one.asks(f"{name}-reply", {"action": "reply", "text": f"{MARK} {name} reply"}, 5),
        one.asks(f"{name}-rate", {"action": "rate", "score": 2, "comment": f"{MARK} {name} comment"}, 20),
        one.asks(f"{name}-dispute", {"action": "dispute", "reason": f"{MARK} {name} dispute"}, 30),
    ]


def whole_log() -> list[AnyEvent]:
    """What two citizens have written, with the answer of staff in between."""
    values: list[AnyEvent] = []
    for one, name in ((NAMED, "named"), (ANONYMOUS, "anonymous")):
        reply, *rest = map(event_of, said(one, name))
        at = AT + timedelta(minutes=10)
        resolve = command(f"{name}-done", one.case, Resolve(result="Filled"), time=at, received_at=at)
        values += [one.event, reply, resolve, *rest]
    return values


def event_of(value: bytes) -> AnyEvent:
    """What stands on the log."""
    return decode(value, SEALED_BYTES_MAX)


def erasure(person: str) -> CaseCommand:
    """Somebody is to be erased."""
    at = AT + LATER
    do: AnyAction = ErasePerson(reason="asked to")
    return command(f"erase-{person[:8]}", f"person:{person}", do, ADMINISTRATOR, time=at, received_at=at)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A database and a worker that has the keys."""
    await migrate_schema(database_url)
    connection = await asyncpg.connect(database_url)
    made = Store(database_url, connection)
    made.writer = TimescaleWriter(database_url, "ioc-streams", Versions(VERSION), RING)
    try:
        yield made
    finally:
        await made.writer.close()
        await connection.close()


async def everything(store: Store) -> list[str]:
    """Every row of every table, as text."""
    tables = await store.connection.fetch(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
    )
    texts: list[str] = []
    for table in tables:
        for row in await store.connection.fetch(f'SELECT * FROM "{table["table_name"]}"'):
            texts += [
                value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in row.values()
            ]
    return texts


def in_plain(texts: Sequence[str]) -> list[str]:
    """Those that have what a citizen wrote."""
    return [text for text in texts if any(trace in text for trace in TRACES)]


async def readable(store: Store) -> dict[tuple[str, str], Personal]:
    """All that the centre's keys open, with whatever the tables hold."""
    found: dict[tuple[str, str], Personal] = {}
    for row in await store.connection.fetch("SELECT source, id FROM personal"):
        if (personal := await read_personal(store.connection, RING, row["source"], row["id"])) is not None:
            found[row["source"], row["id"]] = personal
    texts = await everything(store)
    identities = [(row["source"], row["id"]) for row in await store.connection.fetch("SELECT source, id FROM event")]
    for text in texts:
        for word in text.replace('"', " ").split():
            for source, id_ in identities if word.startswith("1.") else ():
                try:
                    found[source, id_] = msgspec.msgpack.decode(
                        RING.open(word, event_identity(source, id_)), type=Personal
                    )
                except CannotOpen:
                    continue
    return found


def written(personal: Personal) -> list[str]:
    """The words in a personal part."""
    return [one for one in (personal.title, personal.text) if one is not None]


EXPECTED = sorted(
    f"{MARK} {name} {what}"
    for name in ("named", "anonymous")
    for what in ("title", "text", "reply", "comment", "dispute")
)


async def test_what_citizens_write_is_nowhere_in_plain(store: Store) -> None:
    log = whole_log()
    assert in_plain([msgspec.json.encode(event).decode() for event in log]) == []
    for event in log:
        await store.take(event)
    outcomes = await store.outcomes()
    assert {name: outcome for name, outcome in outcomes.items() if outcome != "applied"} == {}
    assert in_plain(await everything(store)) == []
    await store.check()
    # It is there all the same, each under the key of who wrote it, and nothing else opens it.
    found = await readable(store)
    assert sorted(word for personal in found.values() for word in written(personal)) == EXPECTED
    rows = await store.connection.fetch("SELECT person, sealed, as_it_came FROM personal")
    assert {row["person"] for row in rows} == {NAMED.person, ANONYMOUS.person}
    assert {(row["sealed"] is None, row["as_it_came"]) for row in rows} == {(False, None)}
    # Who gave no contact is found by the reference alone.
    assert await read_persons(store.connection, ANONYMOUS.case) == [ANONYMOUS.person]
    # The timeline says that something was written, and where it is kept.
    lines = await lines_of(store, NAMED.case)
    told = {line.action: (line.text, line.detail["words"]) for line in lines if line.sealed is not None}
    assert told == {what: ("", len(f"{MARK} named {word}")) for what, word in WRITTEN_IN}
    assert (await store.case(NAMED.case)).title == ""


WRITTEN_IN = [("reply", "reply"), ("rate", "comment"), ("dispute", "dispute")]


async def lines_of(store: Store, case: CaseId) -> list[Entry]:
    """A case's timeline."""
    rows = await store.connection.fetch("SELECT body FROM case_entry WHERE case_id = $1 ORDER BY number", case)
    return [msgspec.json.decode(row["body"], type=Entry) for row in rows]


async def test_after_an_erasure_nothing_can_be_read_nor_comes_back(store: Store) -> None:
    log = whole_log()
    await store.take(*log)
    case = await store.case(NAMED.case)
    sealed = [line.sealed for line in await lines_of(store, NAMED.case) if line.sealed is not None]
    before = await read_own(store.connection, RING, case.members, sealed)
    assert sorted(one.text or "" for one in before.values()) == [
        one for one in EXPECTED if "named" in one.split() and "title" not in one
    ]
    await store.take(erasure(NAMED.person))
    left = await readable(store)
    assert sorted(word for personal in left.values() for word in written(personal)) == [
        one for one in EXPECTED if "anonymous" in one
    ]
    after = await read_own(store.connection, RING, case.members, sealed)
    assert after == dict.fromkeys(before, Words(None, erased=True))
    await store.take(erasure(ANONYMOUS.person))
    # The log counted anew by a worker that is late, and every command sent again.
    await store.take(*log)
    assert await readable(store) == {}
    assert in_plain(await everything(store)) == []
    keys = await store.connection.fetch("SELECT wrapped FROM person_key")
    assert [row["wrapped"] for row in keys] == [None, None]
    await store.check()


async def test_a_database_built_anew_from_the_log_has_nothing_of_the_erased(store: Store) -> None:
    """Partitions are counted in any order: the erasure may come first, and all that was written in one batch."""
    await store.take(*(erasure(one.person) for one in BOTH))
    await store.take(*whole_log())
    assert await readable(store) == {}
    assert in_plain(await everything(store)) == []
    rows = await store.connection.fetch("SELECT person FROM personal")
    assert {row["person"] for row in rows} == {NAMED.person, ANONYMOUS.person}


async def test_words_wait_sealed_for_a_worker_that_has_no_keys_and_are_erased_like_the_rest(
    store: Store, database_url: str
) -> None:
    with_keys, store.writer = store.writer, TimescaleWriter(database_url, "ioc-streams", Versions(VERSION))
    try:
        await store.take(*whole_log())
    finally:
        await store.writer.close()
        store.writer = with_keys
    assert in_plain(await everything(store)) == []
    found = await readable(store)
    assert sorted(word for personal in found.values() for word in written(personal)) == EXPECTED
    for one in BOTH:
        await store.take(erasure(one.person))
    assert await readable(store) == {}


async def test_what_a_stranger_writes_with_a_secret_of_nothing_is_not_kept(store: Store) -> None:
    await store.take(NAMED.event)
    order = {"id": "x", "case": NAMED.case, "do": {"action": "reply", "text": f"{MARK} guess"}}
    ordered = COMMANDS.decode(msgspec.json.encode(order), citizen(tracking_of(b"guess")), AT)
    await store.take(event_of(ordered.lots[0].values[0]))
    assert (await store.outcomes())["x"] == "unknown_case"
    rows = await store.connection.fetch("SELECT source FROM personal")
    assert [row["source"] for row in rows] == ["ioc.web"]
    assert in_plain(await everything(store)) == []


async def test_words_that_lie_open_on_the_log_are_not_kept_so(store: Store) -> None:
    """A log from before, or somebody else than the door."""
    opened = msgspec.structs.replace(ANONYMOUS.event.data, personal=None, author=None, text=f"{MARK} text")
    await store.take(msgspec.structs.replace(ANONYMOUS.event, data=opened))
    reply = event_of(ANONYMOUS.asks("r", {"action": "reply", "text": "x"}, 5))
    assert isinstance(reply, CaseCommand)
    do = msgspec.structs.replace(reply.data.do, text=f"{MARK} reply")
    await store.take(
        msgspec.structs.replace(reply, data=msgspec.structs.replace(reply.data, do=do, personal=None, words=0))
    )
    assert in_plain(await everything(store)) == []
    found = await readable(store)
    assert sorted(personal.text or "" for personal in found.values()) == [f"{MARK} reply", f"{MARK} text"]
    assert {row["person"] for row in await store.connection.fetch("SELECT person FROM personal")} == {
        ANONYMOUS.person
    }
