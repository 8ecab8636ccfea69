"""Is what is personal kept apart and readable, until the person is erased, and then by nobody?"""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from deploy.migrate import migrate_schema
from schemas.personal import KEY_BYTES, CannotOpen, KeyRing, Personal, Reporter
from streams.core.batch import Arrival
from streams.store.personal import contact_of, erase_persons, keep_personal, read_person, read_personal
from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane, LaneBatch, Position
from streams.versions import Versions
from tests.streams.world import RECEIVED_AT, VERSION, arrival, raw

TOPIC_ID = UUID(int=1)
LANE = Lane("t.cases.v1", 3)
OLD_RING = KeyRing({"1": b"k" * KEY_BYTES}, "1", b"i" * KEY_BYTES)
RING = KeyRing({"1": b"k" * KEY_BYTES, "2": b"n" * KEY_BYTES}, "2", b"i" * KEY_BYTES)
RECEIVED = "ioc.feedback.received.v1"
MAI = Reporter(name="Nguyễn Thị Mai", phone="0912 345 678")
WORDS = "Tôi ở số 12 Lê Lợi, đèn đường hỏng"
TRACES = ("Nguyễn", "0912", "Lê Lợi", "30A-123.45")
LATER = timedelta(minutes=5)


class Centre:
    """A database, and what commits to it."""

    def __init__(self, url: str, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.url = url
        self.connection = connection
        self.writers: list[TimescaleWriter] = []
        self.reached: dict[Lane, int] = {}

    def writer(self, ring: KeyRing | None = RING) -> TimescaleWriter:
        """Another worker."""
        self.writers.append(TimescaleWriter(self.url, "group", Versions(VERSION), ring))
        return self.writers[-1]

    async def commit(self, *arrivals: Arrival, writer: TimescaleWriter | None = None, lane: Lane = LANE) -> None:
        """Counts these behind what a lane has counted."""
        writer = writer or self.writers[0]
        at = self.reached.get(lane, 0)
        if at == 0:
            await writer.position(lane, TOPIC_ID)
        self.reached[lane] = to = at + len(arrivals)
        before = Position(TOPIC_ID, at, 0.0, VERSION.number)
        await writer.commit(
            LaneBatch(
                lane=lane,
                expected=before,
                reached=before._replace(next_offset=to),
                arrivals=arrivals,
                version=VERSION,
                unique=True,
            )
        )

    async def bodies(self) -> dict[str, dict[str, Any]]:
        """The data of the kept events, by id."""
        rows = await self.connection.fetch("SELECT id, body FROM event")
        return {row["id"]: msgspec.json.decode(row["body"])["data"] for row in rows}

    async def dump(self) -> list[object]:
        """Every value of every table."""
        tables = await self.connection.fetch(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        )
        values: list[object] = []
        for table in tables:
            for row in await self.connection.fetch(f'SELECT * FROM "{table["table_name"]}"'):
                values += row.values()
        return values


@pytest.fixture
async def centre(database_url: str) -> AsyncIterator[Centre]:
    """A centre with one worker that has all keys."""
    await migrate_schema(database_url)
    connection = await asyncpg.connect(database_url)
    made = Centre(database_url, connection)
    made.writer()
    try:
        yield made
    finally:
        for writer in made.writers:
            await writer.close()
        await connection.close()


def report(id_: str, reporter: Reporter = MAI, text: str = WORDS, ring: KeyRing = RING, **given: Any) -> Arrival:
    """A report as `ingest` writes it."""
    personal = Personal(reporter=reporter, text=text)
    data = {
        "category": "lighting",
        "personal": ring.seal_personal(personal, "s", id_),
        "person": ring.person_of(personal, "s", id_, "84"),
    }
    return arrival(raw(RECEIVED, id=id_, data=data, **given))


def erasure(id_: str, person: str, *, role: str = "administrator", **given: Any) -> Arrival:
    """A command to erase a person."""
    return arrival(
        raw(
            "ioc.case.command.v1",
            id=id_,
            source="person:admin",
            subject=f"person:{person}",
            data={
                "do": {"action": "erase", "reason": "asked to"},
                "actor": {"id": "admin", "roles": [role], "areas": ["00"], "sees_all": True},
            },
            **given,
        )
    )


def person_of(reporter: Reporter = MAI) -> str:
    return RING.person_of(Personal(reporter=reporter), "s", "1", "84")


def traces_in(values: list[object], person: str) -> list[str]:
    """What can be read of a person: plainly, or with the centre's own ring and whatever the tables hold."""
    found: list[str] = []
    texts = [
        one if isinstance(one, str) else one.decode("utf-8", "replace")
        for one in values
        if isinstance(one, str | bytes)
    ]
    for text in texts:
        decoded = text.encode().decode("unicode_escape", "replace") if "\\u" in text else text
        found += [trace for trace in TRACES if trace in text or trace in decoded]
        for sealed in re.findall(r"[12]\.[A-Za-z0-9_=-]{20,}", text):
            for source, id_ in (("s", str(number)) for number in range(1, 10)):
                try:
                    found.append(repr(RING.open_personal(sealed, source, id_)))
                except CannotOpen:
                    continue
            try:
                found.append(f"a key: {RING.unwrap(sealed, person)!r}")
            except CannotOpen:
                continue
    return found


async def test_a_kept_event_has_no_personal_part(centre: Centre) -> None:
    await centre.commit(report("1"), arrival(raw(RECEIVED, id="2", data={"text": "không tên"})))
    bodies = await centre.bodies()
    assert bodies["1"] == {"category": "lighting", "person": person_of()}
    assert bodies["2"].keys() == {"category", "author"}
    personal = await read_personal(centre.connection, RING, "s", "1")
    assert personal == Personal(reporter=MAI, text=WORDS)
    assert await read_personal(centre.connection, RING, "s", "2") == Personal(text="không tên")
    # Not even under the centre's own key: the person's key alone opens it.
    rows = await centre.connection.fetch("SELECT person, sealed, as_it_came FROM personal")
    assert [(row["as_it_came"], row["sealed"] is None) for row in rows] == [(None, False)] * 2
    assert {row["person"] for row in rows} == {person_of(), bodies["2"]["author"]}


async def test_all_reports_of_a_person_are_under_one_key(centre: Centre) -> None:
    other = Reporter(name="Bình", email="binh@example.vn")
    await centre.commit(report("1"), report("2", other))
    await centre.commit(
        report("3", Reporter(phone="+84912345678", zalo="mai"), "lần hai", received_at=RECEIVED_AT + LATER)
    )
    kept = await read_person(centre.connection, RING, person_of())
    assert [(one.source, one.id) for one in kept] == [("s", "3"), ("s", "1")]
    assert await contact_of(centre.connection, RING, person_of()) == Reporter(phone="+84912345678", zalo="mai")
    keys = await centre.connection.fetch("SELECT person FROM person_key")
    assert {row["person"] for row in keys} == {person_of(), person_of(other)}


async def test_a_plate_is_kept_like_a_person(centre: Centre) -> None:
    personal = Personal(plate="30A-123.45")
    data = {
        "plate": "30*-***.45",
        "personal": RING.seal_personal(personal, "s", "1"),
        "person": RING.person_of(personal, "s", "1"),
    }
    await centre.commit(arrival(raw("ioc.camera.incident.v1", id="1", data=data)))
    assert (await centre.bodies())["1"]["plate"] == "30*-***.45"
    assert await read_personal(centre.connection, RING, "s", "1") == personal


async def test_an_erased_person_leaves_no_trace(centre: Centre) -> None:
    await centre.commit(report("1"), report("2", Reporter(phone="0912.345.678"), "Nguyễn lần hai"))
    await centre.commit(report("3", Reporter(name="Bình", email="b@x.vn"), "đường ngập"))
    # That this finds what is there is what makes it worth anything afterwards.
    found = traces_in(await centre.dump(), person_of())
    assert any(one.startswith("a key") for one in found)
    await centre.commit(erasure("e", person_of()))
    assert traces_in(await centre.dump(), person_of()) == []
    for id_ in ("1", "2"):
        assert await read_personal(centre.connection, RING, "s", id_) is None
    assert [one.personal for one in await read_person(centre.connection, RING, person_of())] == [None, None]
    assert await contact_of(centre.connection, RING, person_of()) is None
    # Others are as they were, and so is all that was counted.
    other = await read_personal(centre.connection, RING, "s", "3")
    assert other is not None
    assert other.text == "đường ngập"
    assert (await centre.bodies()).keys() == {"1", "2", "3", "e"}


async def test_even_a_copy_of_a_sealed_row_cannot_be_read(centre: Centre) -> None:
    await centre.commit(report("1"))
    copied = await centre.connection.fetchval("SELECT sealed FROM personal")
    await centre.commit(erasure("e", person_of()))
    await centre.connection.execute("UPDATE personal SET sealed = $1", copied)
    assert await read_personal(centre.connection, RING, "s", "1") is None
    # Nor when the person has a new key since then.
    await centre.commit(report("2", received_at=RECEIVED_AT + LATER))
    assert await read_personal(centre.connection, RING, "s", "1") is None
    assert await read_personal(centre.connection, RING, "s", "2") is not None


async def test_the_log_brings_nobody_back(centre: Centre) -> None:
    await centre.commit(report("1"))
    await centre.commit(erasure("e", person_of(), received_at=RECEIVED_AT + LATER))
    # A resend, and one that came before the erasure and is counted only now.
    await centre.commit(report("1"), report("2"))
    assert traces_in(await centre.dump(), person_of()) == []
    # Who reports again afterwards is heard.
    await centre.commit(report("3", received_at=RECEIVED_AT + 2 * LATER))
    assert await read_personal(centre.connection, RING, "s", "3") == Personal(reporter=MAI, text=WORDS)
    assert await read_personal(centre.connection, RING, "s", "1") is None


async def until_waiting(centre: Centre, task: "asyncio.Task[None]") -> None:
    """Until what a task does in the database waits for somebody else."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(30):
        while not await centre.connection.fetchval(waiting):
            assert not task.done(), "it does not wait"
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("ring", [RING, None], ids=["a worker with keys", "a worker without"])
@pytest.mark.parametrize("is_known", [True, False], ids=["with a key", "without"])
async def test_who_is_erased_while_a_report_is_counted_stays_so(
    centre: Centre, is_known: bool, ring: KeyRing | None
) -> None:
    if is_known:
        await centre.commit(report("2"))
    else:
        await centre.writers[0].position(LANE, TOPIC_ID)
    eraser = await asyncpg.connect(centre.url)
    try:
        erasing = eraser.transaction()
        await erasing.start()
        await erase_persons(eraser, [(person_of(), RECEIVED_AT + LATER)])
        counting = asyncio.create_task(centre.commit(report("1"), writer=centre.writer(ring)))
        await until_waiting(centre, counting)
        await erasing.commit()
        await counting
    finally:
        await eraser.close()
    assert traces_in(await centre.dump(), person_of()) == []
    assert await read_personal(centre.connection, RING, "s", "1") is None


@pytest.mark.parametrize("ring", [RING, None], ids=["a worker with keys", "a worker without"])
async def test_an_erasure_reaches_what_is_being_kept_when_it_begins(centre: Centre, ring: KeyRing | None) -> None:
    keeper = await asyncpg.connect(centre.url)
    batch = LaneBatch(
        lane=LANE,
        expected=Position(TOPIC_ID, 0, 0.0, VERSION.number),
        reached=Position(TOPIC_ID, 1, 0.0, VERSION.number),
        arrivals=[report("1")],
        version=VERSION,
        unique=True,
    )
    try:
        keeping = keeper.transaction()
        await keeping.start()
        await keep_personal(keeper, [batch], ring)
        eraser = await asyncpg.connect(centre.url)
        try:
            erasing = asyncio.create_task(erase_persons(eraser, [(person_of(), RECEIVED_AT + LATER)]))
            await until_waiting(centre, erasing)
            await keeping.commit()
            await erasing
        finally:
            await eraser.close()
    finally:
        await keeper.close()
    assert await centre.connection.fetchval("SELECT count(*) FROM personal") == 1
    assert traces_in(await centre.dump(), person_of()) == []
    assert await read_personal(centre.connection, RING, "s", "1") is None


async def test_a_report_and_its_erasure_in_one_batch(centre: Centre) -> None:
    await centre.commit(report("1"), erasure("e", person_of()), report("2"))
    assert traces_in(await centre.dump(), person_of()) == []


@pytest.mark.parametrize("role", ["operator", "dispatcher", "unit", "leader", "auditor", "citizen"])
async def test_only_an_administrator_erases(centre: Centre, role: str) -> None:
    await centre.commit(report("1"), erasure("e", person_of(), role=role))
    assert await read_personal(centre.connection, RING, "s", "1") is not None
    row = await centre.connection.fetchrow("SELECT is_applied, reason FROM command")
    assert row is not None
    assert (row["is_applied"], row["reason"]) == (False, "forbidden")


async def test_an_erasure_is_on_the_record(centre: Centre) -> None:
    await centre.commit(report("1"), erasure("e", person_of()))
    (row,) = await centre.connection.fetch("SELECT * FROM command")
    assert (row["is_applied"], row["action"], row["subject"]) == (True, "erase", f"person:{person_of()}")
    assert any(b"erase" in row["body"] for row in await centre.connection.fetch("SELECT body FROM audit"))


async def test_a_drill_erases_nobody(centre: Centre) -> None:
    await centre.commit(report("1"), erasure("e", person_of(), exercise=True))
    assert await read_personal(centre.connection, RING, "s", "1") is not None


async def test_what_a_worker_has_no_key_for_waits_sealed(centre: Centre) -> None:
    await centre.commit(report("1"), report("2", ring=OLD_RING), writer=centre.writer(OLD_RING))
    await centre.commit(report("3"), writer=centre.writer(None))
    assert all(data.keys() == {"category", "person"} for data in (await centre.bodies()).values())
    assert await read_personal(centre.connection, OLD_RING, "s", "1") is None
    for id_ in ("1", "2", "3"):
        assert await read_personal(centre.connection, RING, "s", id_) == Personal(reporter=MAI, text=WORDS)
    await centre.commit(erasure("e", person_of()))
    assert traces_in(await centre.dump(), person_of()) == []


@pytest.mark.parametrize("ring", [RING, None], ids=["with keys", "without"])
async def test_what_somebody_else_writes_openly_is_not_kept_so(centre: Centre, ring: KeyRing | None) -> None:
    open_report = arrival(
        raw(RECEIVED, id="1", data={"reporter": {"name": "Nguyễn Thị Mai", "phone": "0912 345 678"}, "text": WORDS})
    )
    open_plate = arrival(raw("ioc.camera.incident.v1", id="2", data={"plate": "30A-123.45"}))
    await centre.commit(open_report, open_plate, writer=centre.writer(ring))
    plain = [one for one in traces_in(await centre.dump(), "") if one in TRACES]
    assert plain == []
    kept = await read_personal(centre.connection, RING, "s", "1")
    assert (kept is not None and kept.text == WORDS) is (ring is not None)


@pytest.mark.parametrize("ring", [RING, OLD_RING, None], ids=["with keys", "with older keys", "without"])
async def test_a_title_that_the_log_has_open_beside_a_person_is_kept_sealed(
    centre: Centre, ring: KeyRing | None
) -> None:
    personal = Personal(reporter=MAI, text=WORDS)
    data = {
        "category": "lighting",
        "title": "Nguyễn của nhà số 5",
        "personal": RING.seal_personal(personal, "s", "1"),
        "person": person_of(),
    }
    await centre.commit(arrival(raw(RECEIVED, id="1", data=data)), writer=centre.writer(ring))
    assert (await centre.bodies())["1"].keys() == {"category", "person"}
    assert [one for one in traces_in(await centre.dump(), "") if one in TRACES] == []
    kept = await read_personal(centre.connection, RING, "s", "1")
    # Who cannot open the rest cannot seal the title with it: it stays on the log alone.
    assert kept == Personal(reporter=MAI, title=data["title"] if ring is RING else None, text=WORDS)
    await centre.commit(erasure("e", person_of()))
    assert traces_in(await centre.dump(), person_of()) == []


async def test_workers_that_meet_a_person_at_once_agree_on_the_key(centre: Centre) -> None:
    lanes = [Lane("t.cases.v1", number) for number in range(8)]
    for lane in lanes:
        await centre.writers[0].position(lane, TOPIC_ID)
    people = [Reporter(phone=f"09{number:08}") for number in range(4)]
    await asyncio.gather(
        *(
            centre.commit(
                *(report(f"{lane.partition}-{at}", people[at if lane.partition % 2 else -1 - at]) for at in range(4)),
                writer=centre.writer(),
                lane=lane,
            )
            for lane in lanes
        )
    )
    rows = await centre.connection.fetch("SELECT source, id FROM personal")
    assert len(rows) == 32
    opened = [await read_personal(centre.connection, RING, row["source"], row["id"]) for row in rows]
    assert all(one is not None and one.text == WORDS for one in opened)


async def test_a_commit_that_fails_keeps_nothing(centre: Centre) -> None:
    await centre.writers[0].position(LANE, TOPIC_ID)
    failing = VERSION._replace(fold=lambda _: 1 / 0)  # type: ignore[arg-type]
    before = Position(TOPIC_ID, 0, 0.0, VERSION.number)
    batch = LaneBatch(
        lane=LANE,
        expected=before,
        reached=before._replace(next_offset=1),
        arrivals=[report("1")],
        version=failing,
        unique=True,
    )
    with pytest.raises(ZeroDivisionError):
        await centre.writers[0].commit(batch)
    assert await centre.connection.fetchval("SELECT count(*) FROM personal") == 0
    assert await centre.connection.fetchval("SELECT count(*) FROM person_key") == 0
