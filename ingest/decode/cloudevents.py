"""Which events does an HTTP CloudEvents request carry, and which of them can be taken?

Every event is judged by itself: one that is refused does not sink the others of its batch. Only a body that cannot
be taken apart is refused as a whole.

Source: CloudEvents 1.0 HTTP protocol binding §3, JSON event format §3–4.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from ingest.decode import binary
from ingest.decode.media import Headers, Mode
from schemas import codec
from schemas.area import AreaTree
from schemas.errors import InvalidBody, InvalidEvent, Reason
from schemas.event import AnyEvent, Event
from schemas.topics import CASES, INPUTS, Topic, key_of, topic_of

BATCH_EVENTS_MAX = 5_000
"""Events in one batch. A larger one is refused whole: its answer names every event, and must stay small."""

ECHO_CHARS_MAX = 256
"""What an answer repeats of an id that breaks the rules; the rest is cut off."""

_CASE_TYPES = frozenset(CASES.types)
_BOM = b"\xef\xbb\xbf"
_JSON = b'"application/json"'


class Lot(Struct, frozen=True):
    """Events for one place on the log: the bytes that are written, in the sender's order."""

    topic: Topic
    key: bytes
    values: list[bytes]


class Judged(Struct, frozen=True):
    """What becomes of a request's events.

    It holds no decoded event, so that a request that waits for Kafka holds little more than the bytes. A thing per
    lot instead of one per event makes a batch a third cheaper.

    `ids`      of all events, in the sender's order; None where an id cannot be read
    `refused`  why, by the event's place in `ids`; all others are in the lots
    `kinds`    how many of each type are in the lots
    """

    ids: Sequence[str | None]
    lots: list[Lot]
    refused: dict[int, InvalidEvent]
    kinds: Counter[type[Event]]


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

    def decode(self, mode: Mode, headers: Headers, body: bytes, received_at: datetime) -> Judged:
        """Judges each event of a request. Raises InvalidBody when all of it is refused."""
        if body.startswith(_BOM):
            raise InvalidBody(
                "$", Reason.MALFORMED_JSON, "the body begins with a byte order mark", "Send UTF-8 without one."
            )
        tail = codec.seal_tail(received_at, self._list_id)
        if mode is Mode.BATCHED:
            return self._judge_all(self._split(body), tail)
        if mode is Mode.BINARY:
            return self._judge_binary(headers, body, tail)
        if not body.strip():
            raise InvalidBody("$", Reason.MALFORMED_JSON, "the body is empty", "Send one event as a JSON object.")
        judged = self._judge([body], tail)
        if judged.refused and judged.refused[0].field == "$":
            raise _whole(judged.refused[0])
        return judged

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
        return list(map(bytes, raws))

    def _judge_all(self, raws: list[bytes], tail: bytes) -> Judged:
        """Judges in one go what is most likely all good."""
        codes = self._codes
        try:
            events = codec.decode_all(raws)
            for event in [one for one in events if one.area_list is not None or one.area not in codes]:
                self._check_area(event)
        except InvalidEvent:
            # At least one is bad. One by one is slower, and tells which.
            return self._judge(raws, tail)
        return Judged([event.id for event in events], _lots(events, raws, tail), {}, Counter(map(type, events)))

    def _judge(self, raws: Sequence[bytes], tail: bytes) -> Judged:
        ids: list[str | None] = []
        refused: dict[int, InvalidEvent] = {}
        good: list[AnyEvent] = []
        good_raws: list[bytes] = []
        for index, raw in enumerate(raws):
            try:
                event = codec.decode(raw)
                self._check_area(event)
            except InvalidEvent as error:
                ids.append(_readable_id(raw))
                refused[index] = _clearer(error, raw)
            else:
                ids.append(event.id)
                good.append(event)
                good_raws.append(raw.rstrip())
        return Judged(ids, _lots(good, good_raws, tail), refused, Counter(map(type, good)))

    def _judge_binary(self, headers: Headers, body: bytes, tail: bytes) -> Judged:
        try:
            raw = binary.compose(headers, body)
        except InvalidBody:
            raise
        except InvalidEvent as error:
            return Judged([None], [], {0: error}, Counter())
        judged = self._judge([raw], tail)
        if not judged.refused or judged.refused[0].field.startswith("data"):
            return judged
        error = judged.refused[0]
        if error.field == "$":
            raise _whole(error)
        where = f"{error.fix} In binary mode this is the header `ce-{error.field}`."
        return Judged(judged.ids, [], {0: InvalidEvent(error.field, error.reason, error.detail, where)}, Counter())

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


def _lots(events: Sequence[AnyEvent], raws: Sequence[bytes], tail: bytes) -> list[Lot]:
    """Puts events that share a topic and a key together. Each of `raws` ends with the event's closing brace.

    `tail` is what `codec.seal` puts in its place, the same for all events of a request.
    """
    if len(events) == 1:
        return [Lot(topic_of(events[0]), key_of(events[0]), [raws[0][:-1] + tail])]
    lots: list[Lot] = []
    by_topic: dict[str, dict[str | bytes, list[bytes]]] = {topic.name: {} for topic in INPUTS}
    places = {kind: by_topic[topic.name] for topic in INPUTS for kind in topic.types}
    for event, raw in zip(events, raws, strict=True):
        kind = type(event)
        # Outside the case topic the source alone makes the key, and asking for each event's key would cost a tenth.
        mark = key_of(event) if kind in _CASE_TYPES else event.source
        values = places[kind].get(mark)
        if values is None:
            values = places[kind][mark] = []
            lots.append(Lot(topic_of(event), key_of(event), values))
        values.append(raw[:-1] + tail)
    return lots


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
