"""Who sends, and when were they last heard?"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from dashboard_api.database import Reader
from dashboard_api.statements import load_statements
from schemas.site import Site

SILENT_AFTER_S = 900
"""When a source that the site pack does not declare counts as stale."""

_SQL = load_statements("sources")


class SourceState(Struct, frozen=True, kw_only=True):
    """A source, declared or only heard. `time` is its latest event's, `received_at` its latest arrival's."""

    id: str
    names: dict[str, str]
    declared: bool
    simulated: bool
    silent_after_s: int
    n: int
    time: datetime | None
    received_at: datetime | None
    state: Literal["fresh", "stale", "never"]


def state_of(
    site: Site, source: str, n: int, time: datetime | None, received_at: datetime | None, now: datetime
) -> SourceState:
    """What is to be said of a source that was heard so often, last at these times."""
    declared = next((s for s in site.header.source if s.id == source), None)
    silent_after_s = declared.silent_after_s if declared else SILENT_AFTER_S
    if received_at is None:
        state = "never"
    else:
        state = "stale" if (now - received_at).total_seconds() > silent_after_s else "fresh"
    return SourceState(
        id=source,
        names=declared.names if declared else {},
        declared=declared is not None,
        simulated=declared is not None and declared.simulated,
        silent_after_s=silent_after_s,
        n=n,
        time=time,
        received_at=received_at,
        state=state,
    )


async def read_all(reader: Reader, site: Site, now: datetime, limit: int) -> list[SourceState]:
    """Declared sources in the order of the site pack, then at most `limit` others by when they were heard."""
    ids = [source.id for source in site.header.source]
    seen = {row["source"]: row for row in await reader.fetch(_SQL["read_some"], ids)}
    heard = [row for row in await reader.fetch(_SQL["read_all"], limit) if row["source"] not in ids]
    declared = [_state(site, id_, seen.get(id_), now) for id_ in ids]
    return declared + [_state(site, row["source"], row, now) for row in heard]


async def read_some(reader: Reader, site: Site, sources: Collection[str], now: datetime) -> dict[str, str]:
    """The named sources, serialised."""
    rows = await reader.fetch(_SQL["read_some"], list(sources))
    return {row["source"]: source_text(_state(site, row["source"], row, now)) for row in rows}


def source_text(state: SourceState) -> str:
    """One source for the wire."""
    return msgspec.json.encode(state).decode()


def _state(site: Site, source: str, row: Any, now: datetime) -> SourceState:  # noqa: ANN401  # an asyncpg record
    if row is None:
        return state_of(site, source, 0, None, None, now)
    return state_of(site, source, row["n"], row["time"], row["received_at"], now)
