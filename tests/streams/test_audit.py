"""Is every way of changing what was decided found out, also by who holds the whole database?"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.migrate import migrate_schema
from schemas.case import CaseId, Refusal, State
from streams.core.audit import (
    CaseAfter,
    Following,
    Head,
    Link,
    Record,
    body_of,
    hash_of,
    head_line,
    linked,
    parse_head,
    read_body,
)
from streams.store.audit import SQL, added, read_heads, read_subject, verify_chains
from streams.store.cells import Connection

ROOT = Path(__file__).parents[2]
CHAIN = 3
AT = datetime(2026, 2, 16, 9, 55, tzinfo=UTC)

Links = list[Link]


def record(number: int, refusal: Refusal | None = None) -> Record:
    """Some decision."""
    at = AT + timedelta(seconds=number)
    after = () if refusal else (CaseAfter(CaseId(f"case-{number % 3}"), number + 1, State.TRIAGED, "00" * 32),)
    return Record(
        recorded_at=at,
        at=at,
        what="triage",
        subject=f"case-{number % 3}",
        source="person:an",
        id=f"c{number}",
        event="ff" * 32,
        actor="an",
        roles=("operator",),
        refusal=refusal,
        cases=after,
    )


def chain(length: int) -> Links:
    """A chain of so many decisions."""
    return linked(Head(CHAIN), [record(n, Refusal.STALE if n % 4 == 0 else None) for n in range(length)])


def head_of(links: Sequence[Link]) -> Head:
    """Where it stands."""
    return Head(CHAIN, links[-1].number, links[-1].hash)


def flaw_at(links: Sequence[Link], head: Head | None, kept: Sequence[Head] = ()) -> int | None:
    """The row at which something is found to be wrong."""
    following = Following(CHAIN, kept)
    for link in links:
        following.follow(link)
    flaw = following.end(head)
    return None if flaw is None else flaw.number


def made_anew(links: Sequence[Link], bodies: Sequence[bytes]) -> Links:
    """What somebody would write who knows how hashes are made."""
    made: Links = []
    previous = Head(CHAIN).hash
    for number, body in enumerate(bodies, 1):
        previous = hash_of(previous, body)
        found = read_body(body)
        made.append(Link(number, found.recorded_at, found.subject, body, previous))
    return made


@pytest.mark.parametrize("length", [1, 2, 9])
def test_a_chain_that_nobody_has_touched_is_right(length: int) -> None:
    links = chain(length)
    assert flaw_at(links, head_of(links)) is None
    assert flaw_at(links, head_of(links), [head_of(links[: length // 2 + 1])]) is None


def test_a_chain_that_was_never_begun_is_right() -> None:
    assert flaw_at([], None) is None


def test_a_chain_goes_on_behind_its_head() -> None:
    links = chain(6)
    first = linked(Head(CHAIN), [read_body(link.body) for link in links[:4]])
    rest = linked(head_of(first), [read_body(link.body) for link in links[4:]])
    assert [*first, *rest] == links


EDITED = body_of(record(2, Refusal.FORBIDDEN))


TAMPERED: list[tuple[str, int, Callable[[Links], Links]]] = [
    ("a body was edited", 3, lambda x: [*x[:2], x[2]._replace(body=EDITED), *x[3:]]),
    (
        "a body was edited and its hash made anew",
        4,
        lambda x: [*x[:2], x[2]._replace(body=EDITED, hash=hash_of(x[1].hash, EDITED)), *x[3:]],
    ),
    ("a hash was edited", 3, lambda x: [*x[:2], x[2]._replace(hash=bytes(32)), *x[3:]]),
    ("the first row is gone", 1, lambda x: x[1:]),
    ("a row in between is gone", 5, lambda x: [*x[:4], *x[5:]]),
    ("the last row is gone", 8, lambda x: x[:-1]),
    ("all rows are gone", 1, lambda _: []),
    ("two rows were swapped", 4, lambda x: [*x[:3], x[4]._replace(number=4), x[3]._replace(number=5), *x[5:]]),
    ("rows moved up", 4, lambda x: [*x[:3], *(link._replace(number=link.number - 1) for link in x[4:])]),
    ("a row was put behind", 9, lambda x: [*x, Link(9, AT, "case-0", EDITED, hash_of(x[-1].hash, EDITED))]),
    ("the subject is another", 6, lambda x: [*x[:5], x[5]._replace(subject="other"), *x[6:]]),
    ("the time is another", 6, lambda x: [*x[:5], x[5]._replace(recorded_at=AT), *x[6:]]),
]


@pytest.mark.parametrize(("tamper", "row"), [pytest.param(how, row, id=what) for what, row, how in TAMPERED])
def test_what_was_tampered_with_is_found_where_it_is(tamper: Callable[[Links], Links], row: int) -> None:
    links = chain(8)
    assert flaw_at(tamper(links), head_of(links)) == row


def test_a_chain_that_was_made_anew_is_found_by_a_head_that_was_kept_elsewhere() -> None:
    links = chain(8)
    bodies = [link.body for link in links]
    bodies[2] = EDITED
    forged = made_anew(links, bodies)
    assert flaw_at(forged, head_of(forged)) is None
    assert flaw_at(forged, head_of(forged), [head_of(links[:5])]) == 5
    shorter = made_anew(links, [link.body for link in links[:4]])
    assert flaw_at(shorter, head_of(shorter), [head_of(links)]) == 5


@given(st.integers(0, 7), st.integers(0, 200), st.integers(1, 255))
def test_one_byte_of_any_row_is_enough(row: int, at: int, mask: int) -> None:
    links = chain(8)
    body = bytearray(links[row].body)
    body[at % len(body)] ^= mask
    links[row] = links[row]._replace(body=bytes(body))
    assert flaw_at(links, head_of(chain(8))) == row + 1


@given(st.integers(0, 2**31), st.integers(0, 2**40), st.binary(min_size=32, max_size=32))
def test_a_head_survives_being_written_down(number: int, row: int, hash_: bytes) -> None:
    head = Head(number, row, hash_)
    assert parse_head(head_line(head)) == head


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A database with all tables."""
    await migrate_schema(database_url)
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


