"""How does a socket carry a replay, and how many are there?

A replay asks the database twice a second whatever its speed is, so only a few run in a process. Pausing, another
speed and another moment are a new subscription on the same socket.
"""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboard_api import metrics
from dashboard_api.config import DashboardConfig
from dashboard_api.database import Database
from dashboard_api.frames import close_within
from dashboard_api.guard import Guard, SignIn, guard_of, who_asks
from dashboard_api.live_client import ENDED, SIGN_IN_ENDED, TRY_AGAIN_LATER
from dashboard_api.messages import FeedState, StreamsState, error_text
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.replay import PastWish, parse_replay, position_of
from dashboard_api.replay_reading import read_floors
from dashboard_api.replay_session import Replayed
from dashboard_api.replay_settled import Settled, read_look
from schemas.command import Actor
from schemas.display import is_display
from schemas.errors import AccessRefused, DependencyUnavailable
from schemas.identity import NOBODY

REPLAYS_MAX = 8
"""Replays of a process; one more is told why and closed with 1013."""

TICK_S = 0.5
"""Between two looks at what changed."""

SETTLE_S = 0.1
"""Between two looks whether what was being written as a replay begins is committed."""

SETTLES_MAX = 20
"""Looks before a replay begins; one that would begin where something is still being written then begins earlier."""

IDLE_S = 1800.0
"""A client that has asked for nothing for so long is closed with 1013: its place may be wanted."""

RETRY_S = 1.0
"""Before a database that did not answer is asked again."""


class ReplayState(Struct, frozen=True, kw_only=True):
    """Where a replay is: how fast it goes, and whether the past has become the present."""

    speed: float
    ended: bool


class ReplayHeartbeat(Struct, frozen=True, kw_only=True, tag_field="op", tag="heartbeat"):
    """A sign of life. `time` is the replay's moment, `now` the real one."""

    position: str
    time: datetime
    now: datetime
    feed: FeedState
    streams: StreamsState
    replay: ReplayState


class ReplayStatus(Struct, frozen=True, kw_only=True, tag_field="op", tag="status"):
    """The database does not answer; what is shown stays as it is."""

    database: dict[str, str]


Ended = Literal["left", "signed_out", "slow", "idle"]

_NO_SIGN_IN = "a replay needs a sign-in: sign in and connect again"


class ReplayFeed:
    """Serves `WS /v1/replay`."""

    def __init__(self, config: DashboardConfig, database: Database) -> None:
        self._config = config
        self._database = database
        self._settled = Settled()
        self._running = 0

    async def serve(self, websocket: WebSocket) -> None:
        """One client, from its handshake to its end."""
        origin = websocket.headers.get("origin")
        is_ours = origin is None or origin in self._config.origins
        if not is_ours and urlsplit(origin).netloc != websocket.headers.get("host"):
            metrics.REFUSED_CLIENTS.labels("origin").inc()
            await websocket.close()  # before the handshake: the server answers 403
            return
        guard = guard_of(websocket)
        try:
            sign_in, actor = await who_asks(websocket)
        except (AccessRefused, DependencyUnavailable):
            metrics.REFUSED_CLIENTS.labels("token").inc()
            await websocket.close()
            return
        await websocket.accept(guard.subprotocol(websocket))
        if actor is NOBODY:
            # A replay costs the centre what many live clients cost, so not everybody may have one.
            metrics.REFUSED_CLIENTS.labels("token").inc()
            await close_within(websocket, SIGN_IN_ENDED, _NO_SIGN_IN)
            return
        if self._running >= REPLAYS_MAX:
            metrics.REFUSED_CLIENTS.labels("replays_max").inc()
            await websocket.close(TRY_AGAIN_LATER, f"{REPLAYS_MAX} replays run here already; try again later")
            return
        self._running += 1
        try:
            ended = await _Client(self._config, self._database, self._settled, websocket, guard, sign_in).run()
        finally:
            self._running -= 1
        if ended == "signed_out":
            await close_within(websocket, SIGN_IN_ENDED, ENDED)
        if ended == "slow":
            reason = "nothing was read; connect again from where you were"
            await close_within(websocket, TRY_AGAIN_LATER, reason)
        if ended == "idle":
            await close_within(websocket, TRY_AGAIN_LATER, "nothing was asked for half an hour; connect again")


class _SignedOut(Exception):
    """The client is no longer who it was."""


class _Idle(Exception):
    """The client has asked for nothing for long."""


