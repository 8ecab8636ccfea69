"""How does a live client's socket meet its session?

One task reads, one writes, and at most one asks the database: a client that is slow, or chatty, or gone never keeps
another one waiting.
"""

import asyncio
import contextlib
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboard_api import metrics
from dashboard_api.answers import answer
from dashboard_api.commands import source_of
from dashboard_api.config import DashboardConfig
from dashboard_api.conflation import Flush
from dashboard_api.database import Database
from dashboard_api.feed import Feed
from dashboard_api.guard import Guard, SignIn, guard_of, who_asks
from dashboard_api.hub import Hub
from dashboard_api.live_cases import seen_units
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.session import (
    NO_RIGHTS,
    LiveSession,
    Phase,
    ReadRequest,
    Rights,
    Snapshot,
    SnapshotReason,
)
from dashboard_api.subscription import parse_message, restricted
from schemas.errors import AccessRefused, DependencyUnavailable

TRY_AGAIN_LATER = 1013
"""The close code of RFC 6455's registry for a server that is too busy for this client, now."""

CLOSE_LINGER_S = 30.0
"""How long a closed slow client may take to read why. It holds no subscription any more."""

RETRY_READ_S = 0.5
"""Before the database is asked again for a subscription that it did not answer."""

SIGN_IN_ENDED = 4401
"""The close code for a client whose sign-in has expired, or whom the site pack no longer has. After HTTP's 401."""


class SignInEnded(Exception):
    """The client is no longer who it was."""


class ClientTooSlow(Exception):
    """The client took nothing for the whole send timeout."""


class LiveFeed:
    """Serves `WS /v1/live`."""

    def __init__(self, config: DashboardConfig, database: Database, hub: Hub, feed: Feed) -> None:
        self._config = config
        self._database = database
        self._hub = hub
        self._feed = feed
        self._clients = 0
        database.on_change(hub.tell_status)

    async def serve(self, websocket: WebSocket) -> None:
        """One client, from its handshake to its end."""
        if not self._is_ours(websocket):
            metrics.REFUSED_CLIENTS.labels("origin").inc()
            await websocket.close()  # before the handshake: the server answers 403
            return
        guard = guard_of(websocket)
        try:
            sign_in, _ = await who_asks(websocket)
        except (AccessRefused, DependencyUnavailable):
            metrics.REFUSED_CLIENTS.labels("token").inc()
            await websocket.close()
            return
        await websocket.accept(guard.subprotocol(websocket))
        if self._clients >= self._config.bounds.clients_max:
            # Refused after the handshake, for a browser shows its page no other reason.
            metrics.REFUSED_CLIENTS.labels("clients_max").inc()
            await websocket.close(TRY_AGAIN_LATER, "too many live clients; try again later")
            return
        self._clients += 1
        metrics.CLIENTS.inc()
        try:
            client = _Client(self._config, self._database, self._hub, self._feed, websocket, guard, sign_in)
            too_slow = await client.run()
        finally:
            self._clients -= 1
            metrics.CLIENTS.dec()
        if too_slow:
            metrics.CLOSED_SLOW_CLIENTS.inc()
            reason = f"nothing was read for {self._config.bounds.send_timeout_s:g} s; reconnect with your position"
            with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
                async with asyncio.timeout(CLOSE_LINGER_S):
                    await websocket.close(TRY_AGAIN_LATER, reason)

    def _is_ours(self, websocket: WebSocket) -> bool:
        """Whether no foreign web page is behind the connection. Programs send no Origin."""
        origin = websocket.headers.get("origin")
        if origin is None or origin in self._config.origins:
            return True
        return urlsplit(origin).netloc == websocket.headers.get("host")


