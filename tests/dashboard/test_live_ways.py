"""Does every way to the live feed bring the same: sockets in both forms, streams of events, and polls?"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from dashboard_api.live_stream import event_of
from dashboard_api.outgoing import Form, Message
from schemas.case import Kind, State
from schemas.credential import LIVE_PROTOCOL, PACKED_LIVE_PROTOCOL
from tests.dashboard.case_centre import Issuer, case_centre, peopled_site
from tests.dashboard.case_rows import case, put_cases, tell
from tests.dashboard.centre import WAIT_S, Report, Running, Sample, dashboard, utc_now, writer

WISH = {"kpis": ["feedback_received"], "areas": ["01"], "tier": "day", "points": 1}


class Events:
    """A stream of events, read as a browser does."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines
        self.id: str | None = None

    async def hear(self, *ops: str) -> dict[str, Any]:
        """The next message of one of these kinds."""
        async with asyncio.timeout(WAIT_S):
            async for line in self._lines:
                if line.startswith("id: "):
                    self.id = line[4:]
                if line.startswith("data: "):
                    message = msgspec.json.decode(line[6:])
                    if message["op"] in ops:
                        return message
        raise AssertionError("the stream has ended")


@asynccontextmanager
async def stream(running: Running, wish: dict[str, Any], **headers: str) -> AsyncGenerator[Events]:
    """A client that reads events."""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=WAIT_S) as client,
        client.stream("GET", f"{running.http}/v1/live/events", params=_asked(wish), headers=headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Events(answer.aiter_lines())


class Poller:
    """A client that polls, and goes on from the answer before."""

    def __init__(self, running: Running, wish: dict[str, Any], **headers: str) -> None:
        self._running = running
        self._wish = wish
        self._headers = headers
        self.session: str | None = None
        self.position: str | None = None

    async def ask(self, wait: float = WAIT_S, **more: str) -> httpx.Response:
        """One poll, as it is answered."""
        known = {"session": self.session, "position": self.position}
        query = {**_asked(self._wish), "wait": str(wait), **{k: v for k, v in known.items() if v}, **more}
        async with httpx.AsyncClient(trust_env=False, timeout=60, headers=self._headers) as client:
            return await client.get(f"{self._running.http}/v1/live/poll", params=query)

    async def poll(self, wait: float = WAIT_S) -> list[dict[str, Any]]:
        """The messages of the next answer."""
        answer = await self.ask(wait)
        assert answer.status_code == 200, answer.text
        return self._read(answer)

    def _read(self, answer: httpx.Response) -> list[dict[str, Any]]:
        reply = answer.json()
        self.session, self.position = reply["session"], reply["position"]
        return reply["messages"]

    async def let_in(self) -> list[dict[str, Any]]:
        """The messages of the next answer, once there is a place."""
        async with asyncio.timeout(WAIT_S):
            while True:
                answer = await self.ask()
                if answer.status_code == 200:
                    return self._read(answer)

    async def hear(self, op: str) -> dict[str, Any]:
        """The next message of this kind."""
        async with asyncio.timeout(WAIT_S):
            while True:
                for message in await self.poll():
                    if message["op"] == op:
                        return message


def _asked(wish: dict[str, Any]) -> dict[str, str]:
    return {"subscription": msgspec.json.encode(wish).decode()}


def _value(change: dict[str, Any]) -> float:
    (value,) = change["values"]
    return value["value"]


@pytest.mark.parametrize("by", ["subprotocol", "address"])
async def test_messagepack_says_the_same_as_json(tables: str, by: str) -> None:
    now_s = int(time.time())
    async with dashboard(tables) as running, writer(tables) as one:
        options: dict[str, Any] = {"max_size": None, "proxy": None}
        address = f"ws://{running.address}/v1/live"
        packed = (
            connect(address, subprotocols=[Subprotocol(PACKED_LIVE_PROTOCOL)], **options)
            if by == "subprotocol"
            else connect(f"{address}?format=msgpack", **options)
        )
        async with packed as small, connect(address, subprotocols=[Subprotocol(LIVE_PROTOCOL)], **options) as plain:
            wish = {"op": "subscribe", **WISH}
            await small.send(msgspec.msgpack.encode(wish))
            await plain.send(msgspec.json.encode(wish).decode())
            snapshots = await _heard(small, "snapshot"), await _heard(plain, "snapshot")
            assert snapshots[0]["series"] == snapshots[1]["series"]
            await one.commit([Sample(kpi="feedback_received", area="01", time_s=now_s)], [Report(id="r", area="01")])
            changes = await _heard(small, "change"), await _heard(plain, "change")
            assert changes[0] | {"time": None} == changes[1] | {"time": None}
            assert _value(changes[0]) == 1
            await small.send(b"\xc1")
            assert (await _heard(small, "error"))["reason"] == "malformed"


async def _heard(client: Any, op: str) -> dict[str, Any]:
    async with asyncio.timeout(WAIT_S):
        while True:
            frame = await client.recv()
            message = msgspec.json.decode(frame) if isinstance(frame, str) else msgspec.msgpack.decode(frame)
            if message["op"] == op:
                return message


def test_an_integer_that_messagepack_has_no_room_for_becomes_a_float() -> None:
    found = msgspec.msgpack.decode(Message('{"a":[18446744073709551616,1,true],"b":"x"}').encoded(Form.MSGPACK))
    assert found == {"a": [1.8446744073709552e19, 1, True], "b": "x"}


def test_an_event_is_one_line_whatever_the_sender_wrote() -> None:
    text = '{"op":"change","position":"1-5","events":[{"event":{\r\n"id":"a\\nb"}}]}'
    lines = event_of(text).decode().splitlines()
    assert lines[0] == "id: 1-5"
    assert msgspec.json.decode(lines[1].removeprefix("data: "))["events"][0]["event"]["id"] == "a\nb"
    assert lines[2:] == [""]


async def test_a_stream_of_events_tells_and_resumes_by_its_last_id(tables: str) -> None:
    now_s = int(time.time())
    sample = Sample(kpi="feedback_received", area="01", time_s=now_s)
    async with dashboard(tables) as running, writer(tables) as one:
        async with stream(running, WISH) as events:
            assert (await events.hear("snapshot"))["series"][0]["points"][0]["value"] == 0
            await one.commit([sample])
            change = await events.hear("change")
            assert _value(change) == 1
            assert events.id == change["position"]
            assert (await events.hear("heartbeat"))["feed"]["state"] == "live"
            last = events.id
        await one.commit([sample])
        async with stream(running, WISH, **{"Last-Event-ID": last or ""}) as events:
            change = await events.hear("snapshot", "change")
            assert (change["op"], change["resumed"], _value(change)) == ("change", True, 2)


async def test_a_stream_ends_after_a_while_and_gives_its_place_back(tables: str) -> None:
    async with dashboard(tables, stream_max_s=0.3, clients_max=1) as running:
        for _ in range(3):
            async with stream(running, WISH) as events:
                with pytest.raises(AssertionError, match="has ended"):
                    await events.hear("none")


async def test_polls_bring_what_changed_since_the_last_answer(tables: str) -> None:
    now_s = int(time.time())
    sample = Sample(kpi="feedback_received", area="01", time_s=now_s)
    async with dashboard(tables) as running, writer(tables) as one:
        client = Poller(running, WISH)
        await one.commit(sources=["hotline"])
        assert (await client.hear("snapshot"))["series"][0]["points"][0]["value"] == 0
        first = (client.session, client.position)
        waiting = asyncio.create_task(client.hear("change"))
        await one.commit([sample])
        assert _value(await waiting) == 1
        assert client.session == first[0], "a session goes on"
        # Between two polls newer values replace older ones.
        await one.commit([sample])
        await one.commit([sample])
        async with asyncio.timeout(WAIT_S):
            while _value(await client.hear("change")) != 3:
                pass
        # An answer that was lost: the client says the position before it, and nothing is missed.
        client.session, client.position = first
        change = await client.hear("change")
        assert (change["resumed"], _value(change)) == (True, 3)
        assert client.session != first[0]
        quiet = await client.poll(wait=0)
        assert [message["op"] for message in quiet] == ["heartbeat"]


async def test_a_polling_client_that_stays_away_is_forgotten_and_resumes(tables: str) -> None:
    now_s = int(time.time())
    async with dashboard(tables, poll_idle_s=0.2, clients_max=1) as running, writer(tables) as one:
        client = Poller(running, WISH)
        await one.commit(sources=["hotline"])
        await client.hear("snapshot")
        other = Poller(running, WISH)
        refused = await other.ask(wait=0)
        # It may have been forgotten by now, but then its place was free.
        assert refused.status_code in {200, 503}
        await other.let_in()
        await one.commit([Sample(kpi="feedback_received", area="01", time_s=now_s)])
        change = (await client.let_in())[0]
        assert (change["resumed"], _value(change)) == (True, 1)


async def test_polls_come_in_messagepack_too(tables: str) -> None:
    async with dashboard(tables) as running:
        client = Poller(running, WISH)
        await client.hear("snapshot")
        answer = await client.ask(wait=0, format="msgpack")
        assert answer.headers["content-type"] == "application/msgpack"
        assert msgspec.msgpack.decode(answer.content)["messages"][-1]["op"] == "heartbeat"


@pytest.mark.parametrize("way", ["events", "poll"])
@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        pytest.param({"subscription": '{"kpis":["none"]}'}, {}, 422, id="unknown kpi"),
        pytest.param({"subscription": "{"}, {}, 422, id="malformed"),
        pytest.param({"subscription": '{"points":0}'}, {}, 422, id="out of range"),
        pytest.param({}, {"Origin": "https://elsewhere.example"}, 403, id="page of another origin"),
        pytest.param({}, {"Authorization": "Bearer none"}, 401, id="token that does not hold"),
    ],
)
async def test_what_cannot_be_told_is_refused_before_it_begins(
    way: str, query: dict[str, str], headers: dict[str, str], status: int
) -> None:
    # It needs no database to be refused.
    async with (
        dashboard(
            "postgresql://nobody@127.0.0.1:1/none", current_site=peopled_site, config={"trust": Issuer()}
        ) as running,
        httpx.AsyncClient(trust_env=False, timeout=WAIT_S) as client,
    ):
        answer = await client.get(f"{running.http}/v1/live/{way}", params=query, headers=headers)
        assert answer.status_code == status
        assert answer.json()["fix"]


