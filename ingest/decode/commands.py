"""Which commands does a request carry, who gives them, and which of them can be decided?

A command becomes an event that says who gives it, as the door has found that out. Each is judged by itself: one that
is refused loses none of the others. Whether it may be done is not asked here; that is decided where the case is
known, in the order of the log.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ingest.decode.cloudevents import ECHO_CHARS_MAX, Lot, readable_id, whole
from ingest.decode.personal_part import with_sealed_words
from schemas import codec
from schemas.admission import check_event
from schemas.area_id import AreaCode
from schemas.case import case_id
from schemas.command import (
    CITIZENS,
    Action,
    Actor,
    AnyAction,
    Command,
    DeadlinePassed,
    Dispute,
    ErasePerson,
    Open,
    Reply,
    SetAvailability,
    Silence,
    name_of,
    words_field,
    words_in,
)
from schemas.errors import InvalidBody, InvalidEvent, Reason
from schemas.event import CaseCommand, GeoUri, Instant, Name
from schemas.location import Locator
from schemas.personal import KeyRing
from schemas.site import Site
from schemas.topics import CASES, key_of

COMMANDS_MAX = 500
"""Commands of one request. A longer list is refused whole: its answer names every command."""

CITIZEN_COMMANDS_MAX = 1
"""Those of a citizen, who need not sign in: what is limited is requests, and each command is kept for ever."""

_CASE = re.compile(r"[a-z2-7]{16}\Z")
_ABOUT = re.compile(r"(?P<kind>unit|alert|person):(?P<name>[^\x00-\x1f\x7f]{1,200})\Z")
_KINDS: dict[type[Action], str] = {SetAvailability: "unit", Silence: "alert", ErasePerson: "person"}
"""What an action is about, where that is no case."""


class Order(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command as it is sent. `time` is when it was given, or when what it tells was so; without: when it came in.

    `case` (or `subject`) is what it is about: a case, `unit:<id>`, `alert:<rule>` or `person:<id>`. Who opens a case
    names none, and says where it is.
    """

    id: Name
    do: AnyAction
    case: Name | None = None
    subject: Name | None = None
    time: Instant | None = None
    area: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    place: GeoUri | None = None
    exercise: bool = False


class Taken(Struct, frozen=True):
    """A command that goes on the log, and the action that it asks for."""

    id: str
    source: str
    subject: str
    action: str


class Ordered(Struct, frozen=True):
    """What becomes of a request's commands, in the sender's order. `ids` has None where one cannot be read."""

    ids: list[str | None]
    results: list[Taken | InvalidEvent]
    lots: list[Lot]


_raw_decoder = msgspec.json.Decoder(msgspec.Raw)
_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_order_decoder = msgspec.json.Decoder(Order)


class CommandDecoder:
    """Judges requests against one site pack. Immutable; one serves all requests until the site changes."""

    def __init__(self, site: Site, ring: KeyRing | None = None) -> None:
        """`ring` seals what citizens write; without one it is refused."""
        self._ring = ring
        self._locate = Locator(site.areas)
        self._future_max_s = site.header.future_max_s

    def decode(self, body: bytes, actor: Actor, received_at: datetime) -> Ordered:
        """Judges each command of a request. Raises InvalidBody when all of it is refused."""
        ids: list[str | None] = []
        results: list[Taken | InvalidEvent] = []
        values: dict[bytes, list[bytes]] = {}
        most = COMMANDS_MAX if actor.tracking is None else CITIZEN_COMMANDS_MAX
        for raw in _split(body, most):
            try:
                event, value = self._event(raw, actor, received_at)
            except InvalidEvent as error:
                ids.append(readable_id(raw))
                results.append(error)
            else:
                ids.append(event.id)
                results.append(Taken(event.id, event.source, event.subject or "", name_of(event.data.do)))
                values.setdefault(key_of(event), []).append(value)
        return Ordered(ids, results, [Lot(CASES, key, some) for key, some in values.items()])

    def _event(self, raw: bytes, actor: Actor, received_at: datetime) -> tuple[CaseCommand, bytes]:
        """A command as an event, and its bytes on the log. Raises InvalidEvent."""
        order = decode_order(raw)
        source = source_of(actor)
        subject = _subject_of(order, source)
        _check_given_by(order.do, actor)
        event = CaseCommand(
            specversion="1.0",
            id=order.id,
            source=source,
            subject=subject,
            time=received_at if order.time is None else order.time,
            area=None if order.area is None else AreaCode(order.area),
            place=order.place,
            exercise=order.exercise,
            received_at=received_at,
            data=Command(do=order.do, actor=actor),
        )
        # Where a case is opened has to be known; every other one has its area.
        located = self._locate.strictly(event) if isinstance(order.do, Open) else self._locate(event)
        if event.area is not None:
            event = msgspec.structs.replace(event, area_list=located.list_id)
        value = msgspec.json.encode(event)
        # What is written has to be readable: texts, times and size are checked as those of every event.
        event = codec.decode(value)
        assert isinstance(event, CaseCommand)
        try:
            check_event(event, received_at.timestamp(), self._future_max_s)
        except InvalidEvent as error:
            field = error.field.removeprefix("data.")
            raise InvalidEvent(field, error.reason, error.detail, error.fix) from error
        if words_in(order.do) is None:
            return event, value
        event = with_sealed_words(event, self._ring)
        value = msgspec.json.encode(event)
        # It may be longer now than an event may be.
        codec.decode(value)
        return event, value


