"""How is the audit log kept, and how is it read again?

One chain for each partition that cases travel on: whoever holds a partition's position is the only one that adds to
its chain. See `streams.core.audit`.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

from schemas.statements import parse_statements
from streams.core.audit import Flaw, Following, Head, Link, Record, linked, read_body
from streams.store.cells import Connection

ROWS_MAX = 5_000
"""Rows that are read at once."""

SQL = parse_statements((files("streams.store") / "audit.sql").read_text())


class Verdict(NamedTuple):
    """What the reading of a chain has shown: how many rows it has, its head, and what is wrong, if anything is."""

    rows: int
    head: Head
    flaw: Flaw | None


class Kept(NamedTuple):
    """A record, and where it stands."""

    chain: int
    number: int
    record: Record


class Added(NamedTuple):
    """Rows for chains, and where the chains then end: what `put_audit` and `put_heads` take, row by row."""

    rows: list[tuple[object, ...]]
    heads: list[Head]


def added(heads: Mapping[int, Head], records: Mapping[int, Sequence[Record]]) -> Added:
    """The rows that put records behind the heads of their chains; a chain that has none is begun."""
    links = {chain: linked(heads.get(chain, Head(chain)), some) for chain, some in sorted(records.items()) if some}
    return Added(
        [(chain, *link) for chain, some in links.items() for link in some],
        [Head(chain, some[-1].number, some[-1].hash) for chain, some in links.items()],
    )


async def read_heads(connection: Connection) -> list[Head]:
    """Where every chain stands."""
    return [Head(row["chain"], row["number"], row["hash"]) for row in await connection.fetch(SQL["read_heads"])]


async def verify_chains(connection: Connection, kept: Iterable[Head] = ()) -> AsyncGenerator[Verdict]:
    """Reads every chain from its start. `kept` are heads that were written down elsewhere.

    To be called in a transaction that sees one moment: else a row that is added meanwhile looks like one too many.
    """
    known = list(kept)
    heads = {head.chain: head for head in await read_heads(connection)}
    chains = {row["chain"] for row in await connection.fetch(SQL["read_chains"])}
    for chain in sorted(chains | heads.keys() | {head.chain for head in known}):
        following = Following(chain, (head for head in known if head.chain == chain))
        rows = 0
        async for link in _links(connection, chain):
            rows += 1
            if following.follow(link) is not None:
                break
        head = following.head
        yield Verdict(rows, head, following.end(heads.get(chain)))


async def read_subject(connection: Connection, subject: str) -> list[Kept]:
    """All that was decided about a case, a unit or whatever else commands are about, in the order of recording."""
    rows = await connection.fetch(SQL["read_subject"], subject)
    return [Kept(row["chain"], row["number"], read_body(row["body"])) for row in rows]


async def _links(connection: Connection, chain: int) -> AsyncGenerator[Link]:
    last = -(2**62)
    while rows := await connection.fetch(SQL["read_links"], chain, last, ROWS_MAX):
        for row in rows:
            yield Link(**dict(row))
        last = rows[-1]["number"]
