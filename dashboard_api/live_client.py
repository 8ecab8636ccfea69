"""What does a live client have, however its messages travel: who it is, what it wants, and what it is told?

The ways are a WebSocket, a stream of events and polls. Each brings what the client says, and takes away what there is
to say.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from enum import Enum, auto
from typing import Any

from msgspec import Struct

from dashboard_api import metrics
from dashboard_api.commands import source_of
from dashboard_api.config import DashboardConfig
from dashboard_api.conflation import Flush, Part
from dashboard_api.database import Database
from dashboard_api.feed import Feed
from dashboard_api.guard import Guard, SignIn
from dashboard_api.hub import Hub
from dashboard_api.live_cases import seen_units
from dashboard_api.outgoing import Message
from dashboard_api.refusal import Refused
from dashboard_api.session import (
    NO_RIGHTS,
    LiveSession,
    Phase,
    ReadRequest,
    Rights,
    Snapshot,
    SnapshotReason,
)
from dashboard_api.shared_answers import SharedAnswers
from dashboard_api.subscription import Subscription, parse_message, restricted
from schemas.command import Actor
from schemas.errors import AccessRefused, DependencyUnavailable

RETRY_READ_S = 0.5
"""Before the database is asked again for a subscription that it did not answer."""

RETRY_READ_MAX_S = 5.0
"""The most that is waited before a question is asked again that failed for anything but a database that is away."""

TRY_AGAIN_LATER = 1013
"""The close code of RFC 6455's registry for a server that is too busy for this client, now."""

SIGN_IN_ENDED = 4401
"""The close code for a client whose sign-in has expired, or whom the site pack no longer has. After HTTP's 401."""

ENDED = "the sign-in has ended: sign in and connect again"

Tell = Callable[[Message], Awaitable[None]]
"""Sends one message, and returns when there is room for the next."""


class SignInEnded(Exception):
    """The client is no longer who it was."""


class ClientTooSlow(Exception):
    """The client took nothing for the whole send timeout."""


class ClientGone(Exception):
    """There is nobody any more at the other end."""


class End(Enum):
    """Why a client's messages have ended."""

    LEFT = auto()
    TOO_SLOW = auto()
    SIGN_IN_ENDED = auto()


class Sources(Struct, frozen=True):
    """What all clients of a process are served from."""

    config: DashboardConfig
    database: Database
    hub: Hub
    feed: Feed
    answers: SharedAnswers


