"""Does the gateway answer every request as it must, and is what it accepted on the log?"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from aiokafka.partitioner import DefaultPartitioner

from deploy.migrate import ensure_topics
from ingest.gateway.app import create_app, readiness
from schemas import codec
from schemas.site import parse_site
from schemas.topics import key_of, topic_of
from tests.ingest.gateway import BATCH, STRUCTURED, config, serving, until_ready, written
from tests.ingest.vector import PACK, RECEIVED_AT, SITE, body_of, event, headers_of, vectors


@pytest.fixture
async def client(kafka: str, topic_prefix: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that is ready, with small bounds."""
    await ensure_topics(kafka, topic_prefix)
    async with serving(config(kafka, topic_prefix, body_bytes_max=200_000, body_wait_s=0.5)) as client:
        await until_ready(client)
        yield client


async def test_every_vector_over_http(client: httpx.AsyncClient) -> None:
    for parameters in vectors():
        (vector,) = parameters.values
        if parameters.id == "body.deep_structured":
            continue  # larger than this gateway's bound
        headers = headers_of(vector)
        request = client.build_request("POST", "/v1/events", content=body_of(vector), headers=headers)
        answer = await client.send(request)
        expected: dict[str, Any] = vector["expect"]
        assert answer.status_code == expected["status"], (parameters.id, answer.text)
        content = answer.json()
        if answer.status_code == 202:
            assert answer.headers["content-type"] == "application/json"
        else:
            assert answer.headers["content-type"] == "application/problem+json"
            assert content["status"] == answer.status_code
            assert content.keys() >= {"title", "detail", "field", "reason", "fix"}, parameters.id
        if "body_refused" in expected:
            assert {"field": content["field"], "reason": content["reason"]} == expected["body_refused"]
        else:
            assert [_described(result) for result in content["results"]] == [
                {name: value for name, value in outcome.items() if name != "list"} for outcome in expected["outcomes"]
            ], parameters.id
            assert content["accepted"] == sum("taken" in outcome for outcome in expected["outcomes"])
            assert content["rejected"] == len(expected["outcomes"]) - content["accepted"]


async def test_accepted_events_are_on_the_log(client: httpx.AsyncClient, kafka: str, topic_prefix: str) -> None:
    events = [event(id=f"n-{n}", source=f"urn:cam:{n % 5}") for n in range(200)]
    case = event(id="f-1", type="ioc.feedback.received.v1", subject="case-1", data={"category": "roads"})
    answers = await asyncio.gather(
        client.post("/v1/events", content=json.dumps(events[:120]), headers=BATCH),
        client.post("/v1/events", content=json.dumps(events[120:]), headers=BATCH),
        client.post("/v1/events", content=json.dumps(case), headers=STRUCTURED),
    )
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    records = await written(kafka, topic_prefix)
    assert len(records) == 201
    partitioner = DefaultPartitioner()
    for record in records:
        assert record.value is not None
        decoded = codec.decode(record.value)
        topic = topic_of(decoded)
        assert record.topic == topic_prefix + topic.name
        assert record.key == key_of(decoded)
        every = list(range(topic.partitions))
        assert record.partition == partitioner(record.key, every, every)
        assert record.headers == (("content-type", b"application/cloudevents+json"),)
        assert decoded.received_at == RECEIVED_AT
    for source in range(5):
        mine = [codec.decode(r.value).id for r in records if r.key == f"urn:cam:{source}".encode() and r.value]
        for part in (events[:120], events[120:]):
            sent = [e["id"] for e in part if e["source"] == f"urn:cam:{source}"]
            assert [i for i in mine if i in sent] == sent


async def test_a_declared_length_beyond_the_bound_is_refused_before_it_is_sent(client: httpx.AsyncClient) -> None:
    head = await _raw(client, b"Content-Length: 9999999999\r\n", b"")
    assert head.startswith(b"HTTP/1.1 413")
    assert b'"reason":"too_large"' in head


async def test_a_body_without_a_length_is_counted_as_it_comes(client: httpx.AsyncClient) -> None:
    chunk = b"%x\r\n%b\r\n" % (50_000, b"x" * 50_000)
    assert (await _raw(client, b"Transfer-Encoding: chunked\r\n", chunk * 5)).startswith(b"HTTP/1.1 413")


async def test_a_slow_body_is_not_waited_for(client: httpx.AsyncClient) -> None:
    answer = await _raw(client, b"Content-Length: 100\r\n", b"{")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"reason":"slow_body"' in answer
    assert b"connection: close" in answer.lower()


