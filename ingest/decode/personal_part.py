"""Which parts of a sender's event are personal, and how does it look without them?

What is personal is sealed before the event is written anywhere: on the log stand a sealed text, a pseudonym, and of a
plate what is left when it is masked. All else of the sender's bytes stays as it came.
"""

import msgspec
from msgspec.structs import replace

from schemas import codec
from schemas.command import without_words, words_field, words_in
from schemas.errors import InvalidEvent, Reason
from schemas.event import AnyEvent, CameraIncident, CaseCommand, Event, FeedbackReceived
from schemas.personal import CannotOpen, KeyRing, Personal, citizens_part, is_masked, mask_plate, with_title

BEARERS: tuple[type[Event], ...] = (FeedbackReceived, CameraIncident)
"""Event types that may hold something personal."""

OWN_FIELDS = ("personal", "person", "author")
"""What of an event's data only the centre sets."""

_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def holds_personal(event: Event) -> bool:
    """Whether anything of it has to be sealed, or claims to be."""
    match event:
        case FeedbackReceived(data=data):
            return any(one is not None for one in (data.reporter, data.text, data.personal, data.person, data.author))
        case CameraIncident(data=data):
            is_open = data.plate is not None and not is_masked(data.plate)
            return is_open or data.personal is not None or data.person is not None
        case _:
            return False


def kept_apart(event: AnyEvent, raw: bytes, ring: KeyRing | None, calling_code: str | None) -> bytes:
    """The bytes of a decoded event with its personal part sealed; `raw` itself where it has none.

    Raises InvalidEvent when there are no keys to seal it with, and when it claims to be sealed and is not.
    """
    if not isinstance(event, FeedbackReceived | CameraIncident) or not holds_personal(event):
        return raw
    if ring is None:
        raise InvalidEvent(
            "data",
            Reason.NO_KEYS,
            "it holds something personal, and this centre has no keys to seal it with",
            "Leave `reporter`, `text` and `plate` out, or ask whoever runs the centre for keys.",
        )
    envelope = _object_decoder.decode(raw)
    data = _object_decoder.decode(envelope["data"])
    personal = _personal_of(event, ring)
    for name in OWN_FIELDS:
        data.pop(name, None)
    if isinstance(event, CameraIncident):
        plate = event.data.plate
        if plate is not None:
            data["plate"] = msgspec.Raw(msgspec.json.encode(mask_plate(plate) if not is_masked(plate) else plate))
    else:
        data.pop("text", None)
        data.pop("reporter", None)
        if event.data.reporter is not None or event.data.person is not None:
            # Without one the title is the sender's own word for it, as a list of kinds has it.
            data.pop("title", None)
    if personal is not None:
        corrects = event.supersedes or event.withdraws
        sealed = {"personal": ring.seal_personal(personal, event.source, event.id)}
        sealed |= ring.pseudonym(personal, event.source, event.id, calling_code, corrects)
        data |= {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in sealed.items()}
    envelope["data"] = msgspec.Raw(msgspec.json.encode(data))
    apart = msgspec.json.encode(envelope)
    # It may be longer now than an event may be, and what is written has to be readable.
    codec.decode(apart)
    return apart


def with_sealed_words(event: CaseCommand, ring: KeyRing | None) -> CaseCommand:
    """A citizen's command with the citizen's own words sealed, and how many characters they are.

    Under whose key they are kept is found where the report is known. Raises InvalidEvent without keys to seal with.
    """
    command = event.data
    words = words_in(command.do)
    if words is None:
        return event
    if ring is None:
        raise InvalidEvent(
            f"do.{words_field(command.do)}",
            Reason.NO_KEYS,
            "what citizens write is sealed, and this centre has no keys to seal it with",
            "Ask whoever runs the centre for keys.",
        )
    sealed = ring.seal_personal(Personal(text=words), event.source, event.id)
    command = replace(command, do=without_words(command.do), words=len(words), personal=sealed)
    return replace(event, data=command)


def _personal_of(event: FeedbackReceived | CameraIncident, ring: KeyRing) -> Personal | None:
    """What has to be sealed; None for a citizen who says nothing at all."""
    if event.data.personal is not None:
        # An event that was on the log before, and is sent again as it stood there.
        return _opened(event, event.data.personal, ring)
    if isinstance(event, CameraIncident):
        plate = event.data.plate
        if plate is not None and not is_masked(plate):
            return Personal(plate=plate)
    elif event.data.person is None and event.data.author is None:
        return citizens_part(event.data.reporter, event.data.title, event.data.text)
    raise InvalidEvent(
        "data.person" if event.data.person is not None else "data.author",
        Reason.NOT_SEALED,
        "only the centre says which person it is about",
        "Leave `person` and `author` out; send who reports as `reporter`.",
    )


def _opened(event: FeedbackReceived | CameraIncident, sealed: str, ring: KeyRing) -> Personal:
    fix = "Leave `personal`, `person` and `author` out; send who reports as `reporter`, and a plate as it is."
    if isinstance(event, FeedbackReceived):
        is_twice = event.data.reporter is not None or event.data.text is not None
    else:
        is_twice = event.data.plate is not None and not is_masked(event.data.plate)
    if is_twice:
        detail = "it is sealed, and given openly besides"
        raise InvalidEvent("data.personal", Reason.NOT_SEALED, detail, fix)
    try:
        personal = ring.open_personal(sealed, event.source, event.id)
    except CannotOpen as error:
        detail = f"this centre has not sealed it for this event: {error}"
        raise InvalidEvent("data.personal", Reason.NOT_SEALED, detail, fix) from error
    if isinstance(event, FeedbackReceived) and event.data.title is not None:
        if personal.title is not None:
            raise InvalidEvent("data.title", Reason.NOT_SEALED, "it is sealed, and given openly besides", fix)
        if event.data.person is not None:
            # It was on the log before titles were sealed.
            return with_title(personal, event.data.title)
    return personal
