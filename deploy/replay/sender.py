"""How do events reach `ingest`, also while it is away?

One request carries a batch, and is sent again with the same ids until it is answered: the centre counts an event once
however often it comes. Only an answer that would be the same the next time ends the waiting.
"""

import copy
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import msgspec
from msgspec import Struct

from deploy.replay import metrics
from deploy.replay.clock import Clock
from schemas.errors import OperatorError

EVENTS_PATH = "/v1/events"
CONTENT_TYPE = "application/cloudevents-batch+json"
BATCH_EVENTS_MAX = 500  # more become the next request
BATCH_BYTES_MAX = 512 * 1024  # likewise; an event alone is at most 64 KiB
REQUEST_TIMEOUT_S = 30.0  # then it is sent again
BACKOFF_FIRST_S = 0.5  # also the least, where the centre asks for less
BACKOFF_MAX_S = 15.0
RETRY_AFTER_MAX_S = 60.0  # a centre that asks for more is asked again after this

REJECTED = "rejected"
FILE_FEED = "file"

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_DETAIL_CHARS_MAX = 200

Say = Callable[[str], None]
Post = Callable[[bytes], Awaitable[httpx.Response]]


class Result(Struct, frozen=True):
    """What became of one event of a batch. `index` counts from 0."""

    index: int
    status: str
    field: str = "$"
    reason: str = ""
    detail: str = ""
    fix: str = ""

    def as_line(self) -> str:
        """For people, where it was refused."""
        return f"{self.field}: {self.detail} ({self.reason}). {self.fix}"


class Answer(Struct, frozen=True):
    """What the centre says of a batch that it has judged event by event."""

    results: list[Result]


class Refused(OperatorError):
    """The centre refuses the request itself, and would do so again."""


class EventSender:
    """Sends batches to one centre. Several may be under way at once; an outage is told once for all of them."""

    def __init__(self, post: Post, clock: Clock, say: Say) -> None:
        """`post` sends one request's body; see `poster`."""
        self._post = post
        self._clock = clock
        self._feed = FILE_FEED
        self._outage = _Outage(clock, say)

    def for_feed(self, feed: str) -> "EventSender":
        """The same sender, with what goes through it counted under this name."""
        other = copy.copy(self)
        other._feed = feed
        return other

    async def send(self, batch: Sequence[bytes]) -> list[Result]:
        """Returns what was refused of the batch, once the centre has taken it. Raises Refused."""
        body = b"[" + b",".join(batch) + b"]"
        failures = 0
        while True:
            wait_s = None
            metrics.SENT.labels(self._feed).inc(len(batch))
            try:
                response = await self._post(body)
            except httpx.TransportError as error:
                why = str(error) or type(error).__name__
            else:
                if response.status_code not in _AGAIN:
                    self._outage.ends()
                    rejections = _rejections(response)
                    metrics.REJECTED.labels(self._feed).inc(len(rejections))
                    metrics.ACCEPTED.labels(self._feed).inc(len(batch) - len(rejections))
                    return rejections
                why = f"status {response.status_code}"
                wait_s = _retry_after_s(response.headers.get("Retry-After"), self._clock.now())
            failures += 1
            metrics.RETRIES.labels(self._feed).inc()
            self._outage.goes_on(why)
            await self._clock.sleep(backoff_s(failures) if wait_s is None else max(wait_s, BACKOFF_FIRST_S))


class _Outage:
    """Since when the centre takes nothing; told once, and once when it is over."""

    def __init__(self, clock: Clock, say: Say) -> None:
        self._clock = clock
        self._say = say
        self._away_since: datetime | None = None

    def goes_on(self, why: str) -> None:
        if self._away_since is None:
            self._away_since = self._clock.now()
            self._say(f"The centre does not take events now ({why}). Waiting; what is unanswered is sent again.")

    def ends(self) -> None:
        if self._away_since is not None:
            away_s = (self._clock.now() - self._away_since).total_seconds()
            self._away_since = None
            self._say(f"The centre takes events again, after {away_s:.0f} s.")


def poster(client: httpx.AsyncClient, url: str) -> Post:
    """Posts batches to the events path of the centre at `url`."""

    async def post(body: bytes) -> httpx.Response:
        return await client.post(url.rstrip("/") + EVENTS_PATH, content=body, headers={"Content-Type": CONTENT_TYPE})

    return post


def batches(events: Sequence[bytes]) -> list[list[int]]:
    """The indexes of `events` in order, cut into requests within both bounds; an event is never cut."""
    found: list[list[int]] = []
    size = 0
    for index, event in enumerate(events):
        if not found or len(found[-1]) == BATCH_EVENTS_MAX or size + len(event) > BATCH_BYTES_MAX:
            found.append([])
            size = 0
        found[-1].append(index)
        size += len(event) + 1
    return found


def backoff_s(failures: int) -> float:
    """How long to wait after so many failures in a row, where the centre does not say."""
    return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(failures - 1, 16))


def _retry_after_s(header: str | None, now: datetime) -> float | None:
    """Source: RFC 9110 §10.2.3, seconds or a date. None when it is absent or neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return min(float(header), RETRY_AFTER_MAX_S)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    wait_s = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    return min(max(wait_s, 0.0), RETRY_AFTER_MAX_S)


def _rejections(response: httpx.Response) -> list[Result]:
    try:
        # 202 when some were taken, 422 when none was; both bring a result for each event.
        answer = msgspec.json.decode(response.content, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # An answer that cannot be read may hold rejections, so it is not taken for a yes.
        detail = " ".join(response.text.split())[:_DETAIL_CHARS_MAX] or "nothing"
        raise Refused(
            f"{response.request.url} answered {response.status_code}: {detail}.",
            "Check --url, and that this version fits the centre's.",
        ) from None
    return [result for result in answer.results if result.status == REJECTED]
