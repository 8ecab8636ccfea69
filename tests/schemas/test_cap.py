"""Is what is told of a case CAP 1.2, and does it tell no more than it may?"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st

from schemas.cap import ATOM, HEADLINE_CHARS_MAX, NAMESPACE, cap_feed, cap_identifier, cap_of_case, cap_xml
from schemas.case import Kind, Severity, State
from schemas.channel import CapSettings
from tests.schemas.case_pack import AT, case, site

RULES = xmlschema.XMLSchema(Path(__file__).parent / "cap" / "cap-1.2-rules.xsd")
SITE = site()
SETTINGS = CapSettings(sender="ioc@example.vn", categories={"fire": "Fire"})
TEXTS = {"vi": ("Cháy ở Xã A", "Tránh xa khu vực."), "en": ("Fire in Commune A", "Keep away.")}
FIRE = case(category="fire", kind=Kind.INCIDENT, severity=Severity.CRITICAL, title="Anh Nam, 0912 345 678")


def made(**given: Any) -> str:
    return cap_xml(cap_of_case(SITE, SETTINGS, given.pop("of", FIRE), AT, given.pop("texts", TEXTS), **given))


def value(document: str, path: str) -> str | None:
    return ElementTree.fromstring(document).findtext("/".join(f"{{{NAMESPACE}}}{step}" for step in path.split("/")))


def test_an_alert() -> None:
    document = made()
    RULES.validate(document)
    said = {
        "sender": "ioc@example.vn",
        "sent": "2026-03-09T09:00:00+07:00",
        "status": "Actual",
        "msgType": "Alert",
        "info/category": "Fire",
        "info/urgency": "Immediate",
        "info/severity": "Extreme",
        "info/headline": "Cháy ở Xã A",
        "info/area/areaDesc": "Xã A, Tỉnh",
        "info/area/geocode/value": "01",
    }
    assert {path: value(document, path) for path in said} == said
    # What somebody has written about a case is not in it, nor where it is to the metre.
    assert "0912" not in document
    assert "105.01" not in document


def test_a_drill_is_an_exercise() -> None:
    assert value(made(of=case(category="fire", exercise=True)), "status") == "Exercise"


def test_a_later_one_takes_the_place_of_an_earlier_one() -> None:
    earlier = [(cap_identifier(FIRE, AT), datetime(2026, 3, 9, 1, 0, tzinfo=UTC))]
    updated = made(earlier=earlier)
    RULES.validate(updated)
    assert value(updated, "msgType") == "Update"
    assert value(updated, "references") == "ioc@example.vn,c-20260309T020000Z,2026-03-09T01:00:00-00:00"
    ended = made(of=case(category="fire", state=State.CLOSED), earlier=earlier)
    RULES.validate(ended)
    assert (value(ended, "msgType"), value(ended, "info/urgency")) == ("Cancel", "Past")


def test_never_of_a_complaint_about_an_official() -> None:
    with pytest.raises(ValueError, match="never"):
        made(of=case(kind=Kind.CONDUCT))


@given(st.text(max_size=300), st.text(min_size=1, max_size=300), st.sampled_from(State), st.sampled_from(Severity))
def test_whatever_is_said_is_xml_by_the_rules(headline: str, text: str, state: State, severity: Severity) -> None:
    texts = {"vi": (f"x{headline}", f"x{text}")}
    document = made(of=case(state=state, severity=severity), texts=texts)
    RULES.validate(document)
    assert len(value(document, "info/headline") or "") <= HEADLINE_CHARS_MAX


def test_a_feed_holds_whole_alerts() -> None:
    alerts = [cap_of_case(SITE, SETTINGS, FIRE, AT + timedelta(minutes=n), TEXTS) for n in range(2)]
    feed = ElementTree.fromstring(cap_feed("https://e.vn/cap", "Cảnh báo", "https://e.vn/cap.atom", alerts, AT))
    entries = feed.findall(f"{{{ATOM}}}entry")
    assert [one.findtext(f"{{{ATOM}}}title") for one in entries] == ["Cháy ở Xã A"] * 2
    assert len({one.findtext(f"{{{ATOM}}}id") for one in entries}) == 2
    for entry in entries:
        content = entry.find(f"{{{ATOM}}}content")
        assert content is not None
        RULES.validate(ElementTree.tostring(content[0], encoding="unicode"))
