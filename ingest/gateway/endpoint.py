"""How does an endpoint answer: also what it refuses, and whom it does not let in?

Plain ASGI. What is refused is an exception with its reason, and becomes an answer here, once for all endpoints.
"""

import time
from abc import ABC, abstractmethod

from starlette.types import Receive, Scope, Send

from ingest.gateway import answer, metrics
from ingest.gateway.answer import ACCESS_TITLES, TITLES, Answer
from ingest.gateway.body import SenderGone
from schemas.errors import AccessRefused, DependencyUnavailable, InvalidBody

_REQUESTS = {status: metrics.REQUESTS.labels(str(status)) for status in (202, *TITLES, *ACCESS_TITLES, 429)}


class Endpoint(ABC):
    """An ASGI application for one path."""

    @abstractmethod
    async def reply(self, scope: Scope, receive: Receive) -> Answer:
        """Answers one request. Raises InvalidBody, AccessRefused, DependencyUnavailable, SenderGone."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, and counts the answer."""
        begun_s = time.perf_counter()
        try:
            reply = await self.reply(scope, receive)
        except InvalidBody as error:
            metrics.REFUSED.labels(error.reason.value).inc()
            reply = answer.for_invalid_body(error)
        except AccessRefused as error:
            reply = answer.for_access_refused(error)
        except DependencyUnavailable as error:
            reply = answer.for_unavailable(error)
        except SenderGone:
            metrics.REQUESTS.labels("gone").inc()
            return
        await _send(reply, send)
        _REQUESTS[reply.status].inc()
        metrics.REQUEST_SECONDS.observe(time.perf_counter() - begun_s)


async def _send(reply: Answer, send: Send) -> None:
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", str(len(reply.body)).encode()),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
