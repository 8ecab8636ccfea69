"""Which parts of a sender's event are personal, and how does it look without them?

What is personal is sealed before the event is written anywhere: on the log stand a sealed text, a pseudonym, and of a
plate what is left when it is masked. All else of the sender's bytes stays as it came.
"""

import msgspec

from schemas import codec
from schemas.errors import InvalidEvent, Reason
from schemas.event import AnyEvent, CameraIncident, Event, FeedbackReceived
from schemas.personal import CannotOpen, KeyRing, Personal, is_masked, mask_plate

BEARERS: tuple[type[Event], ...] = (FeedbackReceived, CameraIncident)
"""Event types that may hold something personal."""

_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def holds_personal(event: Event) -> bool:
    """Whether anything of it has to be sealed, or claims to be."""
    match event:
        case FeedbackReceived(data=data):
            return data.reporter is not None or data.personal is not None or data.person is not None
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
            "Leave `reporter` and `plate` out, or ask whoever runs the centre for keys.",
        )
    envelope = _object_decoder.decode(raw)
    data = _object_decoder.decode(envelope["data"])
    data.pop("person", None)
    personal = _personal_of(event, ring)
    if isinstance(event, CameraIncident):
        plate = event.data.plate
        if plate is not None:
            data["plate"] = msgspec.Raw(msgspec.json.encode(mask_plate(plate) if not is_masked(plate) else plate))
    else:
        data.pop("reporter", None)
        if personal is not None:
            data.pop("text", None)
    if personal is not None:
        sealed = ring.seal_personal(personal, event.source, event.id)
        person = ring.person_of(personal, event.source, event.id, calling_code)
        data |= {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in _sealed(sealed, person).items()}
    envelope["data"] = msgspec.Raw(msgspec.json.encode(data))
    apart = msgspec.json.encode(envelope)
    # It may be longer now than an event may be, and what is written has to be readable.
    codec.decode(apart)
    return apart


def _sealed(sealed: str, person: str) -> dict[str, str]:
    return {"personal": sealed, "person": person}


def _personal_of(event: FeedbackReceived | CameraIncident, ring: KeyRing) -> Personal | None:
    """What has to be sealed; None for a reporter who says nothing of themselves."""
    if event.data.personal is not None:
        # An event that was on the log before, and is sent again as it stood there.
        return _opened(event, event.data.personal, ring)
    if isinstance(event, CameraIncident):
        plate = event.data.plate
        if plate is not None and not is_masked(plate):
            return Personal(plate=plate)
    elif event.data.reporter is not None:
        if event.data.reporter.is_anonymous:
            return None
        return Personal(reporter=event.data.reporter, text=event.data.text)
    raise InvalidEvent(
        "data.person",
        Reason.NOT_SEALED,
        "only the centre says which person it is about",
        "Leave `person` out; send who reports as `reporter`.",
    )


def _opened(event: FeedbackReceived | CameraIncident, sealed: str, ring: KeyRing) -> Personal:
    fix = "Leave `personal` and `person` out; send who reports as `reporter`, and a plate as it is."
    open_too = event.data.reporter if isinstance(event, FeedbackReceived) else None
    is_twice = open_too is not None or (
        isinstance(event, CameraIncident) and event.data.plate is not None and not is_masked(event.data.plate)
    )
    if is_twice:
        detail = "it is sealed, and given openly besides"
        raise InvalidEvent("data.personal", Reason.NOT_SEALED, detail, fix)
    try:
        return ring.open_personal(sealed, event.source, event.id)
    except CannotOpen as error:
        detail = f"this centre has not sealed it for this event: {error}"
        raise InvalidEvent("data.personal", Reason.NOT_SEALED, detail, fix) from error
