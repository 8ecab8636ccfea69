"""Is the unit that should go found, with the reasons?"""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.area_id import AreaId
from schemas.case import Case, CaseId, Offer, OfferStep, Refusal
from schemas.dispatching import Suggestion, check_unit, suggest
from schemas.unit import UnitState, UnitStatus
from tests.schemas.case_pack import AT, UNITS, case, hanoi, site

SITE = site()
POTHOLE = case(category="pothole", agency="roads")
NIGHT = hanoi("2026-03-09T23:00")


def state(unit: str, **other: object) -> UnitState:
    return UnitState(unit=unit, **other)  # type: ignore[arg-type]


def offered(unit: str, step: OfferStep) -> Case:
    return case(category="pothole", offers=(Offer(number=1, unit=unit, step=step, at={OfferStep.OFFERED: AT}),))


def by_unit(found: list[Suggestion]) -> dict[str, Suggestion]:
    return {one.unit: one for one in found}


def test_nearest_capable() -> None:
    """Of those that could be sent the nearest one of the case's agency, each with its reasons."""
    found = suggest(SITE, POTHOLE, {}, AT)
    assert [one.unit for one in found] == ["a", "b", "c"]
    assert all(one.capable for one in found)
    assert found[0].reasons == ("distance_m:1038", "position:base", "skill:road", "load:0/1", "agency:own")
    assert found[0].distance_m == pytest.approx(1038, abs=1)
    assert "agency:other" in found[2].reasons


def test_other_agency_nearby() -> None:
    """Another agency's unit comes first when it is very much nearer."""
    there = {"c": state("c", lat=21.0, lon=105.01, position_at=AT)}
    far = case(category="pothole", agency="roads", place="geo:21.4,105.4")
    assert suggest(SITE, far, {"c": state("c", lat=21.4, lon=105.4, position_at=AT)}, AT)[0].unit == "c"
    assert suggest(SITE, POTHOLE, there, AT)[0].unit == "a"


def test_lacking_skill_comes_last() -> None:
    """A unit that lacks a skill stays in the list, behind all that could go, with what it lacks."""
    found = suggest(SITE, case(category="fire"), {}, AT)
    assert [one.unit for one in found] == ["b", "c", "a"]
    assert not found[2].capable
    assert "lacks:fire" in found[2].reasons
    assert "skill:road" in found[2].reasons


@pytest.mark.parametrize(
    ("age_s", "position"),
    [
        pytest.param(600, "position:fresh", id="ten minutes old, the limit"),
        pytest.param(601, "position:base", id="a second older"),
        pytest.param(-30, "position:fresh", id="its clock is ahead"),
    ],
)
def test_position_grows_old(age_s: int, position: str) -> None:
    """An old position is not believed: the unit counts as at its base."""
    states = {"a": state("a", lat=21.0, lon=105.01, position_at=AT - timedelta(seconds=age_s))}
    found = by_unit(suggest(SITE, POTHOLE, states, AT))["a"]
    assert position in found.reasons
    assert (found.distance_m == 0) == (position == "position:fresh")


def test_place_not_known() -> None:
    """Without a place the middle of the area stands for it; without that, all are equally far."""
    assert by_unit(suggest(SITE, case(place=None), {}, AT))["c"].distance_m == 0
    nowhere = case(place=None, area=AreaId("02"), areas=(AreaId("00"), AreaId("02")))
    found = by_unit(suggest(SITE, nowhere, {}, AT))
    assert found["a"].distance_m is None
    assert "place_unknown" in found["a"].reasons
    assert "outside_area" in found["b"].reasons


BUSY_UNTIL = state("a", status=UnitStatus.BUSY, until=AT + timedelta(hours=1))


