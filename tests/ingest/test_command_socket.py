"""Are commands on a socket taken as they are when they are posted, and answered in few bytes?"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, cast

import pytest
from msgspec.structs import replace
from starlette.types import Message, Scope
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from deploy.migrate import ensure_topics
from ingest.gateway import command_socket
from ingest.gateway.answer import Answer
from ingest.gateway.app import IngestConfig
from ingest.gateway.command_socket import SOCKETS_OF_ONE_MAX, CommandSocket
from ingest.gateway.commands import CommandsEndpoint
from schemas.codec import decode
from schemas.command import Actor
from schemas.credential import COMMANDS_PROTOCOL, SESSION_COOKIE, TOKEN_PROTOCOL
from schemas.errors import InvalidBody, Reason
from schemas.event import CaseCommand
from schemas.identity import NOBODY
from schemas.site import parse_site
from tests.ingest.gateway import config, serving, until_ready, written
from tests.ingest.test_commands import CASE, RING, order
from tests.ingest.vector import PACK, RECEIVED_AT
from tests.schemas.signer import KnownKeys, Signer

PEOPLE = """
[[person]]
id = "hoa"
name = "Hoa"
roles = ["operator"]
areas = ["00"]
agency = "a"
"""
PEOPLED = parse_site({**PACK, "people.toml": PEOPLE, "agencies.toml": '[[agency]]\nid = "a"\nnames = { vi = "A" }\n'})
SIGNER = Signer("ES256")
WAIT_S = 20.0


def token(lasts: timedelta = timedelta(hours=1)) -> str:
    """Hoa's."""
    now_s = int(RECEIVED_AT.timestamp())
    return SIGNER.token(sub="hoa", iat=now_s, exp=now_s + int(lasts.total_seconds()))


def peopled(kafka: str, topic_prefix: str, **more: Any) -> IngestConfig:
    """A gateway that asks who somebody is."""
    return replace(
        config(kafka, topic_prefix, trust=KnownKeys(SIGNER), ring=RING, **more), current_site=lambda: PEOPLED
    )


@asynccontextmanager
async def socket_to(address: str, **options: Any) -> AsyncGenerator[ClientConnection]:
    """A socket for commands."""
    where = address.replace("http://", "ws://").rstrip("/") + "/v1/commands"
    async with connect(where, proxy=None, compression=None, **options) as client:
        yield client


async def told(client: ClientConnection, message: object) -> dict[str, Any]:
    """The answer to one message."""
    await client.send(message if isinstance(message, str) else json.dumps(message, separators=(",", ":")))
    async with asyncio.timeout(WAIT_S):
        return json.loads(await client.recv())


async def test_commands_on_a_socket_are_on_the_log_and_answered_one_by_one(kafka: str, topic_prefix: str) -> None:
    await ensure_topics(kafka, topic_prefix)
    async with serving(peopled(kafka, topic_prefix)) as http:
        await until_ready(http)
        address = str(http.base_url)
        protocols = [COMMANDS_PROTOCOL, TOKEN_PROTOCOL + token()]
        async with socket_to(address, subprotocols=protocols) as client:
            assert client.subprotocol == COMMANDS_PROTOCOL
            assert await told(client, order(id="c-1")) == {"n": 1, "status": 202}
            mixed = await told(client, [order(id="c-2"), order(id="c-3", case="none"), order(id="c-4")])
            assert (mixed["n"], mixed["status"]) == (2, 202)
            (refused,) = mixed["results"]
            assert (refused["index"], refused["id"], refused["status"]) == (1, "c-3", "rejected")
            alone = await told(client, order(id="c-5", case="none"))
            assert (alone["n"], alone["status"], alone["results"][0]["id"]) == (3, 422, "c-5")
            unreadable = await told(client, "{")
            assert (unreadable["n"], unreadable["status"], unreadable["reason"]) == (4, 400, "malformed_json")
            # What was refused ends nothing.
            assert await told(client, order(id="c-6")) == {"n": 5, "status": 202}
    found = [decode(record.value) for record in await written(kafka, topic_prefix)]
    commands = [one for one in found if isinstance(one, CaseCommand)]
    assert [one.id for one in commands] == ["c-1", "c-2", "c-4", "c-6"]
    assert {(one.source, one.subject) for one in commands} == {("person:hoa", CASE)}


