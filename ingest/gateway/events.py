"""How does a request become events on the log, and an answer?

A plain ASGI endpoint: it takes bytes, calls pure code, awaits the log and replies. A framework's handling of
parameters would cost more than the events do.
"""

import time
from collections.abc import Callable
from datetime import datetime

from starlette.types import Receive, Scope, Send

from ingest.decode import media
from ingest.decode.cloudevents import BATCH_EVENTS_MAX, Decoder, Judged
from ingest.decode.media import Headers
from ingest.gateway import answer, metrics
from ingest.gateway.answer import TITLES, Answer
from ingest.gateway.body import BodyReader, SenderGone
from ingest.gateway.producer import Producer
from schemas.errors import DependencyUnavailable, InvalidBody
from schemas.event import EVENT_TYPES
from schemas.site import Site

_ACCEPTED = {kind: metrics.ACCEPTED.labels(event_type) for event_type, kind in EVENT_TYPES.items()}
_REQUESTS = {status: metrics.REQUESTS.labels(str(status)) for status in (202, *TITLES)}


class EventsEndpoint:
    """`POST /v1/events`."""

    def __init__(
        self,
        *,
        current_site: Callable[[], Site],
        now: Callable[[], datetime],
        producer: Producer,
        bodies: BodyReader,
        batch_events_max: int = BATCH_EVENTS_MAX,
    ) -> None:
        self._current_site = current_site
        self._batch_events_max = batch_events_max
        self._decoder = Decoder(current_site(), batch_events_max)
        self._now = now
        self._producer = producer
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, and counts the answer."""
        begun_s = time.perf_counter()
        try:
            reply = await self._reply(scope, receive)
        except InvalidBody as error:
            metrics.REFUSED.labels(error.reason.value).inc()
            reply = answer.for_invalid_body(error)
        except DependencyUnavailable as error:
            reply = answer.for_unavailable(error)
        except SenderGone:
            metrics.REQUESTS.labels("gone").inc()
            return
        await _send(reply, send)
        _REQUESTS[reply.status].inc()
        metrics.REQUEST_SECONDS.observe(time.perf_counter() - begun_s)

    async def _reply(self, scope: Scope, receive: Receive) -> Answer:
        judged, received_at = await self._judge(scope["headers"], receive)
        reply = answer.for_judged(judged)
        if judged.lots:
            acknowledged = self._producer.append(judged.lots, int(received_at.timestamp() * 1000))
            # The producer frees the bytes when it has encoded them, unless they are held here until Kafka answers.
            judged.lots.clear()
            await acknowledged
        _count(judged)
        return reply

    async def _judge(self, headers: Headers, receive: Receive) -> tuple[Judged, datetime]:
        """What becomes of a request's events, and when they came in. Holds the body no longer than that takes."""
        mode = media.mode_of(headers)
        body = await self._bodies.read(headers, receive)
        try:
            received_at = self._now()
            return self._present_decoder().decode(mode, headers, body, received_at), received_at
        finally:
            self._bodies.release(len(body))

    def _present_decoder(self) -> Decoder:
        """The one for the site pack in force."""
        site = self._current_site()
        if self._decoder.site is not site:
            self._decoder = Decoder(site, self._batch_events_max)
        return self._decoder


def _count(judged: Judged) -> None:
    for kind, count in judged.kinds.items():
        _ACCEPTED[kind].inc(count)
    for error in judged.refused.values():
        metrics.REFUSED.labels(error.reason.value).inc()


async def _send(reply: Answer, send: Send) -> None:
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", str(len(reply.body)).encode()),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
