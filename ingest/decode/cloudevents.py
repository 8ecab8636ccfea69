"""Which events does an HTTP CloudEvents request carry, and which of them can be taken?

Every event is judged by itself: one that is refused does not sink the others of its batch. Only a body that cannot
be taken apart is refused as a whole.

Source: CloudEvents 1.0 HTTP protocol binding §3, JSON event format §3–4.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat

import msgspec
from msgspec import Struct

from ingest.decode import binary
from ingest.decode.media import Headers, Mode
from ingest.decode.personal_part import BEARERS, holds_personal, kept_apart
from schemas import codec
from schemas.admission import check_event, check_sent, is_suspect
from schemas.area import AreaTree
from schemas.errors import InvalidBody, InvalidEvent, Reason
from schemas.event import INTERNAL, OWN_SOURCES, AnyEvent, AreaCode, Event
from schemas.location import Locator
from schemas.personal import KeyRing
from schemas.site import Site
from schemas.topics import INPUTS, Dedupe, Topic, key_of, topic_of

BATCH_EVENTS_MAX = 5_000
"""Events in one batch. A larger one is refused whole: its answer names every event, and must stay small."""

ECHO_CHARS_MAX = 256
"""What an answer repeats of an id that breaks the rules; the rest is cut off."""

_LOW_RATE = frozenset(kind for topic in INPUTS if topic.dedupe is Dedupe.FOREVER for kind in topic.types)
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
    """Judges requests against one site pack. Immutable; one serves all requests until the site changes.

    With `ring` what is personal is sealed; without one it is refused. `is_outside`: what only the centre makes is
    refused, too.
    """

    def __init__(
        self,
        site: Site,
        batch_events_max: int = BATCH_EVENTS_MAX,
        ring: KeyRing | None = None,
        *,
        is_outside: bool = True,
    ) -> None:
        self._is_outside = is_outside
        self.site = site
        self._ring = ring
        self._locate = Locator(site.areas)
        self._sure_lists = _sure_lists(site.areas)
        self._future_max_s = site.header.future_max_s
        self._batch_events_max = batch_events_max

    def decode(self, mode: Mode, headers: Headers, body: bytes, received_at: datetime) -> Judged:
        """Judges each event of a request. Raises InvalidBody when all of it is refused."""
        if body.startswith(_BOM):
            raise InvalidBody(
                "$", Reason.MALFORMED_JSON, "the body begins with a byte order mark", "Send UTF-8 without one."
            )
        if mode is Mode.BATCHED:
            return self._judge_all(self._split(body), received_at)
        if mode is Mode.BINARY:
            return self._judge_binary(headers, body, received_at)
        if not body.strip():
            raise InvalidBody("$", Reason.MALFORMED_JSON, "the body is empty", "Send one event as a JSON object.")
        judged = self._judge([body], received_at)
        if judged.refused and judged.refused[0].field == "$":
            raise whole(judged.refused[0])
        return judged

    def _split(self, body: bytes) -> list[bytes]:
        """The batch's events, each in its own bytes. An empty batch is valid (JSON event format §4.2)."""
        try:
            raws = _batch_decoder.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise whole(codec.explain(error)) from error
        if len(raws) > self._batch_events_max:
            raise InvalidBody(
                "$",
                Reason.TOO_LARGE,
                f"the batch has {len(raws)} events",
                f"Send at most {self._batch_events_max} events a batch.",
            )
        return list(map(bytes, raws))

    def _judge_all(self, raws: Sequence[bytes], received_at: datetime) -> Judged:
        """Judges in one go what is most likely all good, and most likely of one area list."""
        latest = received_at.astimezone(UTC) + timedelta(seconds=self._future_max_s)
        try:
            events = codec.decode_all(raws)
            kinds = Counter(map(type, events))
            if self._is_outside and (
                not kinds.keys().isdisjoint(INTERNAL)
                or any(source.startswith(OWN_SOURCES) for source in {event.source for event in events})
            ):
                # One by one tells which it is.
                return self._judge(raws, received_at)
            if not kinds.keys().isdisjoint(BEARERS):
                raws = self._without_personal(events, raws)
            # `check_event` on each would cost a quarter of all this, and finds nothing in any other event.
            for event in events:
                if is_suspect(event, latest):
                    check_event(event, received_at.timestamp(), self._future_max_s)
            named = {event.area_list for event in events}
            sure_lists = self._sure_lists.get(named.pop(), {}) if len(named) == 1 else {}
            lists = {sure_lists.get(area) for area in {event.area for event in events}}
            if len(lists) == 1 and None not in lists:
                tails = repeat(codec.seal_tail(received_at, lists.pop()), len(events))
            else:
                tails = _tails(self._lists_of(events), received_at)
        except InvalidEvent:
            # At least one is bad. One by one is slower, and tells which.
            return self._judge(raws, received_at)
        return Judged([event.id for event in events], _lots(events, raws, tails), {}, kinds)

    def _judge(self, raws: Sequence[bytes], received_at: datetime) -> Judged:
        received_s = received_at.timestamp()
        ids: list[str | None] = []
        refused: dict[int, InvalidEvent] = {}
        good: list[AnyEvent] = []
        good_raws: list[bytes] = []
        lists: list[str | None] = []
        for index, raw in enumerate(raws):
            try:
                event = codec.decode(raw)
                if self._is_outside:
                    check_sent(event)
                check_event(event, received_s, self._future_max_s)
                apart = self._apart(event, raw)
                lists.append(self._list_of(event))
            except InvalidEvent as error:
                ids.append(readable_id(raw))
                refused[index] = _clearer(error, raw)
            else:
                ids.append(event.id)
                good.append(event)
                good_raws.append(apart.rstrip())
        return Judged(ids, _lots(good, good_raws, _tails(lists, received_at)), refused, Counter(map(type, good)))

    def _judge_binary(self, headers: Headers, body: bytes, received_at: datetime) -> Judged:
        try:
            raw = binary.compose(headers, body)
        except InvalidBody:
            raise
        except InvalidEvent as error:
            return Judged([None], [], {0: error}, Counter())
        judged = self._judge([raw], received_at)
        if not judged.refused or judged.refused[0].field.startswith("data"):
            return judged
        error = judged.refused[0]
        if error.field == "$":
            raise whole(error)
        where = f"{error.fix} In binary mode this is the header `ce-{error.field}`."
        return Judged(judged.ids, [], {0: InvalidEvent(error.field, error.reason, error.detail, where)}, Counter())

    def _without_personal(self, events: Sequence[AnyEvent], raws: Sequence[bytes]) -> list[bytes]:
        """The events' bytes with what is personal sealed. Raises InvalidEvent when one of them cannot be taken."""
        return [
            self._apart(event, raw) if holds_personal(event) else raw for event, raw in zip(events, raws, strict=True)
        ]

    def _apart(self, event: AnyEvent, raw: bytes) -> bytes:
        return kept_apart(event, raw, self._ring, self.site.header.calling_code)

    def _lists_of(self, events: Sequence[AnyEvent]) -> list[str | None]:
        """`_list_of` each event."""
        times_s = [event.time.timestamp() for event in events]
        changes_s = self._locate.changes_s
        if events and bisect_right(changes_s, min(times_s)) != bisect_right(changes_s, max(times_s)):
            return list(map(self._list_of, events))
        # Nearly always the lists do not change in between, and what is found once holds for all that say the same.
        found: dict[tuple[str | None, str | None, str | None], str | None] = {}
        lists: list[str | None] = []
        for event in events:
            key = event.area_list, event.area, event.place if event.area is None else None
            if key not in found:
                found[key] = self._list_of(event)
            lists.append(found[key])
        return lists

    def _list_of(self, event: Event) -> str | None:
        """The list that the event's code is of; None for one that has none. Raises InvalidEvent for no known area."""
        list_id = self._locate(event).list_id
        return None if event.area is None else list_id


