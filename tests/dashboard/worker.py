"""What has the real stream worker made of some events?"""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from schemas.event import AnyEvent
from schemas.site import Pack, parse_site
from schemas.topics import INPUTS, Dedupe, topic_of
from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane, LaneBatch, Position
from streams.versions import Versions, compiled

TOPIC_ID = uuid.UUID(int=1)


class Logged(msgspec.Struct, frozen=True):
    """A record as the log has it."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes


async def count(database_url: str, pack: Pack, events: Sequence[AnyEvent], logged_at: datetime | None = None) -> None:
    """Counts these events in this order, topic by topic, as if they came `logged_at`, by default now."""
    site = parse_site(pack)
    logged_ms = int((logged_at or datetime.now(UTC)).timestamp() * 1000)
    writer = TimescaleWriter(database_url, "ioc", Versions(compiled(0, site)))
    try:
        version = compiled(await writer.register_site(pack), site)
        for topic in INPUTS:
            lane, some = Lane(topic.name, 0), [event for event in events if topic_of(event) is topic]
            before = await writer.position(lane, TOPIC_ID)
            log = [
                Logged(before.next_offset + at, logged_ms, b"", msgspec.json.encode(one))
                for at, one in enumerate(some)
            ]
            reading = version.reader.read(topic.name, 0, log, watermark_s=before.watermark_s)
            assert reading.dead == []
            end = before.next_offset + len(log)
            outcome = await writer.commit(
                LaneBatch(
                    lane=lane,
                    expected=before,
                    reached=Position(TOPIC_ID, end, reading.watermark_s, version.number),
                    arrivals=reading.arrivals,
                    version=version,
                    unique=topic.dedupe is Dedupe.FOREVER,
                )
            )
            assert outcome.counted == len(log)
    finally:
        await writer.close()
