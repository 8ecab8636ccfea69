"""How does a case look as an alert that other systems understand?

The Common Alerting Protocol, so that loudspeakers, sirens and other centres can take it up, and an Atom feed of such
alerts. What of a case may be told everyone is told; nothing else of it is in here.

Source: OASIS Common Alerting Protocol 1.2 (XML namespace urn:oasis:names:tc:emergency:cap:1.2); RFC 4287 (Atom).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from xml.etree import ElementTree

from msgspec import Struct

from schemas.area_id import AreaId
from schemas.case import Case, Kind, Severity, State
from schemas.channel import CapCategory, CapSettings
from schemas.notice_text import one_line, shortened
from schemas.site import Site

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
MEDIA_TYPE = "application/cap+xml"
ATOM = "http://www.w3.org/2005/Atom"
ATOM_MEDIA_TYPE = "application/atom+xml"

HEADLINE_CHARS_MAX = 160
"""CAP 1.2 says that some devices show no more."""

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_IN_NAMES = re.compile(r"[\s,<&]+")

_SEVERITY: Mapping[Severity, str] = {
    Severity.INFO: "Minor",
    Severity.MINOR: "Minor",
    Severity.MAJOR: "Severe",
    Severity.CRITICAL: "Extreme",
}
_URGENCY: Mapping[Severity, str] = {
    Severity.INFO: "Unknown",
    Severity.MINOR: "Future",
    Severity.MAJOR: "Expected",
    Severity.CRITICAL: "Immediate",
}
_OVER = frozenset({State.RESOLVED, State.CONFIRMED, State.CLOSED, State.REJECTED, State.MERGED})

MessageType = Literal["Alert", "Update", "Cancel"]


class CapInfo(Struct, frozen=True, kw_only=True):
    """What is said, in one language (RFC 3066)."""

    language: str
    event: str
    headline: str
    description: str
    sender_name: str
    area: str


class CapAlert(Struct, frozen=True, kw_only=True):
    """One CAP message. `references` are `sender,identifier,sent` of those that it takes the place of.

    `geocode`  the code of the area, with the name of its list
    """

    identifier: str
    sender: str
    sent: datetime
    type: MessageType
    category: CapCategory
    severity: Severity
    certainty: Literal["Observed", "Likely", "Possible", "Unlikely", "Unknown"]
    onset: datetime
    expires: datetime
    info: tuple[CapInfo, ...]
    geocode: tuple[str, str]
    exercise: bool = False
    references: tuple[str, ...] = ()
    is_over: bool = False


def cap_of_case(
    site: Site,
    settings: CapSettings,
    case: Case,
    sent: datetime,
    texts: Mapping[str, tuple[str, str]],
    earlier: Sequence[tuple[str, datetime]] = (),
) -> CapAlert:
    """The alert that tells of a case at a moment.

    `texts` are headline and description by language; `earlier` identifiers and times of what was sent of this case
    before. Never of a complaint about an official: ValueError, since whoever asks has not looked.
    """
    if case.kind is Kind.CONDUCT:
        raise ValueError("a complaint about an official is never published")
    area = site.areas.or_root(case.area)
    category = None if site.cases is None else site.cases.of(case.category)
    names = {} if category is None else category.names
    is_over = case.state in _OVER
    return CapAlert(
        identifier=cap_identifier(case, sent),
        sender=settings.sender,
        sent=sent,
        type="Cancel" if is_over and earlier else "Update" if earlier else "Alert",
        category=settings.categories.get(case.category, "Other"),
        severity=case.severity,
        certainty="Observed" if case.kind in (Kind.INCIDENT, Kind.VIOLATION) else "Likely",
        onset=case.opened_at,
        expires=sent + timedelta(hours=settings.expires_hours),
        info=tuple(
            CapInfo(
                language=language,
                event=names.get(language) or case.category,
                headline=headline,
                description=description,
                sender_name=site.header.names.get(language) or site.header.id,
                area=_area_name(site, area.id, language),
            )
            for language, (headline, description) in texts.items()
        ),
        geocode=(area.list_id, area.code),
        exercise=case.exercise,
        references=tuple(f"{settings.sender},{identifier},{_moment(at)}" for identifier, at in earlier),
        is_over=is_over,
    )


def cap_identifier(case: Case, sent: datetime) -> str:
    """The message's own name: the same for the same case and moment."""
    return f"{case.id}-{sent.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def cap_xml(alert: CapAlert) -> str:
    """The alert as an XML document."""
    ElementTree.register_namespace("", NAMESPACE)
    return _document(_alert(alert))


