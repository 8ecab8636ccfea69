"""What must the tables say, after all that was accepted?

The truth is the set of events that a sender was told to be safe, each once however often it was sent, counted by
`tests.streams.naive` one at a time.
"""

from collections.abc import Iterable

import asyncpg

from schemas import topics
from schemas.event import AnyEvent
from schemas.site import Site
from schemas.window import TIERS
from tests.streams import naive

_SHOWN_MAX = 5


class Truth:
    """All accepted events."""

    def __init__(self, site: Site) -> None:
        """Nothing was accepted yet."""
        self.site = site
        self.events: dict[tuple[str, str], AnyEvent] = {}

    def accept(self, events: Iterable[AnyEvent]) -> None:
        """Adds what is on the log for sure. The first of one identity counts."""
        for event in events:
            self.events.setdefault((event.source, event.id), event)

    async def check(self, database_url: str) -> None:
        """Compares every bucket of every tier, and the event table. Raises AssertionError."""
        connection = await asyncpg.connect(database_url)
        try:
            counted = await _sums(connection)
            kept = {(row["source"], row["id"]) for row in await connection.fetch("SELECT source, id FROM event")}
            heard = await connection.fetch("SELECT source, sum(n)::bigint AS n FROM source_seen GROUP BY source")
        finally:
            await connection.close()
        truth = naive.sums(self.events.values(), self.site)
        wrong = {
            key: (truth.get(key), counted.get(key)) for key in truth | counted if truth.get(key) != counted.get(key)
        }
        shown = dict(sorted(wrong.items())[:_SHOWN_MAX])
        assert not wrong, f"{len(wrong)} of {len(truth)} buckets differ as (truth, counted), such as {shown}"
        low_rate = {key for key, event in self.events.items() if topics.topic_of(event) is topics.CASES}
        assert kept == low_rate
        by_source: dict[str, int] = {}
        for source, _ in self.events:
            by_source[source] = by_source.get(source, 0) + 1
        assert {row["source"]: row["n"] for row in heard} == by_source


async def _sums(connection: "asyncpg.Connection[asyncpg.Record]") -> naive.Sums:
    found: naive.Sums = {}
    for tier in TIERS:
        rows = await connection.fetch(
            f"""SELECT kpi, area, dim, extract(epoch FROM bucket)::bigint AS start_s,
                       sum(n)::bigint AS n, sum(total) AS total
                FROM kpi_{tier.value} GROUP BY kpi, area, dim, bucket"""
        )
        for row in rows:
            key = (tier.value, row["kpi"], row["area"], row["dim"], row["start_s"])
            found[key] = (row["n"], row["total"])
    return found