class LiveClient:
    """One client's session, its rights and its questions to the database. `wake` is set when there is something."""

    def __init__(
        self,
        sources: Sources,
        guard: Guard,
        sign_in: SignIn,
        on_ready: Callable[[], None] | None = None,
        push: Callable[[Part], bool] | None = None,
    ) -> None:
        self._config = sources.config
        self._database = sources.database
        self._hub = sources.hub
        self._feed = sources.feed
        self._answers = sources.answers
        self._guard = guard
        self.sign_in = sign_in
        self._rights = NO_RIGHTS
        self.wake = asyncio.Event()
        self._on_ready = self.wake.set if on_ready is None else on_ready
        self.session = LiveSession(self._on_ready, sources.config.bounds.cases_max, push)
        self._question: asyncio.Task[None] | None = None
        self._failures = 0

    def begin(self) -> None:
        """From now on the feed brings what the client wants."""
        self._hub.add(self.session)
        if self._database.state.state == "away":
            self.session.tell_status(self._database.state)

    def end(self) -> None:
        """The client is gone: nothing is kept for it."""
        self._hub.remove(self.session)
        if self._question is not None:
            self._question.cancel()

    async def run(self, hear: Coroutine[Any, Any, None], tell: Tell) -> End:
        """Serves the client until `hear` returns, or it may not or cannot be served any more."""
        self.begin()
        tasks = {asyncio.create_task(hear), asyncio.create_task(self._write(tell))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.end()
            left = tasks if self._question is None else {*tasks, self._question}
            for task in left:
                task.cancel()
            outcomes = await asyncio.gather(*left, return_exceptions=True)
        known = (ClientTooSlow, SignInEnded, ClientGone, asyncio.CancelledError)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, known):
                raise outcome
        ends = [task.exception() for task in done]
        if any(isinstance(end, SignInEnded) for end in ends):
            return End.SIGN_IN_ENDED
        return End.TOO_SLOW if any(isinstance(end, ClientTooSlow) for end in ends) else End.LEFT

    def hear(self, message: str | bytes) -> None:
        """What the client said. Raises SignInEnded."""
        try:
            self.renew()
            wanted = parse_message(message, self._config.site, self._config.bounds, self._rights.actor)
        except Refused as refused:
            self.session.refuse(refused)
        else:
            self.subscribe(wanted)

    def subscribe(self, wanted: Subscription) -> None:
        """The client wants this instead of what it had. Call `renew` before."""
        self.session.subscribe(wanted, self._rights)
        self._hub.join(self.session)

    def renew(self) -> bool:
        """Looks who the client is by now. Returns True when it may see something else than before.

        Raises SignInEnded once the sign-in has expired, or the site pack no longer has the person.
        """
        site = self._config.site
        try:
            actor = self._guard.actor(self.sign_in)
        except AccessRefused as refused:
            raise SignInEnded(str(refused)) from refused
        rights = Rights(actor, seen_units(site, actor), source_of(actor))
        if rights == self._rights:
            return False
        self._rights = rights
        wanted = self.session.subscription
        if wanted is None:
            return False
        self.session.subscribe(restricted(wanted, site, actor), rights, SnapshotReason.RELOAD)
        self._hub.join(self.session)
        return True

    @property
    def actor(self) -> Actor:
        """Who it is, as of the last `renew`."""
        return self._rights.actor

    def take(self) -> list[Message]:
        """All that can be said now, and asks the database where an answer of its is owed."""
        self._ask()
        outgoing = self.session.take(self._hub.position, self._config.now())
        if outgoing.flush is not None:
            self._measure(outgoing.flush)
        return outgoing.messages

    @property
    def send_timeout_s(self) -> float:
        """How long the client may take nothing."""
        return self._config.bounds.send_timeout_s

    @property
    def owes_heartbeat(self) -> bool:
        """Whether the client was last told otherwise of the workers."""
        return self.session.owes_heartbeat(self._feed.streams)

    def heartbeat(self) -> Message:
        """A sign of life. Take first."""
        return Message(self.session.heartbeat(self._config.now(), self._feed.state, self._feed.streams))

    async def _write(self, tell: Tell) -> None:
        """Sends whatever there is, as fast as the client takes it, and a heartbeat now and then."""
        loop, heartbeat_s = asyncio.get_running_loop(), self._config.bounds.heartbeat_s
        next_beat_s = loop.time()
        while True:
            self.wake.clear()
            for message in self.take():
                await self._send(tell, message)
            if loop.time() >= next_beat_s and self.renew():
                # What the person may see has changed: what is shown is read anew, and nothing else is sent before.
                continue
            if loop.time() >= next_beat_s or self.owes_heartbeat:
                await self._send(tell, self.heartbeat())
                next_beat_s = loop.time() + heartbeat_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_beat_s):
                    await self.wake.wait()

    async def _send(self, tell: Tell, message: Message) -> None:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            async with asyncio.timeout(self._config.bounds.send_timeout_s):
                await tell(message)
        except TimeoutError:
            raise ClientTooSlow from None
        metrics.MESSAGES_OUT.inc()
        self.waited(loop.time() - started_s)

    def waited(self, waited_s: float) -> None:
        """A message had to wait this long for the client."""
        if waited_s > self._config.bounds.lagging_after_s:
            self.session.lagged(waited_s)

    def _ask(self) -> None:
        """Asks the database when the session wants it, one question at a time."""
        if self.session.phase is not Phase.ASKED or self._database.state.state == "away":
            return
        if self._question is not None and not self._question.done():
            return
        wanted, site = self.session.subscription, self._config.site
        shown = None if wanted is None else restricted(wanted, site, self._rights.actor)
        if shown is not None and shown != wanted:
            # The site pack has changed since the client subscribed, and with it who may see what.
            self.session.subscribe(shown, self._rights, SnapshotReason.RELOAD)
            self._hub.join(self.session)
        request = self.session.begin_read()
        if request is not None:
            self._question = asyncio.create_task(self._answer(request))

    async def _answer(self, request: ReadRequest) -> None:
        try:
            found = await self._answers.answer(request)
        except DependencyUnavailable:
            await asyncio.sleep(RETRY_READ_S)
            self.session.read_failed(request.token)
        except Exception:
            # Said by whoever asked. What cannot be read now, as a row of a newer release, may be readable soon.
            await asyncio.sleep(min(RETRY_READ_MAX_S, RETRY_READ_S * 2 ** min(self._failures, 8)))
            self._failures += 1
            self.session.read_failed(request.token)
        else:
            self._failures = 0
            metrics.SNAPSHOTS.labels("snapshot" if isinstance(found, Snapshot) else "resumption").inc()
            self.session.answered(request.token, found)
        finally:
            # A newer wish may have come meanwhile, and waits for this question to be over.
            asyncio.get_running_loop().call_soon(self._on_ready)

    def _measure(self, flush: Flush) -> None:
        now = self._config.now()
        if flush.committed_at is not None:
            metrics.COMMIT_TO_SEND_S.observe(max(0.0, (now - flush.committed_at).total_seconds()))
        for event in flush.events:
            metrics.RECEIVED_TO_SEND_S.observe(max(0.0, (now - event.received_at).total_seconds()))