def _alert(alert: CapAlert) -> ElementTree.Element:
    """Elements are in the order of the standard; what XML cannot hold is left out."""
    root = ElementTree.Element(f"{{{NAMESPACE}}}alert")
    _add(
        root,
        ("identifier", _name(alert.identifier)),
        ("sender", _name(alert.sender)),
        ("sent", _moment(alert.sent)),
        ("status", "Exercise" if alert.exercise else "Actual"),
        ("msgType", alert.type),
        ("scope", "Public"),
    )
    if alert.references:
        _add(root, ("references", " ".join(alert.references)))
    for said in alert.info:
        info = _element(root, "info")
        _add(
            info,
            ("language", said.language),
            ("category", alert.category),
            ("event", one_line(said.event)),
            ("urgency", "Past" if alert.is_over else _URGENCY[alert.severity]),
            ("severity", _SEVERITY[alert.severity]),
            ("certainty", alert.certainty),
            ("onset", _moment(alert.onset)),
            ("expires", _moment(alert.expires)),
            ("senderName", said.sender_name),
            ("headline", shortened(one_line(said.headline), HEADLINE_CHARS_MAX)),
            ("description", said.description),
        )
        area = _element(info, "area")
        _add(area, ("areaDesc", said.area))
        _add(_element(area, "geocode"), ("valueName", alert.geocode[0]), ("value", alert.geocode[1]))
    return root


def cap_feed(id_: str, title: str, address: str, alerts: Iterable[CapAlert], updated: datetime) -> str:
    """An Atom feed of alerts, each whole within its entry. `id_` and `address` are absolute."""
    ElementTree.register_namespace("atom", ATOM)
    ElementTree.register_namespace("", NAMESPACE)
    feed = ElementTree.Element(f"{{{ATOM}}}feed")
    _add_atom(feed, ("id", id_), ("title", title), ("updated", _moment(updated)))
    ElementTree.SubElement(feed, f"{{{ATOM}}}link", {"rel": "self", "href": address, "type": ATOM_MEDIA_TYPE})
    for alert in alerts:
        entry = ElementTree.SubElement(feed, f"{{{ATOM}}}entry")
        _add_atom(
            entry,
            ("id", f"{id_}/{_name(alert.identifier)}"),
            ("title", one_line(alert.info[0].headline) if alert.info else alert.identifier),
            ("updated", _moment(alert.sent)),
        )
        _add_atom(ElementTree.SubElement(entry, f"{{{ATOM}}}author"), ("name", alert.sender))
        content = ElementTree.SubElement(entry, f"{{{ATOM}}}content", {"type": MEDIA_TYPE})
        content.append(_alert(alert))
    return _document(feed)


def _area_name(site: Site, area: AreaId, language: str) -> str:
    """The area's name with that of the one above it."""
    path = site.areas.path(area)[:2]
    return ", ".join(site.areas[id_].names.get(language) or site.areas[id_].code for id_ in path)


def _moment(at: datetime) -> str:
    """Whole seconds with an offset. CAP 1.2 wants `-00:00` for UTC, and no Z."""
    text = at.replace(microsecond=0).isoformat()
    return text.replace("+00:00", "-00:00") if text.endswith("+00:00") else text


def _name(text: str) -> str:
    """CAP 1.2: identifiers and senders hold no spaces, commas or restricted characters."""
    return _NOT_IN_NAMES.sub("-", text)


def _element(parent: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, f"{{{NAMESPACE}}}{name}")


def _add(parent: ElementTree.Element, *children: tuple[str, str]) -> None:
    for name, text in children:
        _element(parent, name).text = _NOT_XML.sub("", text)


def _add_atom(parent: ElementTree.Element, *children: tuple[str, str]) -> None:
    for name, text in children:
        ElementTree.SubElement(parent, f"{{{ATOM}}}{name}").text = _NOT_XML.sub("", text)


def _document(root: ElementTree.Element) -> str:
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")
