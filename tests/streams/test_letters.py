"""Who gets which words by which channel, and when? Every case of it, without a database."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.case import Case, CaseId, Kind, Severity
from schemas.channel import FolderChannel
from schemas.identity import actor_from
from schemas.notice import Why
from schemas.personal import Reporter
from schemas.site import Site
from streams.core.letters import Posting, Unreached, citizen_address, letters_of, next_time, quiet_until
from streams.core.notice import Notice, to_agency, to_unit
from tests.schemas.case_pack import AT, BERLIN, HANOI, UNITS, berlin, case, hanoi
from tests.schemas.channel_pack import CHANNELS, channel_site

SITE = channel_site()
POTHOLE = case(category="pothole", agency="roads", title="Ổ gà", severity=Severity.MINOR)
NIGHT = hanoi("2026-03-09T23:10")
MAI = Reporter(name="Mai", phone="0912345678", email="mai@example.vn")


def made(
    why: Why,
    *to: str,
    of: Case = POTHOLE,
    now: datetime = AT,
    site: Site = SITE,
    reporters: Mapping[str, Reporter] | None = None,
    said: str = "",
    **given: Any,
) -> list[Posting | Unreached]:
    notice = Notice(case=CaseId("c"), to=to, why=why, at=now, **given)
    return list(letters_of(site, "notice:1", notice, of, reporters or {}, said, now))


def due(why: Why, *to: str, **given: Any) -> dict[str, datetime | None]:
    """When each letter may go."""
    return {one.letter.to: one.due_at for one in made(why, *to, **given) if isinstance(one, Posting)}


def test_at_night_what_is_not_urgent_waits_for_the_morning() -> None:
    assert due(Why.BREACHED, "an", now=NIGHT) == {"person:an": hanoi("2026-03-10T06:00")}
    assert due(Why.BREACHED, "an", now=AT) == {"person:an": None}


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"why": Why.ESCALATED, "detail": {"unit": "a"}}, id="an escalation"),
        pytest.param({"why": Why.BREACHED, "of": replace(POTHOLE, severity=Severity.CRITICAL)}, id="a critical case"),
        pytest.param(
            {
                "why": Why.BREACHED,
                "site": channel_site(
                    CHANNELS.replace('why = ["assigned", "b', 'urgent = true\nwhy = ["assigned", "b')
                ),
            },
            id="what the pack calls urgent",
        ),
    ],
)
def test_what_is_urgent_goes_at_once_past_quiet_hours_and_digests(given: dict[str, Any]) -> None:
    why = given.pop("why")
    assert due(why, "an", "dung", now=NIGHT, **given) == {"person:an": None, "person:dung": None}


def test_a_digest_is_one_message_a_day() -> None:
    first, second = (made(Why.BREACHED, "dung", now=AT + timedelta(hours=n))[0] for n in (0, 9))
    assert isinstance(first, Posting)
    assert isinstance(second, Posting)
    assert first.due_at == second.due_at == hanoi("2026-03-10T07:30")
    assert first.id == second.id
    assert (first.line or "").startswith("nhẹ: Ổ gà\n")
    # What comes within the last minute may be too late for it.
    late = made(Why.BREACHED, "dung", now=hanoi("2026-03-10T07:29:30"))[0]
    assert isinstance(late, Posting)
    assert late.due_at == hanoi("2026-03-11T07:30")


def test_citizens_sleep_too() -> None:
    assert due(Why.ANSWERED, "subscribers", reporters={"m": MAI}, now=NIGHT) == {
        "citizen:m": hanoi("2026-03-10T06:30")
    }


def test_citizens_are_told_by_the_first_channel_that_reaches_them() -> None:
    mail_only = Reporter(email="x@example.vn", language="en")
    found = made(
        Why.ANSWERED, "subscribers", reporters={"m": MAI, "x": mail_only, "n": Reporter(name="N")}, said="Ok"
    )
    assert [(one.channel, one.letter.to, one.letter.language) for one in found] == [
        ("sms", "citizen:m", "vi"),
        ("mail", "citizen:x", "en"),
    ]
    assert found[1].letter.text == "Your report c: Ok"
    files = FolderChannel(id="f", path="f")
    assert citizen_address(files, "m", MAI) == "m"
    assert citizen_address(files, "n", Reporter(name="N")) is None


def test_a_person_who_is_meant_twice_is_told_once() -> None:
    found = made(Why.ESCALATED, to_agency("roads"), "an", detail={"unit": "a"})
    assert [one.letter.to for one in found] == ["person:an"]


def test_what_the_pack_says_nothing_about_is_not_sent() -> None:
    assert made(Why.DECLINED, to_agency("roads"), to_unit("a"), "subscribers", reporters={"m": MAI}) == []


def test_a_unit_whose_offer_is_over_is_told_that_it_is() -> None:
    site = channel_site(units_toml=UNITS.replace('["push", "sms"]', '["sms"]'))
    found = made(Why.WITHDRAWN, to_unit("a"), site=site, detail={"offer": 1, "reason": "done"})
    assert [(one.channel, one.letter.to, one.letter.text) for one in found] == [
        ("sms", "person:chi", "Not needed: c: done")
    ]


@pytest.mark.parametrize(
    ("changed", "channels"),
    [
        pytest.param({}, ["partner"], id="any case"),
        pytest.param(
            {"category": "fire", "severity": Severity.CRITICAL}, ["partner", "horns"], id="a fire in the area"
        ),
        pytest.param({"category": "fire"}, ["partner"], id="a small fire"),
        pytest.param(
            {"category": "fire", "severity": Severity.CRITICAL, "areas": ("00", "02"), "area": "02"},
            ["partner"],
            id="a fire elsewhere",
        ),
        pytest.param({"kind": Kind.CONDUCT}, [], id="a complaint about an official"),
        pytest.param({"accused_agency": "roads"}, [], id="about somebody of an agency"),
    ],
)
def test_copies_go_where_the_pack_says(changed: dict[str, Any], channels: list[str]) -> None:
    found = made(Why.ASSIGNED, to_agency("power"), of=replace(POTHOLE, **changed))
    assert [one.channel for one in found] == channels


def test_a_drill_says_so_and_is_not_played() -> None:
    fire = replace(POTHOLE, category="fire", severity=Severity.CRITICAL, exercise=True)
    found = made(Why.ASSIGNED, "an", of=fire, exercise=True)
    assert [one.channel for one in found] == ["mail", "partner"]
    assert all(one.letter.title.startswith("[DIỄN TẬP]") for one in found)
    assert "<status>Exercise</status>" in (found[1].letter.cap or "")
    loud = channel_site(CHANNELS.replace('kind = "loudspeaker"', 'kind = "loudspeaker"\ndrills = true'))
    assert "horns" in [one.channel for one in made(Why.ASSIGNED, "an", of=fire, exercise=True, site=loud)]


@pytest.mark.parametrize(("title", "called"), [("Ổ gà", "Ổ gà"), ("", "pothole")])
def test_a_case_without_a_title_is_called_by_its_category(title: str, called: str) -> None:
    """What citizens call it is sealed with their words, and goes into no letter."""
    (found,) = made(Why.BREACHED, "an", of=replace(POTHOLE, title=title))
    assert found.letter.title.endswith(f": {called}")
    assert found.letter.text == f"c {called} hạn"
    copied = [one.letter for one in made(Why.ASSIGNED, "nobody", of=replace(POTHOLE, title=title, published=True))]
    assert [one.text for one in copied] == [f"Có pothole ở Xã A. {title}".rstrip()]


@pytest.mark.parametrize("why", list(Why))
@pytest.mark.parametrize("accused", [None, "roads", "power"])
def test_nobody_gets_a_letter_about_what_they_may_not_see(why: Why, accused: str | None) -> None:
    every = ", ".join(f'"{one}"' for one in Why)
    site = channel_site(CHANNELS.replace('why = ["assigned", "breached", "escalated"]', f"why = [{every}]", 1))
    of = replace(POTHOLE, agency="province", accused_agency=accused)
    everyone = [to_agency(one) for one in site.agencies] + list(site.people)
    told = {one.letter.to for one in made(why, *everyone, of=of, site=site) if isinstance(one, Posting)}
    agencies = {site.people[to.removeprefix("person:")].agency for to in told if to.startswith("person:")}
    if accused is not None:
        assert accused not in agencies
        assert agencies <= {"province"}
    assert "person:dung" in told
    assert actor_from(site, site.people["dung"]).agency == "province"


@given(st.integers(0, 60 * 24 * 400), st.times(), st.times())
def test_quiet_hours_end_when_they_end(minutes: int, begins: time, ends: time) -> None:
    now = AT + timedelta(minutes=minutes)
    until = quiet_until(now, HANOI, begins, ends)
    if until is None:
        return
    assert now < until <= now + timedelta(days=1)
    local = until.astimezone(HANOI)
    assert local.time() == ends
    # Once they have ended they do not go on.
    assert quiet_until(until, HANOI, begins, ends) is None


def test_the_next_time_where_clocks_skip_an_hour() -> None:
    assert next_time(berlin("2026-03-29T00:00"), BERLIN, time(2, 30)) == berlin("2026-03-29T03:30")
