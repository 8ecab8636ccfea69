"""How do messages travel where nothing but short answers gets through?

By polls. Between two of them the server keeps the client's session, in which newer values replace older ones. It goes
on only from the position that it last answered with. A client that says another one, for an answer was lost, or that
comes to another process, resumes from there as on a socket: nothing is missed, and nothing depends on what is kept.
"""

import asyncio
import contextlib
import secrets

from dashboard_api.guard import Guard, SignIn
from dashboard_api.live_client import ENDED, LiveClient, SignInEnded, Sources
from dashboard_api.messages import poll_text
from dashboard_api.places import Places, no_place
from dashboard_api.session import Phase
from dashboard_api.subscription import parse_wish
from schemas.errors import AccessReason, AccessRefused


class _Line:
    """What is kept of a client between its polls. `position` is what it was last answered with, or had said."""

    def __init__(self, client: LiveClient, key: str, wish: str, position: str | None) -> None:
        self.client = client
        self.key = key
        self.wish = wish
        self.position = position
        self.busy = False
        self.forgotten: asyncio.TimerHandle | None = None

    def goes_on(self, wish: str, position: str | None, sign_in: SignIn) -> bool:
        """Whether a poll that says so is the next one of the same client."""
        is_same = (self.wish, self.position) == (wish, position)
        return not self.busy and is_same and self.client.sign_in.subject == sign_in.subject


class Polls:
    """The clients that poll. Each takes a place among the live ones."""

    def __init__(self, sources: Sources, places: Places) -> None:
        self._sources = sources
        self._places = places
        self._lines: dict[str, _Line] = {}

    async def poll(
        self, guard: Guard, sign_in: SignIn, wish: str, position: str | None, key: str | None, wait_s: float
    ) -> str:
        """Answers as soon as there is something to say, at the latest after `wait_s`.

        Raises Refused, also where there is no place for one more client, and AccessRefused.
        """
        line = None if key is None else self._lines.get(key)
        if line is not None and not line.goes_on(wish, position, sign_in):
            line = None
        try:
            if line is None:
                line = self._begin(guard, sign_in, wish, position)
            return await self._wait(line, sign_in, wait_s)
        except SignInEnded as ended:
            raise AccessRefused(AccessReason.EXPIRED, str(ended), ENDED) from ended

    def _begin(self, guard: Guard, sign_in: SignIn, wish: str, position: str | None) -> _Line:
        client = LiveClient(self._sources, guard, sign_in)
        client.renew()
        config = self._sources.config
        wanted = parse_wish(wish, position, config.site, config.bounds, client.actor)
        if not self._places.take():
            raise no_place()
        line = _Line(client, secrets.token_urlsafe(16), wish, position)
        self._lines[line.key] = line
        client.begin()
        client.subscribe(wanted)
        # Every answer ends with a heartbeat, so that only a change of the workers is owed.
        client.heartbeat()
        return line

    async def _wait(self, line: _Line, sign_in: SignIn, wait_s: float) -> str:
        loop, bounds, client = asyncio.get_running_loop(), self._sources.config.bounds, line.client
        line.busy = True
        if line.forgotten is not None:
            line.forgotten.cancel()
        client.sign_in = sign_in
        until_s = loop.time() + wait_s
        try:
            while True:
                client.wake.clear()
                # Who asks may see something else by now: then nothing of before is told.
                client.renew()
                messages = client.take()
                if messages or client.owes_heartbeat or loop.time() >= until_s:
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(min(until_s, loop.time() + bounds.heartbeat_s)):
                        await client.wake.wait()
            texts = [*(message.text for message in messages), client.heartbeat().text]
            if client.session.phase is Phase.LIVE:
                line.position = str(client.session.position)
            return poll_text(line.key, line.position, texts)
        finally:
            line.busy = False
            line.forgotten = loop.call_later(bounds.poll_idle_s, self._forget, line)

    def _forget(self, line: _Line) -> None:
        del self._lines[line.key]
        line.client.end()
        self._places.give_back()