def _tails(lists: Sequence[str | None], received_at: datetime) -> list[bytes]:
    """What `codec.seal` puts in place of the closing brace of each event."""
    tails = {list_id: codec.seal_tail(received_at, list_id) for list_id in set(lists)}
    return [tails[list_id] for list_id in lists]


def _sure_lists(areas: AreaTree) -> dict[str | None, dict[AreaCode | None, str]]:
    """By the list that an event names, or None: the lists of the codes that its time makes no difference to."""
    sure: dict[str | None, dict[AreaCode | None, str]] = {None: {}}
    lists = Counter(area.code for area in areas)
    for area in areas:
        sure.setdefault(area.list_id, {})[area.code] = area.list_id
        if lists[area.code] == 1:
            sure[None][area.code] = area.list_id
    return sure


def _lots(events: Sequence[AnyEvent], raws: Sequence[bytes], tails: Iterable[bytes]) -> list[Lot]:
    """Puts events that share a topic and a key together. Each of `raws` ends with the event's closing brace.

    The one of `tails` is what `codec.seal` puts in its place.
    """
    if len(events) == 1:
        (tail,) = tails
        return [Lot(topic_of(events[0]), key_of(events[0]), [raws[0][:-1] + tail])]
    lots: list[Lot] = []
    by_topic: dict[str, dict[str | bytes, list[bytes]]] = {topic.name: {} for topic in INPUTS}
    places = {kind: by_topic[topic.name] for topic in INPUTS for kind in topic.types}
    for event, raw, tail in zip(events, raws, tails, strict=True):
        kind = type(event)
        # On the high-rate topics the source alone makes the key, and asking for each event's key would cost a tenth.
        mark = key_of(event) if kind in _LOW_RATE else event.source
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


def readable_id(raw: bytes) -> str | None:
    """The id of what cannot be taken, as an answer repeats it; None where none can be read."""
    try:
        return _identity_decoder.decode(raw).id[:ECHO_CHARS_MAX]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def whole(error: InvalidEvent) -> InvalidBody:
    """The refusal of one event as that of the request that it is all of."""
    return InvalidBody(error.field, error.reason, error.detail, error.fix)
