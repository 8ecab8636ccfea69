"""What becomes of events while Kafka is away, and after it has come back?"""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.local.kafka import LocalKafka
from deploy.migrate import ensure_topics
from schemas import codec
from tests.ingest.gateway import BATCH, STRUCTURED, config, serving, until_ready, written
from tests.ingest.vector import event

ANSWER_WITHIN_S = 5.0
"""The bound that senders are promised while Kafka is away."""

SENDERS = 4
BATCHES = 40
BATCH_EVENTS = 10


@pytest.fixture
def broker(tmp_path: Path, cache_dir: Path) -> Iterator[LocalKafka]:
    """A broker of this test's own, which it may hurt."""
    broker = LocalKafka(tmp_path / "kafka", cache_dir)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


async def refused(client: httpx.AsyncClient) -> None:
    """Sends an event, which must be refused in time, with the word that it may come again."""
    begun_s = time.monotonic()
    answer = await client.post("/v1/events", content=json.dumps(event()), headers=STRUCTURED)
    assert answer.status_code == 503
    assert time.monotonic() - begun_s < ANSWER_WITHIN_S
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "application/problem+json"


async def send_all(client: httpx.AsyncClient, sender: int, enough: asyncio.Event) -> list[str]:
    """Sends batches in order, each again until it is accepted. Returns the ids that were."""
    accepted: list[str] = []
    for number in range(BATCHES):
        ids = [f"s{sender}-{number:03}-{n}" for n in range(BATCH_EVENTS)]
        body = json.dumps([event(id=one, source=f"urn:cam:{sender}") for one in ids])
        while True:
            answer = await client.post("/v1/events", content=body, headers=BATCH)
            if answer.status_code == 202:
                break
            assert answer.status_code == 503
            await asyncio.sleep(0.1)
        accepted += ids
        if number == BATCHES // 4:
            enough.set()
        await asyncio.sleep(0.01)
    return accepted


async def test_accepted_events_survive_a_broker_that_is_killed(broker: LocalKafka) -> None:
    await ensure_topics(broker.address, "o.")
    async with serving(config(broker.address, "o.")) as client:
        await until_ready(client)
        enough = asyncio.Event()
        sending = [asyncio.create_task(send_all(client, sender, enough)) for sender in range(SENDERS)]
        await enough.wait()
        broker.kill()
        state = await until_ready(client, ready=False)
        assert state["dependencies"]["kafka"]["state"] == "away"
        assert state["dependencies"]["kafka"]["detail"]
        await refused(client)
        await asyncio.to_thread(broker.start)
        accepted = await asyncio.gather(*sending)
        assert (await until_ready(client))["dependencies"]["kafka"]["state"] == "up"

    first_seen: dict[bytes, list[str]] = defaultdict(list)
    for record in await written(broker.address, "o."):
        assert record.key is not None
        assert record.value is not None
        one = codec.decode(record.value).id
        # A resend may repeat an event; its first appearance is what counts.
        if one not in first_seen[record.key]:
            first_seen[record.key].append(one)
    for sender, ids in enumerate(accepted):
        assert first_seen[f"urn:cam:{sender}".encode()] == ids


async def test_a_frozen_broker_is_answered_for_in_time(broker: LocalKafka) -> None:
    await ensure_topics(broker.address, "o.")
    async with serving(config(broker.address, "o.")) as client:
        await until_ready(client)
        broker.pause()
        try:
            await asyncio.gather(*(refused(client) for _ in range(5)))
            # Now it is known, so nobody waits.
            await refused(client)
            await until_ready(client, ready=False)
        finally:
            broker.resume()
        await until_ready(client)
        answer = await client.post("/v1/events", content=json.dumps(event()), headers=STRUCTURED)
        assert answer.status_code == 202


async def test_the_gateway_starts_without_kafka(broker: LocalKafka) -> None:
    await ensure_topics(broker.address, "o.")
    broker.kill()
    async with serving(config(broker.address, "o.")) as client:
        assert (await client.get("/healthz")).status_code == 200
        await refused(client)
        await until_ready(client, ready=False)
        await asyncio.to_thread(broker.start)
        await until_ready(client)
        answer = await client.post("/v1/events", content=json.dumps(event()), headers=STRUCTURED)
        assert answer.status_code == 202
    assert len(await written(broker.address, "o.")) >= 1
