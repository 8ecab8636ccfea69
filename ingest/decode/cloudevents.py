"""Which events does an HTTP CloudEvents request carry, and which of them can be taken?

Every event is judged by itself: one that is refused does not sink the others of its batch. Only a body that cannot
be taken apart is refused as a whole.

Source: CloudEvents 1.0 HTTP protocol binding §3, JSON event format §3–4.
"""

from datetime import datetime

import msgspec
from msgspec import Struct

from ingest.decode import binary
from ingest.decode.media import Headers, Mode
from schemas import codec
from schemas.area import AreaTree
from schemas.errors import InvalidBody, InvalidEvent, Reason
from schemas.event import Event
from schemas.topics import Topic, key_of, topic_of

BATCH_EVENTS_MAX = 5_000
"""Events in one batch. A larger one is refused whole: its answer names every event, and must stay small."""

ECHO_CHARS_MAX = 256
"""What an answer repeats of an id that breaks the rules; the rest is cut off."""

_BOM = b"\xef\xbb\xbf"
_JSON = b'"application/json"'


class Taken(Struct, frozen=True, gc=False):
    """An event that is fit for the log: where it goes, and the bytes that are written.

    It holds no decoded event, so that a request that waits for Kafka holds little more than the bytes.
    """

    event_id: str
    kind: type[Event]
    topic: Topic
    key: bytes
    value: bytes


class Refused(Struct, frozen=True):
    """An event that is not taken, with its `id` where that can be read."""

    event_id: str | None
    error: InvalidEvent


Outcome = Taken | Refused


class _Identity(Struct):
    id: str


_batch_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_envelope_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_identity_decoder = msgspec.json.Decoder(_Identity)


class Decoder:
    """Judges requests against one site's areas. Immutable; one serves all requests."""

    def __init__(self, areas: AreaTree, batch_events_max: int = BATCH_EVENTS_MAX) -> None:
        self._list_id = areas.list_id
        self._codes = frozenset(area.code for area in areas)
        self._batch_events_max = batch_events_max

    def decode(self, mode: Mode, headers: Headers, body: bytes, received_at: datetime) -> list[Outcome]:
        """Judges each event of a request, in the sender's order. Raises InvalidBody when all of it is refused."""
        if body.startswith(_BOM):
            raise InvalidBody(
                "$", Reason.MALFORMED_JSON, "the body begins with a byte order mark", "Send UTF-8 without one."
            )
        tail = codec.seal_tail(received_at, self._list_id)
        if mode is Mode.BATCHED:
            return self._judge_all(self._split(body), tail)
        if mode is Mode.BINARY:
            return [self._judge_binary(headers, body, tail)]
        if not body.strip():
            raise InvalidBody("$", Reason.MALFORMED_JSON, "the body is empty", "Send one event as a JSON object.")
        outcome = self._judge(body, tail)
        if isinstance(outcome, Refused) and outcome.error.field == "$":
            raise _whole(outcome.error)
        return [outcome]

    def _split(self, body: bytes) -> list[bytes]:
        """The batch's events, each in its own bytes. An empty batch is valid (JSON event format §4.2)."""
        try:
            raws = _batch_decoder.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _whole(codec.explain(error)) from error
        if len(raws) > self._batch_events_max:
            raise InvalidBody(
                "$",
                Reason.TOO_LARGE,
                f"the batch has {len(raws)} events",
                f"Send at most {self._batch_events_max} events a batch.",
            )
        return [bytes(raw) for raw in raws]

    def _judge_all(self, raws: list[bytes], tail: bytes) -> list[Outcome]:
        try:
            events = codec.decode_all(raws)
        except InvalidEvent:
            # At least one is bad. One by one is slower, and tells which.
            return [self._judge(raw, tail) for raw in raws]
        codes = self._codes
        return [
            Taken(event.id, type(event), topic_of(event), key_of(event), raw[:-1] + tail)
            if event.area_list is None and event.area in codes
            else self._judge(raw, tail)
            for event, raw in zip(events, raws, strict=True)
        ]

    def _judge(self, raw: bytes, tail: bytes) -> Outcome:
        try:
            event = codec.decode(raw)
            self._check_area(event)
        except InvalidEvent as error:
            return Refused(_readable_id(raw), _clearer(error, raw))
        # `codec.seal`, with the tail that all events of the request share.
        return Taken(event.id, type(event), topic_of(event), key_of(event), raw.rstrip()[:-1] + tail)

    def _judge_binary(self, headers: Headers, body: bytes, tail: bytes) -> Outcome:
        try:
            raw = binary.compose(headers, body)
        except InvalidBody:
            raise
        except InvalidEvent as error:
            return Refused(None, error)
        outcome = self._judge(raw, tail)
        if isinstance(outcome, Taken) or outcome.error.field.startswith("data"):
            return outcome
        error = outcome.error
        if error.field == "$":
            raise _whole(error)
        where = f"{error.fix} In binary mode this is the header `ce-{error.field}`."
        return Refused(outcome.event_id, InvalidEvent(error.field, error.reason, error.detail, where))

    def _check_area(self, event: Event) -> None:
        # A code means nothing without its list, so the list comes first.
        if event.area_list is not None and event.area_list != self._list_id:
            raise InvalidEvent(
                "arealist",
                Reason.WRONG_AREA_LIST,
                f"the list {event.area_list!r} is not used here",
                f"Use codes of {self._list_id!r}, and name that list or none.",
            )
        if event.area not in self._codes:
            raise InvalidEvent(
                "area",
                Reason.UNKNOWN_AREA,
                f"the list {self._list_id!r} has no area {event.area[:ECHO_CHARS_MAX]!r}",
                "Use an area code of that list, with its leading zeros.",
            )


def _clearer(error: InvalidEvent, raw: bytes) -> InvalidEvent:
    """Says what the sender most likely did, where the decoder can only say what it met."""
    if not error.field.startswith("data"):
        return error
    try:
        envelope = _envelope_decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return error
    if bytes(envelope.get("datacontenttype", _JSON)) != _JSON:
        return InvalidEvent(
            "datacontenttype",
            Reason.INVALID_FIELD,
            "the data is not JSON",
            "Send the data as JSON, and leave this attribute out.",
        )
    if error.reason is Reason.MISSING_FIELD and "data_base64" in envelope:
        return InvalidEvent(
            "data_base64", Reason.INVALID_FIELD, "binary data is not supported", "Send a JSON object in `data`."
        )
    return error


def _readable_id(raw: bytes) -> str | None:
    try:
        return _identity_decoder.decode(raw).id[:ECHO_CHARS_MAX]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _whole(error: InvalidEvent) -> InvalidBody:
    return InvalidBody(error.field, error.reason, error.detail, error.fix)
