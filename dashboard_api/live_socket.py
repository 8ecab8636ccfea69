"""How does a live client on a WebSocket hear of things, without a task of its own that waits for them?

What the feed brings is written to the socket as soon as the hub tells it. Only what cannot go out then, because the
client takes nothing or its answer is still being read, waits in its session, and goes out when the socket is free.
One timer beats for all.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from dashboard_api import metrics
from dashboard_api.conflation import Part
from dashboard_api.frames import Outlet
from dashboard_api.guard import Guard, SignIn
from dashboard_api.live_client import End, LiveClient, SignInEnded, Sources
from dashboard_api.outgoing import Form, Message
from dashboard_api.session import Beat

TURNS = 8
"""The clients are told in so many turns that the server lives, so that not all are written to at once."""


class Heartbeats:
    """Tells every socket at intervals that the server lives, and looks whether the client still takes anything.

    `sent` are the messages since the last turn.
    """

    def __init__(self, sources: Sources) -> None:
        self.sent = 0
        self._sources = sources
        self._turns: tuple[set[LiveSocket], ...] = tuple(set() for _ in range(TURNS))
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, socket: "LiveSocket") -> None:
        """From now on it is told."""
        min(self._turns, key=len).add(socket)
        if self._timer is None:
            self._start()

    def discard(self, socket: "LiveSocket") -> None:
        """The client is gone."""
        for sockets in self._turns:
            sockets.discard(socket)
        if self._timer is not None and not any(self._turns):
            self._timer.cancel()
            self._timer = None
            self._count()

    def now(self) -> Beat:
        """What there is to say at this moment."""
        feed = self._sources.feed
        return Beat(self._sources.config.now(), feed.state, feed.streams)

    def _count(self) -> None:
        # Not with each message: the metric's lock costs as much as the rest of handing one over.
        metrics.MESSAGES_OUT.inc(self.sent)
        self.sent = 0

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._sources.config.bounds.heartbeat_s / TURNS, self._tell)

    def _tell(self) -> None:
        self._start()
        self._count()
        self._turn = (self._turn + 1) % TURNS
        beat = self.now()
        for socket in tuple(self._turns[self._turn]):
            socket.beat(beat)


class LiveSocket:
    """One client on a WebSocket."""

    __slots__ = ("_beats", "_end", "_failure", "_form", "_outlet", "_scheduled", "_until", "client")

    def __init__(
        self, sources: Sources, guard: Guard, sign_in: SignIn, beats: Heartbeats, outlet: Outlet, form: Form
    ) -> None:
        self._beats = beats
        self._outlet = outlet
        self._form = form
        self._end: End | None = None
        self._failure: Exception | None = None
        self._scheduled = False
        self._until = asyncio.timeout(None)
        self.client = LiveClient(sources, guard, sign_in, self._on_ready, self._push)

    async def run(self, hear: Coroutine[Any, Any, None]) -> End:
        """Serves the client until `hear` returns, or it may not or cannot be served any more."""
        self._outlet.on_writable = self._on_writable
        self._beats.add(self)
        try:
            self.client.begin()
            self._on_ready()
            async with self._until:
                await hear
        except TimeoutError:
            # That is how `_stop` ends the wait for the client's next word.
            if self._end is None and self._failure is None:
                raise
        except SignInEnded:
            self._end = End.SIGN_IN_ENDED
        finally:
            self._beats.discard(self)
            self._outlet.on_writable = None
            self.client.end()
            self._end = self._end or End.LEFT
        if self._failure is not None:
            raise self._failure
        return self._end

    def beat(self, beat: Beat) -> None:
        """It is this client's turn."""
        if self._end is not None:
            return
        try:
            if self._outlet.blocked_s > self.client.send_timeout_s:
                self._stop(End.TOO_SLOW)
            # Where the person may see something else now, what is shown is read anew, and nothing is sent before.
            elif not self.client.renew() and self._outlet.is_writable:
                self._write([*self.client.take(), self.client.session.beat(beat)])
        except SignInEnded:
            self._stop(End.SIGN_IN_ENDED)
        except Exception as error:
            self._failure = error
            self._stop(End.LEFT)

    def _push(self, part: Part) -> bool:
        if self._end is not None or not self._outlet.write_frame(part.message.frame(self._form)):
            return False
        self._beats.sent += 1
        return True

    def _on_ready(self) -> None:
        """There is something to take or to ask; at the next turn of the loop, when all of it is there."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _on_writable(self, waited_s: float) -> None:
        self.client.waited(waited_s)
        self._on_ready()

    def _flush(self) -> None:
        self._scheduled = False
        if self._end is not None or not self._outlet.is_writable:
            return
        try:
            messages = self.client.take()
            if self.client.owes_heartbeat:
                messages.append(self.client.session.beat(self._beats.now()))
            if messages:
                self._write(messages)
        except Exception as error:
            # Nobody waits for this call, so the client's own task is told.
            self._failure = error
            self._stop(End.LEFT)

    def _write(self, messages: list[Message]) -> None:
        # What was taken is handed over as a whole: a socket that fills up on the way keeps the rest.
        self._outlet.write_frames([message.frame(self._form) for message in messages])
        self._beats.sent += len(messages)

    def _stop(self, end: End) -> None:
        self._end = end
        self._until.reschedule(asyncio.get_running_loop().time())
