"""What is a sender told?

A refusal is a problem document, and each refused event of a batch has the same members: `field`, `reason`, `detail`
and `fix`.

Source: RFC 9457 (problem details), RFC 9110 §15 (status codes).
"""

from typing import Any, cast

import msgspec
from msgspec import Struct

from ingest.decode.cloudevents import Judged
from ingest.decode.media import ACCEPTED
from schemas.errors import AccessReason, AccessRefused, DependencyUnavailable, InvalidBody, Reason

JSON = b"application/json"
PROBLEM = b"application/problem+json"

TITLES = {
    400: "The body cannot be read",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "The media type is not supported",
    422: "Every event is refused",
    503: "The service cannot take events now",
}
ACCESS_TITLES = {401: "Who sends this is not known", 403: "Whoever sends this may not"}
TOO_MANY_TITLE = "This address sends too much"
_STATUSES = {Reason.TOO_LARGE: 413, Reason.UNSUPPORTED_MEDIA: 415, Reason.SLOW_BODY: 408}
_encode = msgspec.json.Encoder().encode


class Answer(Struct, frozen=True):
    """A whole HTTP answer. `headers` hold what the status calls for beside type and length."""

    status: int
    content_type: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class AcceptedResult(Struct, frozen=True, gc=False, tag_field="status", tag="accepted"):
    """An event that is on the log. `index` counts the request's events from 0."""

    index: int
    id: str


class RejectedResult(Struct, frozen=True, tag_field="status", tag="rejected"):
    """An event that was not taken; `id` is null where it could not be read."""

    index: int
    id: str | None
    field: str
    reason: Reason
    detail: str
    fix: str


class Results(Struct, frozen=True):
    """One result for each event, in the sender's order."""

    accepted: int
    rejected: int
    results: list[AcceptedResult | RejectedResult]


class Problem(Struct, frozen=True, omit_defaults=True):
    """A refusal of the whole request. `results` and its counts are there when the events were judged one by one."""

    title: str
    status: int
    detail: str
    field: str | None = None
    reason: Reason | None = None
    fix: str | None = None
    accepted: int | None = None
    rejected: int | None = None
    results: list[AcceptedResult | RejectedResult] | None = None


class AccessProblem(Struct, frozen=True):
    """A refusal of somebody who is not let in."""

    title: str
    status: int
    detail: str
    reason: AccessReason
    fix: str


class TooMany(Struct, frozen=True):
    """An address has to wait."""

    title: str
    status: int
    detail: str
    fix: str


def for_judged(judged: Judged) -> Answer:
    """202 with one result for each event; 422 with the same when none was taken."""
    # Nearly always all are taken, so the results begin so.
    results: list[Any] = list(map(AcceptedResult, range(len(judged.ids)), cast("list[str]", judged.ids)))
    for index, error in judged.refused.items():
        results[index] = RejectedResult(index, judged.ids[index], error.field, error.reason, error.detail, error.fix)
    rejected = len(judged.refused)
    if not rejected or rejected < len(results):
        return Answer(202, JSON, _encode(Results(len(results) - rejected, rejected, results)))
    first = judged.refused[0]
    problem = Problem(TITLES[422], 422, first.detail, first.field, first.reason, first.fix, 0, rejected, results)
    return Answer(422, PROBLEM, _encode(problem))


def for_invalid_body(error: InvalidBody) -> Answer:
    """400, or the status that says more."""
    status = _STATUSES.get(error.reason, 400)
    problem = Problem(TITLES[status], status, error.detail, error.field, error.reason, error.fix)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if status == 415:
        headers = ((b"accept", ", ".join(ACCEPTED).encode()), (b"accept-encoding", b"identity"))
    elif status == 408:
        # RFC 9110 §15.5.9: the rest of the body is not waited for.
        headers = ((b"connection", b"close"),)
    return Answer(status, PROBLEM, _encode(problem), headers)


def for_unavailable(error: DependencyUnavailable) -> Answer:
    """503 with Retry-After. Nothing is promised: the sender sends all again, with the same ids."""
    problem = Problem(TITLES[503], 503, str(error), fix="Send all events again, with the same ids.")
    return Answer(503, PROBLEM, _encode(problem), ((b"retry-after", str(error.retry_after_s).encode()),))


def for_access_refused(error: AccessRefused) -> Answer:
    """401 while it is not known who asks, 403 when that one may not."""
    problem = AccessProblem(ACCESS_TITLES[error.status], error.status, error.detail, error.reason, error.fix)
    headers = ((b"www-authenticate", b"Bearer"),) if error.status == 401 else ()
    return Answer(error.status, PROBLEM, _encode(problem), headers)


def for_too_many(wait_s: int) -> Answer:
    """429 with Retry-After: nothing was read."""
    problem = TooMany(TOO_MANY_TITLE, 429, "nothing of this request was read", f"Send it again in {wait_s} s.")
    return Answer(429, PROBLEM, _encode(problem), ((b"retry-after", str(wait_s).encode()),))
