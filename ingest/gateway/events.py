"""How does a request become events on the log, and an answer?

A plain ASGI endpoint: it takes bytes, calls pure code, awaits the log and replies. A framework's handling of
parameters would cost more than the events do.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from starlette.types import Receive, Scope

from ingest.decode import media
from ingest.decode.cloudevents import BATCH_EVENTS_MAX, Decoder, Judged
from ingest.decode.media import Headers
from ingest.gateway import answer, metrics
from ingest.gateway.answer import Answer
from ingest.gateway.body import BodyReader
from ingest.gateway.endpoint import Endpoint
from ingest.gateway.present import Present
from ingest.gateway.producer import Producer
from schemas.event import EVENT_TYPES
from schemas.personal import KeyRing
from schemas.site import Site

_ACCEPTED = {kind: metrics.ACCEPTED.labels(event_type) for event_type, kind in EVENT_TYPES.items()}


class EventsEndpoint(Endpoint):
    """`POST /v1/events`."""

    def __init__(
        self,
        *,
        current_site: Callable[[], Site],
        now: Callable[[], datetime],
        producer: Producer,
        bodies: BodyReader,
        batch_events_max: int = BATCH_EVENTS_MAX,
        ring: KeyRing | None = None,
    ) -> None:
        self._decoder = Present(current_site, partial(Decoder, batch_events_max=batch_events_max, ring=ring))
        self._now = now
        self._producer = producer
        self._bodies = bodies

    async def reply(self, scope: Scope, receive: Receive) -> Answer:
        """See Endpoint."""
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
            return self._decoder().decode(mode, headers, body, received_at), received_at
        finally:
            self._bodies.release(len(body))


def _count(judged: Judged) -> None:
    for kind, count in judged.kinds.items():
        _ACCEPTED[kind].inc(count)
    for error in judged.refused.values():
        metrics.REFUSED.labels(error.reason.value).inc()