class _Client:
    """A session's tasks."""

    def __init__(
        self,
        config: DashboardConfig,
        database: Database,
        hub: Hub,
        feed: Feed,
        websocket: WebSocket,
        guard: Guard,
        sign_in: SignIn,
    ) -> None:
        self._config = config
        self._guard = guard
        self._sign_in = sign_in
        self._rights = NO_RIGHTS
        self._database = database
        self._hub = hub
        self._feed = feed
        self._websocket = websocket
        self._wake = asyncio.Event()
        self._session = LiveSession(self._wake.set, config.bounds.cases_max)
        self._question: asyncio.Task[None] | None = None

    async def run(self) -> bool:
        """Returns True when the client was too slow, False when it left."""
        self._hub.add(self._session)
        if self._database.state.state == "away":
            self._session.tell_status(self._database.state)
        tasks = {asyncio.create_task(self._read()), asyncio.create_task(self._write())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.remove(self._session)
            left = tasks if self._question is None else {*tasks, self._question}
            for task in left:
                task.cancel()
            outcomes = await asyncio.gather(*left, return_exceptions=True)
        for outcome in outcomes:
            known = (ClientTooSlow, SignInEnded, WebSocketDisconnect, asyncio.CancelledError)
            if isinstance(outcome, BaseException) and not isinstance(outcome, known):
                raise outcome
        if any(isinstance(task.exception(), SignInEnded) for task in done):
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await self._websocket.close(SIGN_IN_ENDED, "the sign-in has ended: sign in and connect again")
        return any(isinstance(task.exception(), ClientTooSlow) for task in done)

    async def _read(self) -> None:
        """Takes the client's messages until it leaves."""
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                text = message.get("text")
                if text is None:
                    raise Refused("$", RefusalReason.MALFORMED, "the message is binary", "Send JSON as text.")
                self._renew()
                subscription = parse_message(text, self._config.site, self._config.bounds, self._rights.actor)
            except Refused as refused:
                self._session.refuse(refused)
            else:
                self._session.subscribe(subscription, self._rights)
                self._hub.join(self._session)

    async def _write(self) -> None:
        """Sends whatever there is, as fast as the client takes it, and a heartbeat now and then."""
        loop, heartbeat_s = asyncio.get_running_loop(), self._config.bounds.heartbeat_s
        next_beat_s = loop.time()
        while True:
            self._wake.clear()
            self._ask()
            outgoing = self._session.take(self._hub.position, self._config.now())
            for text in outgoing.texts:
                await self._send(text)
            if outgoing.flush is not None:
                self._measure(outgoing.flush)
            streams = self._feed.streams
            if loop.time() >= next_beat_s and self._renew():
                # What the person may see has changed: what is shown is read anew, and nothing else is sent before.
                continue
            if loop.time() >= next_beat_s or self._session.owes_heartbeat(streams):
                await self._send(self._session.heartbeat(self._config.now(), self._feed.state, streams))
                next_beat_s = loop.time() + heartbeat_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_beat_s):
                    await self._wake.wait()

    def _renew(self) -> bool:
        """Looks who the client is by now. Returns True when it may see something else than before.

        Raises SignInEnded once the sign-in has expired, or the site pack no longer has the person.
        """
        site = self._config.site
        try:
            actor = self._guard.actor(self._sign_in)
        except AccessRefused as refused:
            raise SignInEnded(str(refused)) from refused
        rights = Rights(actor, seen_units(site, actor), source_of(actor))
        if rights == self._rights:
            return False
        self._rights = rights
        wanted = self._session.subscription
        if wanted is None:
            return False
        self._session.subscribe(restricted(wanted, site, actor), rights, SnapshotReason.RELOAD)
        self._hub.join(self._session)
        return True

    def _ask(self) -> None:
        """Asks the database when the session wants it, one question at a time."""
        if self._session.phase is not Phase.ASKED or self._database.state.state == "away":
            return
        if self._question is not None and not self._question.done():
            return
        wanted, site = self._session.subscription, self._config.site
        shown = None if wanted is None else restricted(wanted, site, self._rights.actor)
        if shown is not None and shown != wanted:
            # The site pack has changed since the client subscribed, and with it who may see what.
            self._session.subscribe(shown, self._rights, SnapshotReason.RELOAD)
            self._hub.join(self._session)
        request = self._session.begin_read()
        if request is not None:
            self._question = asyncio.create_task(self._answer(request))

    async def _answer(self, request: ReadRequest) -> None:
        try:
            found = await answer(self._database, request, self._config)
        except DependencyUnavailable:
            await asyncio.sleep(RETRY_READ_S)
            self._session.read_failed(request.token)
        else:
            metrics.SNAPSHOTS.labels("snapshot" if isinstance(found, Snapshot) else "resumption").inc()
            self._session.answered(request.token, found)
        finally:
            # A newer wish may have come meanwhile, and waits for this question to be over.
            asyncio.get_running_loop().call_soon(self._wake.set)

    async def _send(self, text: str) -> None:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            async with asyncio.timeout(self._config.bounds.send_timeout_s):
                await self._websocket.send_text(text)
        except TimeoutError:
            raise ClientTooSlow from None
        metrics.MESSAGES_OUT.inc()
        waited_s = loop.time() - started_s
        if waited_s > self._config.bounds.lagging_after_s:
            self._session.lagged(waited_s)

    def _measure(self, flush: Flush) -> None:
        now = self._config.now()
        if flush.committed_at is not None:
            metrics.COMMIT_TO_SEND_S.observe(max(0.0, (now - flush.committed_at).total_seconds()))
        for event in flush.events:
            metrics.RECEIVED_TO_SEND_S.observe(max(0.0, (now - event.received_at).total_seconds()))