async def test_a_sender_that_hangs_up_leaves_nothing_behind(client: httpx.AsyncClient) -> None:
    parts = urlsplit(str(client.base_url))
    for _ in range(20):
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(_head(b"Content-Length: 100000\r\n") + b"x" * 50_000)
        writer.close()
        await writer.wait_closed()
    assert (await client.post("/v1/events", content=json.dumps(event()), headers=STRUCTURED)).status_code == 202


async def test_other_methods_and_paths(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/events")).status_code == 405
    assert (await client.get("/v1/nothing")).status_code == 404
    assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_the_description_is_complete(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/v1/events"]["post"]
    assert set(operation["responses"]) == {"202", "400", "408", "413", "415", "422", "503"}
    contents = operation["requestBody"]["content"]
    assert set(contents) == {"application/cloudevents+json", "application/cloudevents-batch+json", "application/json"}
    assert all("example" in content for content in contents.values())
    assert "Retry-After" in operation["responses"]["503"]["headers"]
    # Every reference leads somewhere.
    schemas = document["components"]["schemas"]
    text = json.dumps(document)
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.partition('"')[0] in schemas
    example = contents["application/cloudevents+json"]["example"]
    assert codec.decode(json.dumps(example).encode()).id == example["id"]


async def test_a_changed_site_holds_from_the_next_request_on(kafka: str, topic_prefix: str) -> None:
    await ensure_topics(kafka, topic_prefix)
    sites = [SITE]
    settings = msgspec.structs.replace(config(kafka, topic_prefix), current_site=lambda: sites[-1])
    newcomer = json.dumps(event(area="04"))
    async with serving(settings) as client:
        await until_ready(client)
        assert (await client.post("/v1/events", content=newcomer, headers=STRUCTURED)).status_code == 422
        sites.append(parse_site(PACK | {"areas.csv": PACK["areas.csv"] + "04,00,commune,Xã mới,New commune,04,,,\n"}))
        assert (await client.post("/v1/events", content=newcomer, headers=STRUCTURED)).status_code == 202
        sites.append(SITE)
        assert (await client.post("/v1/events", content=newcomer, headers=STRUCTURED)).status_code == 422


async def test_what_waits_for_kafka_is_bounded(kafka: str, topic_prefix: str) -> None:
    await ensure_topics(kafka, topic_prefix)
    async with serving(config(kafka, topic_prefix, pending_bytes_max=1_000)) as client:
        await until_ready(client)
        answer = await client.post("/v1/events", content=json.dumps([event()] * 10), headers=BATCH)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert (await client.post("/v1/events", content=json.dumps(event()), headers=STRUCTURED)).status_code == 202


async def test_bodies_that_come_in_at_once_are_bounded(kafka: str, topic_prefix: str) -> None:
    async with serving(config(kafka, topic_prefix, bodies_bytes_max=1_000)) as client:
        answer = await client.post("/v1/events", content=b"x" * 2_000, headers=STRUCTURED)
        assert answer.status_code == 503


async def test_missing_topics_are_named(kafka: str, topic_prefix: str) -> None:
    async with serving(config(kafka, topic_prefix)) as client:
        answer = await client.post("/v1/events", content=json.dumps(event()), headers=STRUCTURED)
        assert answer.status_code == 503
        assert (await until_ready(client, ready=False))["dependencies"]["kafka"]["state"] == "away"


async def test_readiness_before_the_start() -> None:
    app = create_app(config("127.0.0.1:1", "none."))
    state = await readiness(app)
    assert state == {
        "ready": False,
        "dependencies": {"kafka": {"state": "away", "detail": "not connected yet"}},
    }


def _described(result: dict[str, Any]) -> dict[str, Any]:
    if result["status"] == "accepted":
        return {"taken": result["id"]}
    assert result["detail"]
    assert result["fix"]
    return {"refused": {name: result[name] for name in ("id", "field", "reason")}}


def _head(more: bytes) -> bytes:
    return b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents+json\r\n%b\r\n" % more


async def _raw(client: httpx.AsyncClient, headers: bytes, body: bytes) -> bytes:
    """Sends bytes over a socket of its own, and returns the answer's."""
    parts = urlsplit(str(client.base_url))
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(_head(headers) + body)
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
            )
            return head + await reader.readexactly(length)
    finally:
        writer.close()
        await writer.wait_closed()
