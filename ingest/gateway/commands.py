"""How does a command get on the log, and what is its sender told?

Who gives it is found out here: by the token, or by the secret of a report. The answer says that the command is on the
log, and not what became of it: that is decided in the order of the log, and read at `GET /v1/commands/{id}`.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial

import msgspec
from msgspec import Struct
from starlette.types import Receive, Scope

from ingest.decode.commands import CommandDecoder, Ordered, Taken
from ingest.gateway import answer, metrics
from ingest.gateway.answer import JSON, PROBLEM, Answer, RejectedResult
from ingest.gateway.body import BodyReader
from ingest.gateway.endpoint import Endpoint
from ingest.gateway.guard import Guard
from ingest.gateway.present import Present
from ingest.gateway.producer import Producer
from ingest.gateway.rate import RateLimit, address_of
from schemas.command import Actor
from schemas.errors import InvalidBody, InvalidEvent, Reason
from schemas.identity import SECRET_CHARS_MAX, citizen, tracking_of
from schemas.personal import KeyRing
from schemas.site import Site

SECRET_HEADER = b"tracking-secret"

_encode = msgspec.json.Encoder().encode


class AcceptedCommand(Struct, frozen=True, tag_field="status", tag="accepted"):
    """A command that is on the log. `source` and `id` name it, `subject` is what it is about."""

    index: int
    id: str
    source: str
    subject: str


class CommandResults(Struct, frozen=True):
    """One result for each command, in the sender's order."""

    accepted: int
    rejected: int
    results: list[AcceptedCommand | RejectedResult]


class CommandsProblem(Struct, frozen=True):
    """No command was taken: why not the first one, and in `results` each."""

    title: str
    status: int
    detail: str
    field: str
    reason: Reason
    fix: str
    accepted: int
    rejected: int
    results: list[AcceptedCommand | RejectedResult]


class CommandsEndpoint(Endpoint):
    """`POST /v1/commands`."""

    def __init__(
        self,
        *,
        current_site: Callable[[], Site],
        now: Callable[[], datetime],
        producer: Producer,
        bodies: BodyReader,
        guard: Guard,
        limit: RateLimit,
        ring: KeyRing | None,
    ) -> None:
        """`limit` is for citizens, who need not sign in; `ring` seals what they write."""
        self._decoder = Present(current_site, partial(CommandDecoder, ring=ring))
        self._now = now
        self._producer = producer
        self._bodies = bodies
        self._guard = guard
        self._limit = limit

    async def reply(self, scope: Scope, receive: Receive) -> Answer:
        """See Endpoint."""
        # Asked before the body is read: who may not send anything need not be listened to.
        actor = await self.sender_of(scope)
        if actor.tracking is not None and (wait_s := self._limit.wait_s(address_of(scope))):
            return answer.for_too_many(wait_s)
        body = await self._bodies.read(scope["headers"], receive)
        try:
            received_at = self._now()
            ordered = self._decoder().decode(body, actor, received_at)
        finally:
            self._bodies.release(len(body))
        return _answer(await self._append(ordered, received_at))

    async def sender_of(self, scope: Scope) -> Actor:
        """Who gives commands. Raises InvalidBody, AccessRefused, DependencyUnavailable."""
        return citizen_of(scope) or await self._guard.signed_in(scope)

    async def take(self, body: bytes, actor: Actor) -> Answer:
        """Puts commands on the log. Raises InvalidBody, DependencyUnavailable."""
        received_at = self._now()
        return _answer(await self._append(self._decoder().decode(body, actor, received_at), received_at))

    async def _append(self, ordered: Ordered, received_at: datetime) -> Ordered:
        if ordered.lots:
            await self._producer.append(ordered.lots, int(received_at.timestamp() * 1000))
        return ordered


def citizen_of(scope: Scope) -> Actor | None:
    """Whoever shows the secret of a report; None where none is shown. Raises InvalidBody for what is no secret.

    Whether it is the secret of the case that a command is about is decided with the case.
    """
    found = [value for name, value in scope["headers"] if name == SECRET_HEADER]
    if not found:
        return None
    if len(found) > 1 or not 1 <= len(found[0]) <= SECRET_CHARS_MAX:
        fix = "Send the header `Tracking-Secret` once, with the secret that the report was answered with."
        raise InvalidBody("tracking-secret", Reason.INVALID_FIELD, "this is no secret of a report", fix)
    return citizen(tracking_of(found[0]))


def _answer(ordered: Ordered) -> Answer:
    """202 with one result for each command; 422 with the same when none was taken."""
    results: list[AcceptedCommand | RejectedResult] = []
    refused: list[InvalidEvent] = []
    for index, (id_, one) in enumerate(zip(ordered.ids, ordered.results, strict=True)):
        if isinstance(one, Taken):
            metrics.COMMANDS.labels(one.action).inc()
            results.append(AcceptedCommand(index, one.id, one.source, one.subject))
        else:
            metrics.REFUSED.labels(one.reason.value).inc()
            refused.append(one)
            results.append(RejectedResult(index, id_, one.field, one.reason, one.detail, one.fix))
    accepted = len(results) - len(refused)
    if accepted or not refused:
        return Answer(202, JSON, _encode(CommandResults(accepted, len(refused), results)))
    first = refused[0]
    problem = CommandsProblem(
        title="Every command is refused",
        status=422,
        detail=first.detail,
        field=first.field,
        reason=first.reason,
        fix=first.fix,
        accepted=0,
        rejected=len(refused),
        results=results,
    )
    return Answer(422, PROBLEM, _encode(problem))