@pytest.mark.parametrize(
    ("held", "unit", "of", "now", "refusal", "reason"),
    [
        pytest.param(POTHOLE, "a", None, AT, None, "position:base", id="never heard of: at its base"),
        pytest.param(POTHOLE, "a", state("a"), AT, None, "load:0/1", id="available"),
        pytest.param(POTHOLE, "a", state("a", cases=(CaseId("x"),)), AT, Refusal.UNIT_BUSY, "full", id="full"),
        pytest.param(POTHOLE, "b", state("b", cases=(CaseId("x"),)), AT, None, "load:1/2", id="room for one more"),
        pytest.param(POTHOLE, "a", BUSY_UNTIL, AT, Refusal.UNIT_BUSY, "busy", id="busy"),
        pytest.param(POTHOLE, "a", BUSY_UNTIL, AT + timedelta(hours=1), None, "load:0/1", id="no longer busy"),
        pytest.param(POTHOLE, "a", state("a", status=UnitStatus.OFF), AT, Refusal.NOT_CAPABLE, "off", id="off duty"),
        pytest.param(POTHOLE, "b", None, NIGHT, Refusal.NOT_CAPABLE, "off_shift", id="at night"),
        pytest.param(POTHOLE, "a", None, NIGHT, None, "load:0/1", id="on duty at night too"),
        pytest.param(case(category="fire"), "a", None, AT, Refusal.NOT_CAPABLE, "lacks:fire", id="without the skill"),
        pytest.param(
            case(area=AreaId("02"), areas=(AreaId("00"), AreaId("02"))),
            "b",
            None,
            AT,
            Refusal.NOT_CAPABLE,
            "outside_area",
            id="in another commune",
        ),
        pytest.param(offered("a", OfferStep.SEEN), "a", None, AT, Refusal.ALREADY, "has_it", id="has it already"),
        pytest.param(offered("a", OfferStep.DECLINED), "a", None, AT, None, "declined", id="declined it before"),
        pytest.param(offered("a", OfferStep.MISSED), "a", None, AT, None, "missed", id="missed it before"),
        pytest.param(
            case(category="fire"),
            "a",
            state("a", cases=(CaseId("x"),), status=UnitStatus.OFF),
            AT,
            Refusal.UNIT_BUSY,
            "full",
            id="what nobody may override is said first",
        ),
    ],
)
def test_may_be_sent(
    held: Case, unit: str, of: UnitState | None, now: object, refusal: Refusal | None, reason: str
) -> None:
    """Why a unit cannot be sent; and the suggestion says the same with its word for it."""
    assert check_unit(SITE, held, unit, of, now) is refusal  # type: ignore[arg-type]
    found = by_unit(suggest(SITE, held, {} if of is None else {unit: of}, now))[unit]  # type: ignore[arg-type]
    assert found.capable == (refusal is None)
    assert reason in found.reasons


def test_unknown_unit() -> None:
    """A unit that no file declares is no unit, whatever state somebody made up for it."""
    assert check_unit(SITE, POTHOLE, "ghost", state("ghost"), AT) is Refusal.UNKNOWN_UNIT
    assert "ghost" not in by_unit(suggest(SITE, POTHOLE, {"ghost": state("ghost")}, AT))


def test_accused_agency_is_not_asked() -> None:
    """Units of the agency that a complaint is about neither are suggested nor can be forced."""
    complaint = case(category="pothole", agency="province", accused_agency="roads")
    assert list(by_unit(suggest(SITE, complaint, {}, AT))) == ["c"]
    assert check_unit(SITE, complaint, "a", None, AT) is Refusal.FORBIDDEN


states = st.fixed_dictionaries(
    {},
    optional={
        unit: st.builds(
            UnitState,
            unit=st.just(unit),
            status=st.sampled_from(list(UnitStatus)),
            lat=st.none() | st.floats(-90, 90),
            lon=st.none() | st.floats(-180, 180),
            position_at=st.none() | st.timedeltas(timedelta(hours=-1), timedelta(hours=1)).map(lambda by: AT + by),
            cases=st.lists(st.sampled_from([CaseId("x"), CaseId("y"), CaseId("c")]), unique=True).map(tuple),
        )
        for unit in ("a", "b", "c")
    },
)


@given(states, st.sampled_from(["other", "pothole", "fire"]), st.timedeltas(timedelta(0), timedelta(days=30)))
def test_order_is_sound(of: dict[str, UnitState], category: str, later: timedelta) -> None:
    """Every unit once; the first is one that could go if any could; nobody beyond its capacity could."""
    held = case(category=category)
    found = suggest(SITE, held, of, AT + later)
    assert sorted(one.unit for one in found) == ["a", "b", "c"]
    capable = [one.capable for one in found]
    assert capable == sorted(capable, reverse=True)
    for one in found:
        assert 0 <= one.score <= 1
        assert one.capable == (check_unit(SITE, held, one.unit, of.get(one.unit), AT + later) is None)
        others = [held_id for held_id in of[one.unit].cases if held_id != held.id] if one.unit in of else []
        assert not (one.capable and len(others) >= SITE.units[one.unit].capacity)


def test_nearer_is_better() -> None:
    """All else equal, the score falls with the distance."""
    here = UNITS.replace("geo:21.05,105.00", "geo:21.00,105.00")
    near = by_unit(suggest(site({"units.toml": here}), POTHOLE, {}, AT))["b"]
    assert near.score > by_unit(suggest(SITE, POTHOLE, {}, AT))["b"].score
