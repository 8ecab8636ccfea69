"""Which cases may somebody see, in what order, and what happened to them?

Every question is asked for an actor: what the actor may not see is neither listed nor counted, and asking for it by
its id is like asking for what is not there.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

from dashboard_api.case_filter import Box as Box
from dashboard_api.case_filter import CaseFilter as CaseFilter
from dashboard_api.case_view import ProposalView
from dashboard_api.cursor import decode_cursor, encode_cursor, from_us, to_us, unreadable
from dashboard_api.database import Reader
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.scope import parameters, scoped_statements, seen_of
from schemas.case import Case, CaseId, ClockName, Entry, Severity
from schemas.command import Actor
from schemas.identity import Seen
from schemas.site import Site
from schemas.working_time import worked_s

COUNT_MAX = 10_000
"""So many are counted; of more it is said that there are at least so many."""

USUAL_AMONG = 2_000
"""Among so many newest cases it is looked for what is usual in a category."""

USUAL_MAX = 100
"""So many finished cases say what is usual."""

_SAME_ORDER = "Send `next` of the page before as it came, with the same `order`."
_SQL = scoped_statements("cases")
_cases = msgspec.json.Decoder(Case)
_entries = msgspec.json.Decoder(Entry)


class Order(StrEnum):
    """In what order a list is."""

    DUE = "due"  # what is due first comes first
    OPENED = "opened"  # what was opened last comes first
    SEVERITY = "severity"  # the worst comes first, and of that what is due first


_LISTS = {order: _SQL[f"list_{order}"].replace("{wanted}", _SQL["wanted"]) for order in Order}
_COUNT = _SQL["count_cases"].replace("{wanted}", _SQL["wanted"])
_RANKS = {Severity.CRITICAL: 1, Severity.MAJOR: 2, Severity.MINOR: 3, Severity.INFO: 4}


class CaseCursor(NamedTuple):
    """A place in a list: what comes after it is next. `at` is None for a case without a deadline."""

    order: Order
    at: datetime | None
    id: str
    rank: int


class SeenCase(NamedTuple):
    """A case with what decides who may see it."""

    case: Case
    seen: Seen


async def read_list(
    reader: Reader, actor: Actor, wanted: CaseFilter, order: Order, after: CaseCursor | None, limit: int
) -> list[Case]:
    """At most `limit` cases that the actor may see."""
    values: list[object] = [
        *parameters(actor),
        *_filter_values(wanted),
        after.at if after else None,
        after.id if after else None,
        limit,
    ]
    if order is Order.SEVERITY:
        values.append(after.rank if after else None)
    return [_cases.decode(row["body"]) for row in await reader.fetch(_LISTS[order], *values)]


async def count(reader: Reader, actor: Actor, wanted: CaseFilter) -> int:
    """How many cases the actor may see; COUNT_MAX stands for that many and more."""
    return int(await reader.fetchval(_COUNT, *parameters(actor), *_filter_values(wanted), COUNT_MAX))


async def read_case(reader: Reader, actor: Actor, id_: str) -> Case:
    """The case. Raises Refused with the status 404 where there is none that the actor may see."""
    row = await reader.fetchrow(_SQL["read_case"], *parameters(actor), id_)
    if row is None:
        raise unknown_case()
    return _cases.decode(row["body"])


async def visible(reader: Reader, actor: Actor, ids: Collection[str]) -> set[CaseId]:
    """Which of these cases the actor may see."""
    if not ids:
        return set()
    return {row["id"] for row in await reader.fetch(_SQL["visible"], *parameters(actor), sorted(ids))}


async def read_usual(reader: Reader, site: Site, actor: Actor, category: str) -> dict[ClockName, list[float]]:
    """How long each clock ran in finished cases of a category, in working seconds."""
    rows = await reader.fetch(_SQL["finished"], *parameters(actor), category, USUAL_AMONG, USUAL_MAX)
    found: dict[ClockName, list[float]] = {}
    for row in rows:
        for clock in _cases.decode(row["body"]).clocks:
            if clock.stopped_at is not None:
                found.setdefault(clock.name, []).append(worked_s(site, clock, clock.stopped_at))
    return found


async def read_timeline(
    reader: Reader, actor: Actor, id_: str, after: int, limit: int, *, only_public: bool = False
) -> list[Entry]:
    """Lines of a case's timeline after this number, the oldest first; none of a case that may not be seen."""
    rows = await reader.fetch(_SQL["read_timeline"], *parameters(actor), id_, after, only_public, limit)
    return [_entries.decode(row["body"]) for row in rows]


async def read_proposals(
    reader: Reader,
    actor: Actor,
    *,
    state: str | None,
    case: str | None,
    before: tuple[datetime, str, str] | None,
    limit: int,
) -> list[ProposalView]:
    """Pairs of cases that may be one, of which the actor may see both, the newest first."""
    rows = await reader.fetch(
        _SQL["read_proposals"], *parameters(actor), state, case, *(before or (None, None, None)), limit
    )
    return [
        ProposalView(
            case=row["case_id"],
            other=row["other_id"],
            score=row["score"],
            reasons=msgspec.json.decode(row["reasons"], type=list[str]),
            state=row["state"],
            made_at=row["made_at"],
        )
        for row in rows
    ]


async def read_some(reader: Reader, ids: Iterable[str]) -> dict[CaseId, SeenCase]:
    """These cases, each with what decides who may see it. Whoever shows them asks `may_see` for each reader."""
    rows = await reader.fetch(_SQL["read_some"], sorted(ids))
    return {row["id"]: SeenCase(_cases.decode(row["body"]), seen_of(row)) for row in rows}


def unknown_case() -> Refused:
    """What is said of a case that is not there, and of one that may not be seen: nobody can tell which."""
    fix = "Use an id from GET /v1/cases, of a case that you may see."
    return Refused("id", RefusalReason.UNKNOWN_CASE, "there is no such case", fix, status=404)


def place_of(case: Case, order: Order) -> CaseCursor:
    """A case's own place in a list."""
    at = case.opened_at if order is Order.OPENED else case.due_at
    return CaseCursor(order, at, case.id, _RANKS[case.severity])


def cursor_text(cursor: CaseCursor) -> str:
    """The cursor as it goes into `after`."""
    at_us = None if cursor.at is None else to_us(cursor.at)
    return encode_cursor((cursor.order.value, at_us, cursor.id, cursor.rank))


def parse_cursor(text: str | None, order: Order) -> CaseCursor | None:
    """Reads what `cursor_text` wrote. Raises Refused, also for the cursor of another order."""
    if text is None:
        return None
    was, at_us, id_, rank = decode_cursor(text, tuple[str, int | None, str, int], "after", _SAME_ORDER)
    at = None if at_us is None else from_us(at_us, "after", _SAME_ORDER)
    if was != order or "\x00" in id_ or not 1 <= rank <= len(_RANKS) or (order is Order.OPENED and at is None):
        raise unreadable("after", _SAME_ORDER)
    return CaseCursor(order, at, id_, rank)


def _filter_values(wanted: CaseFilter) -> Sequence[object]:
    return (
        *wanted.stored(),
        wanted.due_before,
        None if wanted.words is None else wanted.words.lower(),
        *(wanted.box or (None, None, None, None)),
        None if wanted.since_xid is None else str(wanted.since_xid),
        wanted.changed_after,
        wanted.exercise,
    )
