"""How does a citizen's report come in, from anybody, without a sign-in?"""

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime
from functools import partial

import msgspec
from msgspec import Struct
from starlette.types import Receive, Scope

from ingest.decode.cloudevents import Decoder
from ingest.decode.media import Mode
from ingest.decode.report import draft, field_of
from ingest.gateway import answer, metrics
from ingest.gateway.answer import JSON, Answer
from ingest.gateway.body import BodyReader
from ingest.gateway.endpoint import Endpoint
from ingest.gateway.present import Present
from ingest.gateway.producer import Producer
from ingest.gateway.rate import RateLimit, address_of
from schemas.errors import InvalidBody, Reason
from schemas.personal import KEY_BYTES, KeyRing
from schemas.site import Site

REPORT_BYTES_MAX = 64 * 1024
"""One report. A larger one is refused: photos are linked, not sent along."""

KEY_HEADER = b"idempotency-key"
KEY_CHARS_MAX = 128

TRACK_PATH = "/v1/track"


class Reported(Struct, frozen=True):
    """The report is on the log: its `reference`, the `secret` to follow it by, and where (`follow`).

    The secret goes into the header `Tracking-Secret`, and into no address, which others may see. Whoever has it can
    read how the report is handled, and answer for its sender.
    """

    reference: str
    secret: str
    follow: str


class ReportsEndpoint(Endpoint):
    """`POST /v1/reports`."""

    def __init__(
        self,
        *,
        current_site: Callable[[], Site],
        now: Callable[[], datetime],
        producer: Producer,
        bodies: BodyReader,
        limit: RateLimit,
        ring: KeyRing | None,
    ) -> None:
        # Without keys of the centre a resend is known again by this process alone, and no contact is taken.
        self._makes_secrets = ring or KeyRing({"once": bytes(KEY_BYTES)}, "once", secrets.token_bytes(KEY_BYTES))
        self._decoder = Present(current_site, partial(Decoder, ring=ring, is_outside=False))
        self._now = now
        self._producer = producer
        self._bodies = bodies
        self._limit = limit

    async def reply(self, scope: Scope, receive: Receive) -> Answer:
        """See Endpoint."""
        if wait_s := self._limit.wait_s(address_of(scope)):
            return answer.for_too_many(wait_s)
        token = _token(scope)
        body = await self._bodies.read(scope["headers"], receive)
        try:
            received_at = self._now()
            decoder = self._decoder()
            drafted = draft(body, token=token, ring=self._makes_secrets, site=decoder.site, received_at=received_at)
            judged = decoder.decode(Mode.STRUCTURED, (), drafted.event, received_at)
        finally:
            self._bodies.release(len(body))
        if judged.refused:
            raise field_of(judged.refused[0])
        await self._producer.append(judged.lots, int(received_at.timestamp() * 1000))
        metrics.REPORTS.inc()
        reported = Reported(drafted.case, drafted.secret, TRACK_PATH)
        # What a cache keeps, others may read.
        return Answer(202, JSON, msgspec.json.encode(reported), ((b"cache-control", b"no-store"),))


def _token(scope: Scope) -> bytes:
    """What makes a resend of a report the same report: the sender's own key for it, else nothing does."""
    found = [value for name, value in scope["headers"] if name == KEY_HEADER]
    if not found:
        return secrets.token_bytes(KEY_BYTES)
    if len(found) > 1 or not 1 <= len(found[0]) <= KEY_CHARS_MAX:
        fix = f"Send the header `Idempotency-Key` once, with at most {KEY_CHARS_MAX} characters."
        raise InvalidBody("idempotency-key", Reason.INVALID_FIELD, "this is no key", fix)
    return hashlib.sha256(found[0]).digest()
