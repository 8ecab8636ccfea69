"""Is a mistake in cases.toml found, with its line and how to mend it?"""

import pytest

from schemas.agency import is_below, parse_agencies, supervisors_of
from schemas.category import check_categories, parse_case_rules, supervising_agency
from schemas.errors import SiteError

AGENCIES = parse_agencies("""
[[agency]]
id = "province"
names = { en = "Province" }
[[agency]]
id = "inspection"
names = { en = "Inspection" }
supervisor = "province"
[[agency]]
id = "council"
names = { en = "Council" }
[[agency]]
id = "roads"
names = { en = "Roads" }
supervisor = "province"
[[agency]]
id = "bridges"
names = { en = "Bridges" }
supervisor = "roads"
""")

CASES = """
other = "other"
[[category]]
id = "other"
names = { en = "Other" }
[[category]]
id = "conduct"
names = { en = "Conduct" }
kind = "conduct"
agency = "inspection"
"""
RULES = parse_case_rules(CASES)


@pytest.mark.parametrize(
    ("accused", "agency"),
    [
        pytest.param("roads", "province", id="its supervisor"),
        pytest.param("bridges", "roads", id="the next one up"),
        pytest.param("inspection", "province", id="who gets the rest is accused"),
        pytest.param("council", "inspection", id="whom nobody supervises, but who is over nobody"),
        pytest.param("unheard of", "inspection", id="who is not declared"),
    ],
)
def test_who_deals_with_a_complaint(accused: str, agency: str) -> None:
    assert supervising_agency(RULES, AGENCIES, "conduct", accused) == agency


@pytest.mark.parametrize("agency", ["province", "inspection", "bridges"])
def test_nobody_deals_with_a_complaint_about_itself_or_who_is_over_it(agency: str) -> None:
    rules = parse_case_rules(CASES.replace('agency = "inspection"', f'agency = "{agency}"'))
    assert supervising_agency(rules, AGENCIES, "conduct", "province") is None


def test_a_complaint_never_goes_to_the_accused_or_below() -> None:
    for rest in AGENCIES:
        rules = parse_case_rules(CASES.replace('agency = "inspection"', f'agency = "{rest}"'))
        for accused in (*AGENCIES, "-", "unheard of"):
            found = supervising_agency(rules, AGENCIES, "conduct", accused)
            assert found is None or not is_below(AGENCIES, found, accused)


@pytest.mark.parametrize(
    ("agency", "over", "below"),
    [
        ("roads", "roads", True),
        ("bridges", "roads", True),
        ("bridges", "province", True),
        ("roads", "bridges", False),
    ],
)
def test_below(agency: str, over: str, below: bool) -> None:
    assert is_below(AGENCIES, agency, over) is below


def test_agencies_that_supervise_each_other_are_no_endless_way() -> None:
    agencies = parse_agencies("""
[[agency]]
id = "a"
names = { en = "A" }
supervisor = "b"
[[agency]]
id = "b"
names = { en = "B" }
supervisor = "a"
""")
    assert supervisors_of(agencies, "a") == ("b", "a")
    assert is_below(agencies, "a", "b")
    assert not is_below(agencies, "a", "c")


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        pytest.param(
            CASES.replace("inspection", "inspektion"), 10, "is not declared", id="an agency that is not there"
        ),
        pytest.param(
            CASES.replace('agency = "inspection"', ""), 7, "do not name an agency", id="nobody for the rest"
        ),
        pytest.param(CASES.replace("inspection", "province"), 7, "nobody but", id="only the accused itself"),
        pytest.param(CASES, 7, "nobody but 'province' and those below it", id="only who is below the accused"),
    ],
)
def test_a_mistake(text: str, line: int, reason: str) -> None:
    with pytest.raises(SiteError) as caught:
        check_categories(text, parse_case_rules(text), AGENCIES, [("roads",)])
    assert caught.value.position == f"line {line}"
    assert reason in caught.value.reason
    assert caught.value.fix


@pytest.mark.parametrize(
    ("seeing_all", "is_enough"),
    [
        pytest.param(None, True, id="a pack without people: everyone may do everything"),
        pytest.param([], False, id="nobody sees all"),
        pytest.param([("bridges",)], False, id="who sees all is below"),
        pytest.param([("council", "bridges")], False, id="who sees all is below by one of several agencies"),
        pytest.param([("council",), ("bridges",)], True, id="one of them is not below"),
        pytest.param([("council", "roads"), ()], True, id="somebody of no agency"),
    ],
)
def test_who_is_left_for_complaints_about_those_at_the_top(
    seeing_all: list[tuple[str, ...]] | None, is_enough: bool
) -> None:
    text = CASES.replace('"inspection"', '"roads"')
    if is_enough:
        check_categories(text, parse_case_rules(text), AGENCIES, seeing_all)
        return
    with pytest.raises(SiteError, match="those below it would get complaints of 'conduct'"):
        check_categories(text, parse_case_rules(text), AGENCIES, seeing_all)


def test_a_step_that_is_there_twice() -> None:
    text = CASES + 'steps = [{ id = "a", names = { en = "A" } }, { id = "a", names = { en = "B" } }]\n'
    with pytest.raises(SiteError, match="line 11: the step 'a' is there twice"):
        parse_case_rules(text)


def test_what_is_right() -> None:
    check_categories(CASES, RULES, AGENCIES, None)


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        pytest.param('unsaid = "x"\n' + CASES, "line 1", "'x' is not declared", id="a report without one"),
        pytest.param(CASES + "opens = false\n", "line 11", "would open no case", id="a complaint that opens none"),
        pytest.param(
            'proposals = { kinds = ["conduct"] }\n' + CASES, "line 1", "proposed as one", id="complaints put together"
        ),
    ],
)
def test_complaints_are_kept_apart(text: str, where: str, reason: str) -> None:
    with pytest.raises(SiteError, match=reason) as told:
        parse_case_rules(text)
    assert where in str(told.value)
