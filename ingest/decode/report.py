"""Which event does a citizen's report make, and how is it followed?

The reference of a report is its case; the secret that opens it to the citizen is known to the citizen alone, and only
its hash is on the log. Both are made of what the citizen sent and of the centre's keys, so that a report that is sent
again, because the answer was lost, is the same one.
"""

import base64
import hashlib
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ingest.decode.cloudevents import whole
from schemas import codec
from schemas.case import CaseId, case_id
from schemas.errors import InvalidBody, InvalidEvent, Reason
from schemas.event import Attachments, GeoUri, Instant, Label, Text
from schemas.identity import tracking_of
from schemas.personal import KeyRing, Reporter
from schemas.site import Site
from schemas.site_file import suggestion

SOURCE = "ioc.web"
CHANNEL = "web"
"""Of reports that come in here."""

SECRET_BYTES = 16

OTHER = "other"
"""The category of a report that names none, where the site pack declares none."""


class CitizenReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a citizen sends. `place` or `area` says where; without `contact` nobody knows who it was.

    `time` is when it was so; without: now. `photos` are addresses, or names of stored blobs.
    """

    text: Annotated[Text, Meta(min_length=1)]
    category: Label | None = None
    title: Annotated[str, Meta(max_length=512)] | None = None
    place: GeoUri | None = None
    area: Label | None = None
    time: Instant | None = None
    contact: Reporter | None = None
    language: Annotated[str, Meta(max_length=16)] | None = None
    accused_agency: Label | None = None
    photos: Attachments = ()
    exercise: bool = False


class Drafted(Struct, frozen=True):
    """A report as an event in the sender's form, still to be judged like any other, and what its sender is told."""

    event: bytes
    case: CaseId
    secret: str


_decoder = msgspec.json.Decoder(CitizenReport)


def draft(body: bytes, *, token: bytes, ring: KeyRing, site: Site, received_at: datetime) -> Drafted:
    """Reads a report, and makes the event of it. Raises InvalidBody.

    `token` tells one report from another of the same words: the sender's key for it, or a random one.
    """
    try:
        report = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise whole(codec.explain(error)) from error
    if report.accused_agency is not None and (site.cases is None or not site.cases.conduct):
        detail = "this site takes no complaints about officials: cases.toml declares no category of kind 'conduct'"
        fix = "Leave `accused_agency` out, or send the complaint to the agency that supervises the official's."
        raise InvalidBody("accused_agency", Reason.INVALID_FIELD, detail, fix)
    if report.accused_agency is not None and report.accused_agency not in site.agencies:
        detail = f"agency {report.accused_agency!r} is not known"
        fix = suggestion(report.accused_agency, site.agencies)
        raise InvalidBody("accused_agency", Reason.INVALID_FIELD, detail, fix)
    # The words are in it, too: who guesses another one's key does not learn the secret without them.
    what = hashlib.sha256(len(token).to_bytes(8) + token + body).hexdigest()
    id_ = _text(ring.token("report", what)[:SECRET_BYTES])
    secret = _text(ring.token("secret", what)[:SECRET_BYTES])
    category = report.category or (OTHER if site.cases is None else site.cases.unsaid or site.cases.other)
    event = {
        "specversion": "1.0",
        "type": "ioc.feedback.received.v1",
        "source": SOURCE,
        "id": id_,
        "time": report.time or received_at,
        "area": report.area,
        "place": report.place,
        "exercise": report.exercise or None,
        "data": _given(
            category=category,
            channel=CHANNEL,
            title=report.title,
            text=report.text,
            accused_agency=report.accused_agency,
            tracking=tracking_of(secret.encode()),
            attachments=report.photos or None,
            # Also an empty one: it says that the title is a citizen's.
            reporter=_with_language(report) or Reporter(),
        ),
    }
    return Drafted(msgspec.json.encode(_given(**event)), case_id(SOURCE, id_), secret)


def field_of(refused: InvalidEvent) -> InvalidBody:
    """A refusal of the event in the words of the report that it was made of."""
    field = refused.field.removeprefix("data.")
    return InvalidBody({"reporter": "contact"}.get(field, field), refused.reason, refused.detail, refused.fix)


def _with_language(report: CitizenReport) -> Reporter | None:
    if report.contact is None or report.language is None or report.contact.language is not None:
        return report.contact
    return msgspec.structs.replace(report.contact, language=report.language)


def _given(**members: object) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
