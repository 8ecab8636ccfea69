"""How does a test count events at chosen moments, and look at rules at others?"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from msgspec.structs import replace

from schemas.alert import AlertRule, Series
from schemas.area_id import AreaId
from schemas.event import AlertChanged
from schemas.site import Site, parse_site
from streams.alerts.look import Found, begin_rules, claim, commit, look_at
from streams.alerts.watch import tend
from streams.core.batch import Arrival
from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane, LaneBatch, Position
from streams.versions import Version, Versions, compiled
from tests.streams.world import LOGGED_MS, PACK, StoredRecord, raw

TOPIC_ID = UUID(int=1)
METRICS, CASES, RECORDS, DETECTIONS = ("t.metrics.v1", "t.cases.v1", "t.records.v1", "t.detections.v1")
KEPT = (CASES, RECORDS)
BEGIN_S = int(datetime(2025, 6, 23, tzinfo=UTC).timestamp())
"""A Monday, 07:00 in Hanoi."""
MINUTE_S = 60


def version_of(rules: str, number: int = 0) -> Version:
    """The tests' site with these alert rules."""
    return compiled(number, parse_site({**PACK, "alerts.toml": rules}))


def rule(test: str, *more: str, id_: str = "slow", subject: str = 'kpi = "response"\nby = "service"') -> str:
    """One rule, minute by minute, that waits for nothing once it is settled."""
    return "\n".join(
        [
            "[[rule]]",
            f'id = "{id_}"',
            f'names = {{ en = "Rule {id_}" }}',
            'category = "it"',
            subject,
            'every = "minute"',
            "settle_s = 0",
            *more,
            test,
            "",
        ]
    )


def metric(at_s: float, value: float, *, service: str = "web", area: str = "0101") -> bytes:
    """A measured response time."""
    return raw(
        "ioc.service.metric.v1",
        id=f"{at_s}-{service}-{area}",
        time=datetime.fromtimestamp(at_s, UTC).isoformat(),
        area=area,
        data={"service": service, "metric": "response", "value": value},
    )


def report(at_s: int, *, area: str = "0101", category: str = "road", **given: object) -> bytes:
    """A citizen's report."""
    return raw(
        "ioc.feedback.received.v1",
        id=f"{at_s}-{area}-{category}",
        time=datetime.fromtimestamp(at_s, UTC).isoformat(),
        area=area,
        data={"category": category},
        **given,
    )


class Hall:
    """A centre's tables, and lanes that count into them."""

    def __init__(self, url: str, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.url = url
        self.connection = connection
        self._positions: dict[Lane, Position] = {}
        self._ids = 0

    @asynccontextmanager
    async def writer(self, version: Version) -> AsyncGenerator[TimescaleWriter]:
        """Somebody who counts."""
        writer = TimescaleWriter(self.url, "group", Versions(version))
        try:
            yield writer
        finally:
            await writer.close()

    async def count(self, version: Version, raws: Sequence[bytes], until_s: float, topic: str = METRICS) -> None:
        """Counts events of one topic, which has come as far as `until_s` then."""
        async with self.writer(version) as writer:
            lane = Lane(topic, 0)
            if lane not in self._positions:
                self._positions[lane] = await writer.position(lane, TOPIC_ID)
            at = self._positions[lane]
            reached = Position(TOPIC_ID, at.next_offset + len(raws) + 1, until_s)
            arrivals = [replace(self._arrival(version, one), offset=at.next_offset + i) for i, one in enumerate(raws)]
            batch = LaneBatch(
                lane=lane, expected=at, reached=reached, arrivals=arrivals, version=version, unique=topic in KEPT
            )
            await writer.commit(batch)
            self._positions[lane] = reached

    def _arrival(self, version: Version, one: bytes) -> Arrival:
        return version.reader.read("t", 0, [StoredRecord(0, LOGGED_MS, b"k", one)]).arrivals[0]

    async def begin(self, version: Version, now_s: float = BEGIN_S) -> None:
        """Has all rules begin at a moment."""
        await begin_rules(self.connection, version.site, now_s)

    async def look(self, version: Version, now_s: float, *, rounds_max: int = 100) -> list[Found]:
        """Looks at all rules until none has anything to decide."""
        done: list[Found] = []
        await self.connection.execute("UPDATE alert_rule SET due_at = now(), leased_until = NULL")
        while len(done) < rounds_max:
            claimed = await claim(self.connection, version.site)
            if claimed is None:
                break
            found = await look_at(self.connection, version.site, claimed, now_s)
            assert await commit(self.connection, version.site, claimed, found)
            done.append(found)
        return done

    async def tend(self, version: Version, now_s: float) -> None:
        """Begins and ends rules as the pack says."""
        await tend(self.connection, version, now_s)

    async def told(self) -> list[AlertChanged]:
        """What waits for the log, in the order of coming."""
        rows = await self.connection.fetch("SELECT body FROM outbox WHERE channel = 'kafka' ORDER BY made_at, id")
        return [msgspec.json.decode(row["body"], type=AlertChanged) for row in rows]

    async def changes(self) -> list[tuple[str, str, int]]:
        """Of all that was told the rule, the state, and the minute after BEGIN_S."""
        return [
            (one.data.rule, one.data.state, int(one.time.timestamp() - BEGIN_S) // MINUTE_S)
            for one in await self.told()
        ]

    async def state(self) -> dict[str, Any]:
        """All that rules hold and have told, without the times of the machine's own clock."""
        found: dict[str, Any] = {}
        for table, columns, order in (
            ("alert_rule", "rule, looked_until", "rule"),
            ("alert_series", "*", "rule, area, dim"),
            ("alert_firing", "*", "rule, area, dim, started_at"),
            ("alert", "*", "id"),
            ("outbox", "id, channel, target, body", "id"),
        ):
            rows = await self.connection.fetch(f"SELECT {columns} FROM {table} ORDER BY {order}")
            found[table] = [tuple(row) for row in rows]
        return found


def rule_of(site: Site, id_: str = "slow") -> AlertRule:
    """The rule of this id."""
    return next(one for one in site.alerts if one.id == id_)


def series(area: str, by: str = "") -> Series:
    """A series."""
    return Series(AreaId(area), by)