async def add_records(connection: Connection, records: Mapping[int, Sequence[Record]]) -> None:
    """Puts records behind the heads of their chains."""
    more = added({head.chain: head for head in await read_heads(connection)}, records)
    await connection.execute(SQL["put_audit"], *zip(*more.rows, strict=True))
    await connection.execute(SQL["put_heads"], *zip(*more.heads, strict=True))


async def flaws(connection: Connection) -> dict[int, int | None]:
    """Where each chain of the database is wrong."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return {
            one.head.chain: None if one.flaw is None else one.flaw.number async for one in verify_chains(connection)
        }


async def tamper(connection: Connection, statement: str) -> None:
    """What somebody does who may do everything in the database."""
    await connection.execute(
        f"ALTER TABLE audit DISABLE TRIGGER USER; {statement}; ALTER TABLE audit ENABLE TRIGGER USER"
    )


async def test_stored_chains_are_followed_and_read(connection: Connection) -> None:
    for first in (0, 5):
        async with connection.transaction():
            await add_records(connection, {1: [record(n) for n in range(first, first + 5)], 4: [record(first)]})
    assert await flaws(connection) == {1: None, 4: None}
    assert [(head.chain, head.number) for head in await read_heads(connection)] == [(1, 10), (4, 2)]
    about = await read_subject(connection, "case-2")
    assert [(kept.chain, kept.number, kept.record) for kept in about] == [
        (1, 3, record(2)),
        (1, 6, record(5)),
        (4, 2, record(5)),
        (1, 9, record(8)),
    ]


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        pytest.param("UPDATE audit SET body = body || ' ' WHERE number = 4", 4, id="edited"),
        pytest.param("DELETE FROM audit WHERE number = 4", 4, id="taken out"),
        pytest.param("DELETE FROM audit WHERE number > 6", 7, id="cut"),
        pytest.param("TRUNCATE audit", 1, id="emptied"),
        pytest.param("UPDATE audit_head SET number = 5", 6, id="head put back"),
        pytest.param("DELETE FROM audit_head", 1, id="head taken away"),
        pytest.param("UPDATE audit_head SET hash = '\\x00'", 10, id="head edited"),
    ],
)
async def test_tampering_with_the_database_is_found(connection: Connection, statement: str, row: int) -> None:
    async with connection.transaction():
        await add_records(connection, {2: [record(n) for n in range(10)]})
    await tamper(connection, statement)
    assert await flaws(connection) == {2: row}


@pytest.mark.parametrize("statement", ["UPDATE audit SET body = ''", "DELETE FROM audit", "TRUNCATE audit"])
async def test_the_database_itself_only_adds(connection: Connection, statement: str) -> None:
    async with connection.transaction():
        await add_records(connection, {2: [record(1)]})
    with pytest.raises(asyncpg.RaiseError, match="only ever added to"):
        await connection.execute(statement)


async def test_the_commands_say_so(connection: Connection, database_url: str, tmp_path: Path) -> None:
    async with connection.transaction():
        await add_records(connection, {2: [record(n) for n in range(4)]})

    async def ioc(*arguments: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", "audit", *arguments),
            env={
                "PATH": os.defpath,
                "PYTHONPATH": str(ROOT),
                "LC_ALL": "C.UTF-8",
                "IOC_DATA": str(tmp_path),
                "IOC_DATABASE_URL": database_url,
                "IOC_KAFKA": "127.0.0.1:1",
            },
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode, said.decode()

    code, said = await ioc("verify")
    assert (code, said.count("chain 2: 4 rows, nothing was changed")) == (0, 1)
    code, heads = await ioc("verify", "--head")
    assert (code, parse_head(heads)) == (0, (await read_heads(connection))[0])
    kept = tmp_path / "heads"
    kept.write_text(heads)
    assert (await ioc("verify", "--kept", str(kept)))[0] == 0
    code, said = await ioc("show", "case-1")
    assert (code, said.count("triage  by an (operator)  applied  case-1 version 2 triaged")) == (0, 1)
    code, said = await ioc("show", "nobody")
    assert (code, "Nothing was ever decided about 'nobody'" in said) == (1, True)

    # The whole chain made anew, head and all: only what was kept elsewhere tells.
    async with connection.transaction():
        await tamper(connection, "TRUNCATE audit; DELETE FROM audit_head")
        await add_records(connection, {2: [record(n, Refusal.FORBIDDEN) for n in range(4)]})
    assert (await ioc("verify"))[0] == 0
    code, said = await ioc("verify", "--kept", str(kept))
    assert (code, "chain 2: WRONG at row 4" in said) == (1, True)
