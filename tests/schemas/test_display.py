"""Does a screen see what its person sees of cases, and nothing that is a person's own?"""

import pytest

from schemas.display import display_let_in, display_with, hash_of, is_display, new_key
from schemas.errors import AccessReason, AccessRefused, SiteError
from schemas.identity import Seen, actor_from, may_see
from schemas.site import Site, mistakes, parse_site
from tests.dashboard.case_centre import PACK

KEY = new_key()


def entry(name: str = "hall", person: str = "olga", key: str = KEY) -> str:
    return f'[[display]]\nid = "{name}"\nas = "{person}"\nkey = "{hash_of(key)}"\nadded = 2026-11-22\n'


def site_with(*entries: str) -> Site:
    return parse_site({**PACK, "displays.toml": "\n".join(entries)})


def test_a_key_opens_the_sight_of_one_person_and_no_role() -> None:
    site = site_with(entry(person="paul"))
    display = display_with(site, KEY)
    assert display is not None
    actor = display_let_in(site, display.key)
    assert (actor.id, actor.roles, actor.unit, actor.agency) == ("display:hall", ("display",), None, None)
    assert actor.areas == actor_from(site, site.people["paul"]).areas
    assert actor.agencies == ("police",)
    assert is_display(actor)
    assert not is_display(actor_from(site, site.people["paul"]))


@pytest.mark.parametrize(
    ("agency", "accused", "seen"),
    [
        pytest.param("police", None, True, id="the person's own agency"),
        pytest.param(None, None, True, id="nobody's yet"),
        pytest.param("works", None, False, id="another agency's"),
        pytest.param("police", "works", False, id="a complaint that the person would see"),
    ],
)
def test_it_sees_the_persons_cases_but_no_complaints(agency: str | None, accused: str | None, seen: bool) -> None:
    site = site_with(entry(person="paul"))
    case = Seen(areas=[site.areas.root.id], agency=agency, accused_agency=accused)
    assert may_see(display_let_in(site, hash_of(KEY)), case) is seen
    # The person sees the complaint, too, where the person's agency handles it.
    assert may_see(actor_from(site, site.people["paul"]), case) is (seen or accused is not None)


@pytest.mark.parametrize("agency", [None, "city", "state", "police"])
@pytest.mark.parametrize("person", ["olga", "paula", "ada"])
def test_who_sees_all_lends_it_no_complaint_whoever_has_it(person: str, agency: str | None) -> None:
    site = site_with(entry(person=person))
    actor = display_let_in(site, hash_of(KEY))
    root = [site.areas.root.id]
    assert not may_see(actor, Seen(areas=root, agency=agency, accused_agency="works"))
    assert all(may_see(actor, Seen(areas=root, agency=one, accused_agency=None)) for one in (*site.agencies, None))


@pytest.mark.parametrize(
    "key",
    [new_key(), "", "ioc-display-", hash_of(KEY), KEY + "x" * 200],
    ids=["another", "empty", "its beginning", "its hash", "too long"],
)
def test_what_is_no_key_opens_nothing(key: str) -> None:
    assert display_with(site_with(entry()), key) is None


def test_who_is_taken_out_sees_nothing_any_more() -> None:
    with pytest.raises(AccessRefused) as refused:
        display_let_in(site_with(), hash_of(KEY))
    assert refused.value.reason is AccessReason.UNKNOWN_DISPLAY


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        pytest.param(entry(person="nobody"), 3, "person 'nobody' is not known", id="unknown person"),
        pytest.param(entry(person="uma"), 3, "in a unit and nothing else", id="a unit"),
        pytest.param(entry() + entry("room"), 9, "has the key of 'hall'", id="the same key twice"),
        pytest.param(entry() + entry(key=new_key()), 7, "used twice", id="the same name twice"),
        pytest.param(entry(name="Hall!"), 2, "", id="no name"),
        pytest.param(entry().replace('key = "', 'key = "zz'), 4, "", id="no hash"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(SiteError) as wrong:
        site_with(text)
    assert (wrong.value.file, wrong.value.position) == ("displays.toml", f"line {line}")
    assert reason in wrong.value.reason
    assert [one.file for one in mistakes({**PACK, "displays.toml": text})] == ["displays.toml"]