@pytest.mark.parametrize("way", ["events", "poll"])
async def test_whoever_is_not_signed_in_is_told_no_events(tables: str, way: str) -> None:
    async with (
        dashboard(tables, current_site=peopled_site, config={"trust": Issuer()}) as running,
        writer(tables) as one,
    ):
        await one.commit([], [Report(id="secret", area="01")])
        if way == "poll":
            snapshot = await Poller(running, WISH).hear("snapshot")
        else:
            async with stream(running, WISH) as events:
                snapshot = await events.hear("snapshot")
        assert snapshot["events"] == []
        assert snapshot["sources"] == []


async def test_a_stream_and_polls_end_with_the_sign_in(tables: str) -> None:
    late = timedelta()

    def clock() -> Any:
        return utc_now() + late

    issuer = Issuer()
    trusting = dashboard(tables, current_site=peopled_site, now=clock, config={"trust": issuer}, heartbeat_s=0.1)
    async with trusting as running:
        token = {"Authorization": f"Bearer {issuer.token('olga')}"}
        poller = Poller(running, WISH, **token)
        async with stream(running, WISH, **token) as events:
            assert (await events.hear("snapshot"))["sources"] != []
            await poller.hear("snapshot")
            waiting = asyncio.create_task(poller.ask(wait=20))
            await asyncio.sleep(0)
            late = timedelta(hours=2)
            assert (await events.hear("close"))["code"] == 4401
        assert (await waiting).status_code == 401
        assert (await poller.ask()).status_code == 401


