"""How does a test run the gateway, and read what it has written?"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from ingest.gateway.app import IngestConfig, create_app
from schemas.topics import INPUTS
from tests.ingest.vector import RECEIVED_AT, SITE

READY_WAIT_S = 60.0
BATCH = {"content-type": "application/cloudevents-batch+json"}
STRUCTURED = {"content-type": "application/cloudevents+json"}


def config(kafka: str, topic_prefix: str, **bounds: Any) -> IngestConfig:
    """The gateway's config with a clock that stands still."""
    return IngestConfig(
        kafka=kafka, topic_prefix=topic_prefix, current_site=lambda: SITE, now=lambda: RECEIVED_AT, **bounds
    )


@contextlib.asynccontextmanager
async def serving(settings: IngestConfig) -> AsyncIterator[httpx.AsyncClient]:
    """The gateway behind a real socket; the client's base address is its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), loop="asyncio", http="httptools", log_level="warning", lifespan="on")
    )
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        # uvicorn has no event to wait for.
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        await running
        listener.close()


async def until_ready(client: httpx.AsyncClient, *, ready: bool = True) -> dict[str, Any]:
    """Waits until `/readyz` says so, and returns what it says."""
    async with asyncio.timeout(READY_WAIT_S):
        while True:
            answer = await client.get("/readyz")
            state: dict[str, Any] = answer.json()
            assert (answer.status_code == 200) is state["ready"]
            if state["ready"] is ready:
                return state
            await asyncio.sleep(0.05)


async def written(kafka: str, topic_prefix: str) -> list[ConsumerRecord]:
    """All records on the input topics, by partition in their order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic_prefix + t.name, n) for t in INPUTS for n in range(t.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[ConsumerRecord] = []
        async with asyncio.timeout(READY_WAIT_S):
            for partition in partitions:
                while await consumer.position(partition) < ends[partition]:
                    records.append(await consumer.getone(partition))
        return records
    finally:
        await consumer.stop()
