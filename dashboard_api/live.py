"""How does a live client's connection meet its session?

By a WebSocket, and where that is blocked by a stream of events or by polls, with the same messages. A client that is
slow, or chatty, or gone never keeps another one waiting.
"""

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from dashboard_api import metrics
from dashboard_api.answers import answer
from dashboard_api.config import DashboardConfig
from dashboard_api.database import Database
from dashboard_api.feed import Feed
from dashboard_api.frames import close_within, outlet_of
from dashboard_api.guard import SignIn, guard_of, who_asks
from dashboard_api.hub import Hub
from dashboard_api.live_client import (
    ENDED,
    SIGN_IN_ENDED,
    TRY_AGAIN_LATER,
    End,
    LiveClient,
    Sources,
)
from dashboard_api.live_poll import Polls
from dashboard_api.live_socket import Heartbeats, LiveSocket
from dashboard_api.live_stream import EventStream
from dashboard_api.outgoing import Form, Message
from dashboard_api.places import Places, no_place
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.shared_answers import SharedAnswers
from dashboard_api.subscription import parse_wish
from schemas.credential import PACKED_LIVE_PROTOCOL
from schemas.errors import AccessReason, AccessRefused, DependencyUnavailable


class LiveFeed:
    """Serves `WS /v1/live`, `GET /v1/live/events` and `GET /v1/live/poll`."""

    def __init__(self, config: DashboardConfig, database: Database, hub: Hub, feed: Feed) -> None:
        self._config = config
        answers = SharedAnswers(hub, config.current_site, lambda request: answer(database, request, config))
        self._sources = Sources(config, database, hub, feed, answers)
        self._places = Places(config.bounds.clients_max)
        self._polls = Polls(self._sources, self._places)
        self._beats = Heartbeats(self._sources)
        database.on_change(hub.tell_status)

    async def serve(self, websocket: WebSocket) -> None:
        """One client on a socket, from its handshake to its end."""
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
        protocol = guard.subprotocol(websocket)
        await websocket.accept(protocol)
        if not self._places.take():
            # Refused after the handshake, for a browser shows its page no other reason.
            await websocket.close(TRY_AGAIN_LATER, "too many live clients; try again later")
            return
        form = Form.MSGPACK if protocol == PACKED_LIVE_PROTOCOL else _form_asked(websocket) or Form.JSON
        try:
            socket = LiveSocket(self._sources, guard, sign_in, self._beats, outlet_of(websocket.scope), form)
            end = await socket.run(_hear(websocket, socket.client, form))
        finally:
            self._places.give_back()
        # From here on it holds neither a place nor a subscription.
        if end is End.SIGN_IN_ENDED:
            await close_within(websocket, SIGN_IN_ENDED, ENDED)
        if end is End.TOO_SLOW:
            metrics.CLOSED_SLOW_CLIENTS.inc()
            reason = f"nothing was read for {self._config.bounds.send_timeout_s:g} s; reconnect with your position"
            await close_within(websocket, TRY_AGAIN_LATER, reason)

    async def events(self, request: Request, wish: str) -> Response:
        """One client on a stream of events. Raises Refused, AccessRefused, DependencyUnavailable."""
        sign_in = await self._let_in(request)
        client = LiveClient(self._sources, guard_of(request), sign_in)
        client.renew()
        bounds = self._config.bounds
        last = request.headers.get("last-event-id") or None
        wanted = parse_wish(wish, last, self._config.site, bounds, client.actor)
        if not self._places.take():
            raise no_place()
        return EventStream(client, wanted, self._places, stream_max_s=bounds.stream_max_s)

    async def poll(
        self, request: Request, wish: str, position: str | None, session: str | None, wait_s: float | None
    ) -> Response:
        """What there is to say now, or within the wait. Raises Refused, AccessRefused, DependencyUnavailable."""
        sign_in = await self._let_in(request)
        most_s = self._config.bounds.poll_wait_s
        if wait_s is not None and not 0 <= wait_s <= most_s:
            fix = f"Use seconds from 0 to {most_s:g}."
            raise Refused("wait", RefusalReason.OUT_OF_RANGE, f"`wait` is {wait_s:g}", fix)
        form = _form_asked(request) or Form.JSON
        reply = await self._polls.poll(
            guard_of(request), sign_in, wish, position, session, most_s if wait_s is None else wait_s
        )
        kind = "application/json" if form is Form.JSON else "application/msgpack"
        return Response(Message(reply).encoded(form), media_type=kind, headers={"Cache-Control": "no-store"})

    async def _let_in(self, request: Request) -> SignIn:
        if not self._is_ours(request):
            metrics.REFUSED_CLIENTS.labels("origin").inc()
            detail, fix = "a page of another origin asks", "Ask from a page of this site, or from a program."
            raise AccessRefused(AccessReason.CROSS_SITE, detail, fix)
        sign_in, _ = await who_asks(request)
        return sign_in

    def _is_ours(self, connection: HTTPConnection) -> bool:
        """Whether no foreign web page is behind the connection. Programs send no Origin."""
        origin = connection.headers.get("origin")
        if origin is None or origin in self._config.origins:
            return True
        return urlsplit(origin).netloc == connection.headers.get("host")


def _form_asked(connection: HTTPConnection) -> Form | None:
    """What the address says of the form of messages, where it says something known."""
    asked = connection.query_params.get("format")
    return Form(asked) if asked in set(Form) else None


async def _hear(websocket: WebSocket, client: LiveClient, form: Form) -> None:
    """Takes the client's messages until it leaves."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if text is not None:
            client.hear(text)
        elif form is Form.MSGPACK:
            client.hear(message["bytes"])
        else:
            detail, fix = "the message is binary", "Send JSON as text, or connect with `?format=msgpack`."
            client.session.refuse(Refused("$", RefusalReason.MALFORMED, detail, fix))
