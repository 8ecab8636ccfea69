"""Who decided what? The audit log, for auditors.

Each row's hash covers the one before it. A row about a case that the auditor may not see keeps its place and its
hash, so that the chain can be followed, and says nothing else.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from dashboard_api.database import Reader
from dashboard_api.scope import parameters, scoped_statements
from schemas.command import Actor

_SQL = scoped_statements("audit")


class AuditRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A row of the log. `record` is exactly what was hashed, with the hash before it; null where it is withheld."""

    chain: int
    number: int
    hash: str
    record: msgspec.Raw | None = None
    withheld: bool = False


class ChainHead(Struct, frozen=True, kw_only=True):
    """Where a chain stands."""

    chain: int
    number: int
    hash: str


class _After(Struct, array_like=True):
    id: str


class _Record(Struct):
    """What of a row says which cases it is about."""

    subject: str = ""
    cases: list[_After] = []


_records = msgspec.json.Decoder(_Record)


async def read_chain(reader: Reader, actor: Actor, chain: int, after: int, limit: int) -> list[AuditRow]:
    """At most `limit` rows of a chain after a number; those about hidden cases are withheld."""
    return await _shown(reader, actor, await reader.fetch(_SQL["read_chain"], chain, after, limit))


async def read_subject(
    reader: Reader, actor: Actor, subject: str, after: tuple[int, int], limit: int
) -> list[AuditRow]:
    """At most `limit` rows about a case, a unit, a rule or a person; none about a case that may not be seen."""
    if await _hidden(reader, actor, [subject]):
        return []
    return await _shown(reader, actor, await reader.fetch(_SQL["read_subject"], subject, *after, limit))


async def read_heads(reader: Reader) -> list[ChainHead]:
    """Where each chain stands."""
    rows = await reader.fetch(_SQL["read_heads"])
    return [ChainHead(chain=row["chain"], number=row["number"], hash=row["hash"].hex()) for row in rows]


# asyncpg's records have no column types.
async def _shown(reader: Reader, actor: Actor, rows: Iterable[Any]) -> list[AuditRow]:
    about = {(row["chain"], row["number"]): _cases_of(row["body"]) for row in rows}
    hidden = await _hidden(reader, actor, {id_ for ids in about.values() for id_ in ids})
    found: list[AuditRow] = []
    for row in rows:
        withheld = not hidden.isdisjoint(about[row["chain"], row["number"]])
        found.append(
            AuditRow(
                chain=row["chain"],
                number=row["number"],
                hash=row["hash"].hex(),
                record=None if withheld else msgspec.Raw(row["body"]),
                withheld=withheld,
            )
        )
    return found


def _cases_of(body: bytes) -> set[str]:
    record = _records.decode(body)
    return {record.subject, *(case.id for case in record.cases)}


async def _hidden(reader: Reader, actor: Actor, ids: Iterable[str]) -> set[str]:
    rows = await reader.fetch(_SQL["hidden"], *parameters(actor), sorted(ids))
    return {row["id"] for row in rows}