async def test_a_token_that_has_expired_gives_no_further_command(kafka: str, topic_prefix: str) -> None:
    await ensure_topics(kafka, topic_prefix)
    at = [RECEIVED_AT]
    settings = replace(peopled(kafka, topic_prefix), now=lambda: at[0])
    async with serving(settings) as http:
        await until_ready(http)
        header = {"Authorization": f"Bearer {token(timedelta(hours=1))}"}
        async with socket_to(str(http.base_url), additional_headers=header) as client:
            assert (await told(client, order()))["status"] == 202
            at[0] += timedelta(hours=2)
            answer = await told(client, order(id="late"))
            assert (answer["status"], answer["reason"]) == (401, "token_expired")
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 4401
    assert len(await written(kafka, topic_prefix)) == 1


@pytest.mark.parametrize(
    ("headers", "opens"),
    [
        pytest.param({}, False, id="nobody"),
        pytest.param({"Tracking-Secret": "s" * 32}, False, id="a secret that anybody can make up"),
        pytest.param({"Authorization": "Bearer none"}, False, id="a token that does not hold"),
        pytest.param({"Cookie": "own"}, False, id="a cookie alone, as another site's page could send it"),
        pytest.param({"Cookie": "own", "Origin": "https://elsewhere.example"}, False, id="a page of another site"),
        pytest.param({"Cookie": "own", "Origin": "own"}, True, id="a page of this site"),
    ],
)
async def test_who_may_not_post_commands_opens_no_socket(
    kafka: str, topic_prefix: str, headers: dict[str, str], *, opens: bool
) -> None:
    async with serving(peopled(kafka, topic_prefix)) as http:
        address = str(http.base_url).rstrip("/")
        shown = {"Cookie": f"{SESSION_COOKIE}={token()}", "Origin": address}
        given = {name: shown[name] if value == "own" else value for name, value in headers.items()}
        if opens:
            async with socket_to(address, additional_headers=given) as client:
                assert client.response is not None
        else:
            with pytest.raises(InvalidStatus, match="403"):
                async with socket_to(address, additional_headers=given):
                    pass


async def test_without_sign_ins_a_page_of_another_site_opens_no_socket(kafka: str, topic_prefix: str) -> None:
    async with serving(config(kafka, topic_prefix)) as http:
        with pytest.raises(InvalidStatus, match="403"):
            async with socket_to(str(http.base_url), additional_headers={"Origin": "https://elsewhere.example"}):
                pass
        async with socket_to(str(http.base_url)) as client:
            assert client.response is not None


async def test_nobody_takes_all_sockets(kafka: str, topic_prefix: str) -> None:
    async with serving(peopled(kafka, topic_prefix)) as http, AsyncExitStack() as held:
        header = {"Authorization": f"Bearer {token()}"}
        for _ in range(SOCKETS_OF_ONE_MAX):
            await held.enter_async_context(socket_to(str(http.base_url), additional_headers=header))
        async with socket_to(str(http.base_url), additional_headers=header) as client:
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1013
        await held.aclose()
        status = 0
        async with asyncio.timeout(WAIT_S):
            # They are free again as soon as the server has heard of it.
            while not status:
                async with socket_to(str(http.base_url), additional_headers=header) as client:
                    with suppress(ConnectionClosed):
                        status = (await told(client, "{"))["status"]
    assert status == 400


async def test_a_socket_whose_client_takes_no_answer_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_socket, "SEND_TIMEOUT_S", 0.01)
    app = CommandSocket(cast("CommandsEndpoint", Refusing()), sockets_max=1)
    for _ in range(2):
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "websocket.receive", "text": "{}"}

        async def send(message: Message, sent: list[Message] = sent) -> None:
            sent.append(message)
            if message["type"] == "websocket.send":
                await asyncio.Event().wait()

        async with asyncio.timeout(WAIT_S):
            await app({"type": "websocket", "subprotocols": []}, receive, send)
        assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send"]


class Refusing:
    """Lets everybody in, and takes no command."""

    async def sender_of(self, _: Scope) -> Actor:
        """Anybody."""
        return NOBODY

    async def take(self, *_: object) -> Answer:
        """Nothing."""
        raise InvalidBody("$", Reason.INVALID_FIELD, "it is nothing", "Send a command.")