async def test_a_session_of_polls_is_nobody_elses(tables: str) -> None:
    issuer = Issuer()
    async with (
        dashboard(tables, current_site=peopled_site, config={"trust": issuer}) as running,
        writer(tables) as one,
    ):
        await one.commit(sources=["hotline"])
        mine = Poller(running, WISH, Authorization=f"Bearer {issuer.token('olga')}")
        assert (await mine.hear("snapshot"))["sources"] != []
        theirs = Poller(running, WISH)
        theirs.session, theirs.position = mine.session, mine.position
        # Without rights it has nothing to go on from: what it may see is read anew, from that position.
        change = await theirs.hear("change")
        assert theirs.session != mine.session
        assert (change["resumed"], change["sources"]) == (True, [])


async def test_a_client_that_answers_no_ping_is_closed(tables: str) -> None:
    async with dashboard(tables) as running:
        # What uvicorn gives to each connection, for this one soon.
        running.server.config.ws_ping_interval = running.server.config.ws_ping_timeout = 0.2
        host, port = running.address.split(":")
        with contextlib.closing(socket.create_connection((host, int(port)))) as mute:
            mute.settimeout(WAIT_S)
            mute.sendall(
                b"GET /v1/live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            heard = await asyncio.to_thread(_until_closed, mute)
        assert b"101 Switching Protocols" in heard
        assert b"\x88" in heard, "a close frame comes before the end"


def _until_closed(mute: socket.socket) -> bytes:
    pieces: list[bytes] = []
    while piece := mute.recv(4096):
        pieces.append(piece)
    return b"".join(pieces)


async def test_an_events_reader_that_takes_nothing_is_cut_and_costs_one_place_no_more(tables: str) -> None:
    async with (
        dashboard(tables, send_timeout_s=0.3, heartbeat_s=0.05, clients_max=1) as running,
        writer(tables) as one,
    ):
        host, port = running.address.split(":")
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((host, int(port)))
        with contextlib.closing(slow):
            slow.sendall(b"GET /v1/live/events?subscription=%7B%22events%22%3A500%7D HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in await asyncio.to_thread(slow.recv, 100)
            other = Poller(running, WISH)
            assert (await other.ask(wait=0)).status_code == 503, "there is one place"
            number = 0
            async with asyncio.timeout(60):
                while (await other.ask(wait=0)).status_code != 200:
                    number += 1
                    await one.commit(
                        [], [Report(id=f"{number}-{i}", area="01", text="x" * 20_000) for i in range(40)]
                    )


async def test_alerts_that_fire_are_told_of_as_cases_within_the_scope(tables: str) -> None:
    wish = {**WISH, "cases": {"kind": ["alert"], "state": ["new", "triaged", "assigned", "accepted"]}}
    fires = {"kind": Kind.ALERT, "agency": "works"}
    async with case_centre(tables) as centre:
        # One in the ward of wim, one elsewhere, and one that is no alert.
        await put_cases(centre.connection, case("here", **fires), case("there", **fires, area="02"), case("report"))
        everywhere, ward = (
            Poller(centre.running, wish, **centre.issuer.header(person)) for person in ("olga", "wim")
        )
        assert {one["id"] for one in (await everywhere.hear("snapshot"))["cases"]} == {"here", "there"}
        assert {one["id"] for one in (await ward.hear("snapshot"))["cases"]} == {"here"}
        await put_cases(
            centre.connection,
            case("here", **fires, version=2, state=State.RESOLVED),
            case("there", **fires, version=2, state=State.RESOLVED, area="02"),
        )
        await tell(centre.connection, ["here", "there"])
        assert sorted((await everywhere.hear("change"))["cases_gone"]) == ["here", "there"]
        assert (await ward.hear("change"))["cases_gone"] == ["here"]