class _Client:
    """One task reads what the client wants, one tells it what there is."""

    def __init__(
        self,
        config: DashboardConfig,
        database: Database,
        settled: Settled,
        websocket: WebSocket,
        guard: Guard,
        sign_in: SignIn,
    ) -> None:
        self._config = config
        self._database = database
        self._settled = settled
        self._websocket = websocket
        self._guard = guard
        self._sign_in = sign_in
        self._wish: PastWish | None = None
        self._wake = asyncio.Event()

    async def run(self) -> Ended:
        """Serves the client until it leaves, or may not or cannot be served any more."""
        tasks = {asyncio.create_task(self._hear()), asyncio.create_task(self._tell())}
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for task in done:
            error = task.exception()
            if isinstance(error, _SignedOut):
                return "signed_out"
            if isinstance(error, _Idle):
                return "idle"
            if isinstance(error, TimeoutError):
                return "slow"
            if error is not None and not isinstance(error, WebSocketDisconnect):
                raise error
        return "left"

    async def _hear(self) -> None:
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    message = await self._websocket.receive()
            except TimeoutError as nothing:
                raise _Idle from nothing
            if message["type"] == "websocket.disconnect":
                return
            try:
                text = message.get("text")
                if text is None:
                    raise Refused("$", RefusalReason.MALFORMED, "the message is binary", "Send JSON as text.")
                self._wish = parse_replay(text, self._config.site, self._config.bounds, self._who())
                self._wake.set()
            except Refused as refused:
                await self._send(error_text(refused))

    def _who(self) -> Actor:
        """Who the client is by now. Raises _SignedOut, and Refused for a screen, which shows what is live."""
        try:
            actor = self._guard.actor(self._sign_in)
        except AccessRefused as refused:
            raise _SignedOut from refused
        if actor is NOBODY:
            raise _SignedOut
        if is_display(actor):
            raise Refused("$", RefusalReason.INVALID, "a screen shows what is live", "Sign in as a person.")
        return actor

    async def _tell(self) -> None:
        replay: Replayed | None = None
        told: tuple[PastWish, Actor] | None = None
        while True:
            self._wake.clear()
            wish = self._wish
            if wish is not None:
                try:
                    actor = self._who()
                    if replay is None or told is None or told[0] is not wish:
                        replay = await self._begin(wish, actor)
                    elif told[1] != actor:
                        # Other rights: what is shown is read anew, from where the replay is by now.
                        course = replace(wish.course, start=replay.clock.moment(self._config.now()))
                        self._wish = wish = replace(wish, course=course)
                        replay = await self._begin(wish, actor)
                    else:
                        await self._go_on(replay)
                    told = wish, actor
                    await self._beat(replay)
                except Refused as refused:
                    replay = told = None
                    if self._wish is wish:
                        self._wish = None
                    await self._send(error_text(refused))
                except DependencyUnavailable as away:
                    state = {"state": "away", "since": self._config.now().isoformat(), "detail": str(away)[:200]}
                    await self._send(msgspec.json.encode(ReplayStatus(database=state)).decode())
                    await asyncio.sleep(RETRY_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._wish is None else TICK_S):
                    await self._wake.wait()

    async def _begin(self, wish: PastWish, actor: Actor) -> Replayed:
        replay = Replayed(self._config, wish, actor)
        start = wish.course.start
        settled = await self._look()
        for _ in range(SETTLES_MAX):
            if settled >= start:
                break
            await asyncio.sleep(SETTLE_S)
            settled = await self._look()
        async with (
            self._database.reading("replay") as reader,
            reader.transaction(isolation="repeatable_read", readonly=True),
        ):
            replay.check(await read_floors(reader), self._config.now())
            told = await replay.begin(reader, min(start, settled).astimezone(UTC))
        replay.keep(told)
        await self._send(told.text)
        return replay

    async def _look(self) -> datetime:
        async with self._database.reading("replay") as reader:
            return self._settled.after(await read_look(reader))

    async def _go_on(self, replay: Replayed) -> None:
        if replay.clock.moment(self._config.now()) <= replay.at:
            return  # it stands still
        async with self._database.reading("replay") as reader:
            settled = self._settled.after(await read_look(reader))
            moment = replay.moment(self._config.now(), settled)
            async with reader.transaction(isolation="repeatable_read", readonly=True):
                told = await replay.go_on(reader, moment)
        replay.keep(told)
        await self._send(told.text)

    async def _beat(self, replay: Replayed) -> None:
        now = self._config.now()
        moment = replay.at
        beat = ReplayHeartbeat(
            position=str(position_of(moment)),
            time=moment,
            now=now,
            feed=FeedState(state="live", lag_s=0.0),
            streams=StreamsState(state="up", since=moment),
            replay=ReplayState(speed=replay.clock.course.speed, ended=replay.has_ended),
        )
        await self._send(msgspec.json.encode(beat).decode())

    async def _send(self, text: str | None) -> None:
        if text is None:
            return
        async with asyncio.timeout(self._config.bounds.send_timeout_s):
            await self._websocket.send_text(text)
