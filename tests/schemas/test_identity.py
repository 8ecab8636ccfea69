"""Does people.toml give each person what it says, and is each mistake in it named with its line?"""

import pytest

from schemas.errors import SiteError
from schemas.identity import NOBODY, Role, Seen, actor_from, actor_of_subject, actor_without_token, may_see
from schemas.site import mistakes, parse_site
from tests.dashboard.centre import redrawn_site
from tests.schemas.case_pack import FILES
from tests.schemas.people import people_pack, people_site

ONE = """
[[person]]
id = "an"
name = "An"
roles = ["operator"]
areas = ["00"]
"""


@pytest.mark.parametrize(
    ("text", "position", "reason", "fix"),
    [
        pytest.param("", "line 1", "`person` is missing", "Add it.", id="a file that declares nobody"),
        pytest.param("person = []", "line 1", "length >= 1", "", id="an empty list"),
        pytest.param(ONE + ONE, "line 9", "'an' is used twice", "Give every person their own.", id="an id twice"),
        pytest.param(ONE + 'rank = "x"', "line 7", "`rank` is not a key here", "", id="an unknown key"),
        pytest.param(ONE.replace('"operator"', '"operater"'), "line 5", "'operater'", "'operator'", id="a role"),
        pytest.param(
            ONE.replace("operator", "system"), "line 5", "only the centre itself is", "auditor", id="system"
        ),
        pytest.param(ONE.replace("operator", "citizen"), "line 5", "tracking secret", "operator", id="citizen"),
        pytest.param(ONE.replace('["operator"]', "[]"), "line 5", "length >= 1", "", id="no role"),
        pytest.param(ONE.replace('["00"]', "[]"), "line 6", "length >= 1", "", id="no area"),
        pytest.param(
            ONE.replace('id = "an"', 'id = "a b"'), "line 3", "`id`", "", id="an id that no source can have"
        ),
        pytest.param(ONE.replace("operator", "unit"), "line 5", "has no unit", "Give both", id="a unit's role alone"),
        pytest.param(ONE + 'unit = "a"', "line 5", "has a unit", "Give both", id="a unit without its role"),
        pytest.param(
            ONE + "quiet_from = 22:00:00", "line 2", "only one of", "Give both", id="half of the quiet hours"
        ),
        pytest.param(ONE.replace('"00"', '"0"'), "line 6", "area '0' is not known", "'vn-test'", id="an area"),
        pytest.param(ONE + 'agency = "rods"', "line 7", "agency 'rods' is not known", "'roads'", id="an agency"),
        pytest.param(ONE + 'agencies = ["*", "x"]', "line 7", "agency 'x'", "roads", id="another agency"),
        pytest.param(ONE + 'language = "fr"', "line 7", "language 'fr'", "vi, en", id="a language"),
        pytest.param(
            ONE.replace("operator", "unit") + 'unit = "z"', "line 7", "unit 'z' is not known", "a, b, c", id="a unit"
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_and_fix(text: str, position: str, reason: str, fix: str) -> None:
    with pytest.raises(SiteError) as caught:
        people_site(text)
    error = caught.value
    assert (error.file, error.position) == ("people.toml", position)
    assert reason in error.reason
    assert fix in error.fix
    assert [str(one) for one in mistakes(people_pack(text))] == [str(error)]


def test_codes_become_area_ids_and_a_star_is_no_agency() -> None:
    found = people_site()
    operator = actor_from(found, found.people["an.operator"])
    assert operator.id == "an.operator"
    assert operator.roles == ("operator", "dispatcher")
    assert (operator.sees_all, operator.agencies, operator.agency) == (True, (), "province")
    root = found.areas.root.id
    assert operator.areas == (root,)
    unit = actor_from(found, found.people["chi.unit"])
    assert (unit.unit, unit.sees_all, unit.agency) == ("a", False, None)


def test_an_area_stands_for_what_lay_wholly_in_it_before_the_map_was_redrawn() -> None:
    people = people_site().people
    redrawn = redrawn_site()
    person = people["an.operator"]
    part = actor_from(redrawn, type(person)(id="a", name="A", roles=[Role.OPERATOR], areas=["A"]))
    assert part.areas == ("A", "x")
    whole = actor_from(redrawn, type(person)(id="a", name="A", roles=[Role.OPERATOR], areas=["P"]))
    assert set(whole.areas) == {"P", "d"}


def test_a_code_that_a_newer_map_lacks_gives_nothing() -> None:
    found = people_site()
    person = found.people["binh.roads"]
    elsewhere = type(person)(id="a", name="A", roles=[Role.OPERATOR], areas=["99"])
    assert actor_from(found, elsewhere).areas == ()


def test_without_people_everyone_may_do_all_and_with_them_nobody_without_a_token() -> None:
    open_pack = parse_site({name: text for name, text in FILES.items() if name != "people.toml"})
    anyone = actor_without_token(open_pack)
    case = Seen(areas=[open_pack.areas.root.id], agency="roads", accused_agency=None)
    assert set(anyone.roles) == {"operator", "dispatcher", "leader"}
    assert may_see(anyone, case)
    closed = people_site()
    assert actor_without_token(closed) is NOBODY
    assert not may_see(NOBODY, case)
    assert not may_see(NOBODY, Seen(areas=[], agency=None, accused_agency=None, units=[""], tracking=[""]))
    assert actor_of_subject(closed, "somebody") is None
    assert actor_of_subject(closed, "binh.roads") == actor_from(closed, closed.people["binh.roads"])
