"""How does a command of `ioc` write to the log? As the door does, and only what that takes from nobody outside."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from ingest.gateway.producer import Producer
from ingest.gateway.session import Lot
from schemas.errors import DependencyUnavailable

KAFKA_WAIT_S = 15.0
"""How long Kafka is waited for."""

RETRY_S = 0.2


async def write(kafka: str, topic_prefix: str, lots: Sequence[Lot]) -> None:
    """Returns when all is on the log, some of it maybe more than once. Raises DependencyUnavailable."""
    producer = Producer(kafka, topic_prefix=topic_prefix)
    producer.start()
    try:
        deadline_s = time.monotonic() + KAFKA_WAIT_S
        while True:
            try:
                await producer.append(lots, int(datetime.now(UTC).timestamp() * 1000))
            except DependencyUnavailable:
                if time.monotonic() > deadline_s:
                    raise
                await asyncio.sleep(RETRY_S)
            else:
                return
    finally:
        await producer.stop()