def _split(body: bytes, most: int) -> Sequence[bytes]:
    """One command, or a list of at most so many."""
    if not body.strip():
        raise InvalidBody("$", Reason.MALFORMED_JSON, "the body is empty", "Send one command, or a list of them.")
    try:
        if not body.lstrip().startswith(b"["):
            return [bytes(_raw_decoder.decode(body))]
        raws = _list_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise whole(codec.explain(error)) from error
    if len(raws) > most:
        detail, fix = f"the list has {len(raws)} commands", f"Send at most {most} a request."
        raise InvalidBody("$", Reason.TOO_LARGE, detail, fix)
    return list(map(bytes, raws))


def decode_order(raw: bytes) -> Order:
    """Reads one command. Raises InvalidEvent with the field, the reason and the fix."""
    try:
        return _order_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise codec.explain(error) from error


def source_of(actor: Actor) -> str:
    """Who gives a command, as events say it: a person, or whoever holds a case's secret."""
    if actor.tracking is not None:
        return f"citizen:{actor.tracking[:16]}"
    return f"person:{actor.id}"


def _subject_of(order: Order, source: str) -> str:
    """What the command is about. Raises InvalidEvent for what the action cannot be about."""
    field = "subject" if order.case is None else "case"
    if order.case is not None and order.subject is not None and order.case != order.subject:
        raise InvalidEvent("subject", Reason.INVALID_FIELD, "it names another case than `case`", "Send one of them.")
    given = order.case if order.case is not None else order.subject
    if isinstance(order.do, Open):
        own = case_id(source, order.id)
        # Said again in a resend, it is what the first answer told.
        if given not in (None, own):
            fix = "Leave it out; the answer says which case was opened."
            raise InvalidEvent(field, Reason.INVALID_FIELD, "a case that is opened gets an id of its own", fix)
        return own
    kind = _KINDS.get(type(order.do))
    fits = "a case's id" if kind is None else f"`{kind}:` with an id"
    if given is None:
        raise InvalidEvent("case", Reason.MISSING_FIELD, "nothing says what it is about", f"Add `case`: {fits}.")
    about = _ABOUT.match(given)
    if (_CASE.match(given) is None) if kind is None else (about is None or about["kind"] != kind):
        detail = f"{name_of(order.do)!r} cannot be about {given[:ECHO_CHARS_MAX]!r}"
        raise InvalidEvent(field, Reason.INVALID_FIELD, detail, f"Send {fits}.")
    return given


def _check_given_by(do: Action, actor: Actor) -> None:
    """Raises InvalidEvent for what nobody, or no citizen, can ask for at this door."""
    if isinstance(do, DeadlinePassed):
        detail = "only the centre itself says that a deadline has passed"
        raise InvalidEvent("do.action", Reason.NOT_ALLOWED, detail, "Nothing needs to be sent: it does so in time.")
    if isinstance(do, Open) and actor.tracking is not None:
        detail = "a citizen opens no case by a command"
        raise InvalidEvent("do.action", Reason.NOT_ALLOWED, detail, "Post a report to /v1/reports.")
    if actor.tracking is not None and not isinstance(do, CITIZENS):
        # What is written in it would not be sealed, and it cannot be done anyway.
        detail = f"no citizen can ask for {name_of(do)!r}"
        fix = f"Send one of {', '.join(str(one.__struct_config__.tag) for one in CITIZENS)}."
        raise InvalidEvent("do.action", Reason.NOT_ALLOWED, detail, fix)
    if isinstance(do, Dispute | Reply) and words_in(do) is None:
        name = words_field(do)
        raise InvalidEvent(f"do.{name}", Reason.MISSING_FIELD, "nothing is said", f"Add `{name}`: why, or what.")
    if isinstance(do, Reply) and any(one.note for one in do.evidence):
        detail = "a note on an attachment would not be sealed"
        raise InvalidEvent("do.evidence", Reason.INVALID_FIELD, detail, "Leave `note` out, and say it in `text`.")
