"""What must the tables say, after all that was accepted?

The truth is the set of events that a sender was told to be safe, each once however often it was sent, counted by
`tests.streams.naive` one at a time. What a bucket held when it closed must never change after that.
"""

from collections.abc import Iterable

import asyncpg

from schemas.event import AnyEvent
from schemas.site import Site
from schemas.topics import Dedupe, topic_of
from schemas.window import TIERS, Tier, bucket_end
from streams.maintenance.closing import read_closed_s
from tests.streams import held, naive

_SHOWN_MAX = 5


class Truth:
    """All accepted events, and what closed buckets were seen to hold first."""

    def __init__(self, site: Site) -> None:
        """Nothing was accepted yet."""
        self.site = site
        self.events: dict[tuple[str, str], AnyEvent] = {}
        self.first: held.Buckets = {}
        self.closed: dict[str, float] = {}
        self._reported = {base.id for base in site.kpis.fed_by("ioc.indicator.observed.v1")}

    def accept(self, events: Iterable[AnyEvent]) -> None:
        """Adds what is on the log for sure. The first of one identity counts."""
        for event in events:
            self.events.setdefault((event.source, event.id), event)

    async def check(self, database_url: str) -> None:
        """Compares every bucket of every tier, and the event table. Raises AssertionError."""
        connection = await asyncpg.connect(database_url)
        try:
            counted = await stored(connection, first=False)
            kept = {(row["source"], row["id"]) for row in await connection.fetch("SELECT source, id FROM event")}
            heard = await connection.fetch("SELECT source, sum(n)::bigint AS n FROM source_seen GROUP BY source")
        finally:
            await connection.close()
        truth = held.of_amounts(naive.amounts(naive.countable(self.events.values()), self.site))
        same(truth, counted, "(truth, counted)")
        assert kept == {key for key, event in self.events.items() if topic_of(event).dedupe is Dedupe.FOREVER}
        by_source: dict[str, int] = {}
        for (source, _), event in self.events.items():
            if not event.exercise:
                by_source[source] = by_source.get(source, 0) + 1
        assert {row["source"]: row["n"] for row in heard} == by_source
        await self.check_first(database_url)

    async def check_first(self, database_url: str) -> None:
        """Compares what closed buckets held first with what was seen of them before, and notes what closed since."""
        connection = await asyncpg.connect(database_url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                closed = dict(await read_closed_s(connection, self.site))
                found = await stored(connection, first=True)
        finally:
            await connection.close()
        known = {
            bucket: one
            for bucket, one in found.items()
            if self._is_closed(bucket, self.closed) or bucket in self.first
        }
        same(self.first, known, "(first, now said to be first)")
        self.closed = closed
        self.first = {
            bucket: one
            for bucket, one in found.items()
            if self._is_closed(bucket, closed) or bucket[1] in self._reported
        }

    def _is_closed(self, bucket: naive.Bucket, closed: dict[str, float]) -> bool:
        """Whether nothing may be put into it any more. A bucket of reports closes with its own first."""
        tier, base, area, _, start_s = bucket
        if base in self._reported:
            return False
        zone = self.site.areas.zone(area)  # type: ignore[arg-type]
        return base in closed and bucket_end(start_s, Tier(tier), zone) <= closed[base]


def same(truth: held.Buckets, found: held.Buckets, what: str) -> None:
    """Raises AssertionError with the first buckets that differ."""
    wrong = {key: (truth.get(key), found.get(key)) for key in truth | found if truth.get(key) != found.get(key)}
    shown = dict(sorted(wrong.items())[:_SHOWN_MAX])
    assert not wrong, f"{len(wrong)} of {len(truth)} buckets differ as {what}, such as {shown}"


async def stored(connection: "asyncpg.Connection[asyncpg.Record]", *, first: bool) -> held.Buckets:
    """All that the tables hold now, or held when buckets closed."""
    found: held.Buckets = {}
    for tier in TIERS:
        found |= held.of_rows(tier, await connection.fetch(f"SELECT * FROM kpi_{tier.value}"), first=first)
    return found
