"""Must the database be asked once for each of many clients that come at the same time?

After a restart a thousand boards ask for the same few things within seconds. Whoever asks while the same question is
being answered may take that answer, unless the feed has told something since that the answer does not hold, or is
reading it for those who were there before: a client that asked after that would miss it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from dashboard_api import metrics
from dashboard_api.hub import Hub
from dashboard_api.session import ReadRequest, Resumption, Rights, Snapshot, SnapshotReason
from dashboard_api.subscription import Subscription
from schemas.errors import DependencyUnavailable
from schemas.site import Site

_log = logging.getLogger(__name__)

_Key = tuple[Subscription, Rights, SnapshotReason | None]
_Found = Snapshot | Resumption


class SharedAnswers:
    """The questions that are being asked. Each ends by the database's timeout, and nothing is kept after it."""

    def __init__(
        self, hub: Hub, current_site: Callable[[], Site], ask: Callable[[ReadRequest], Coroutine[Any, Any, _Found]]
    ) -> None:
        self._hub = hub
        self._current_site = current_site
        self._ask = ask
        self._asked: dict[_Key, tuple[Site, asyncio.Task[_Found]]] = {}

    async def answer(self, request: ReadRequest) -> _Found:
        """What `ask` says, or has just said to somebody else. Raises what it raises.

        The client stands in the hub's list before it asks, so all that is read from now on is told to it.
        """
        told, site = self._hub.spoken_for, self._current_site()
        key = (request.subscription, request.rights, request.reason)
        while (known := self._asked.get(key)) is not None and known[0] is site and not known[1].done():
            # Shielded: a client that leaves does not take away what others wait for.
            found = await asyncio.shield(known[1])
            if told is None or found.position >= told:
                metrics.SHARED_ANSWERS.inc()
                return found
            # The next question was asked after what was told, so its answer will do for all who wait here.
        task = asyncio.create_task(self._ask(request))
        self._asked[key] = (site, task)
        task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: _Key, task: "asyncio.Task[_Found]") -> None:
        known = self._asked.get(key)
        if known is not None and known[1] is task:
            del self._asked[key]
        if not task.cancelled():
            # Everybody who asked may have left: then nobody hears of an error, and that is well. Here it is said once
            # for all who asked.
            error = task.exception()
            if error is not None and not isinstance(error, DependencyUnavailable):
                _log.error("a question of live clients could not be answered", exc_info=error)
