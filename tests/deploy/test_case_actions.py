"""Is somebody offered what the life cycle has for the case and the role, and nothing else?"""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from deploy.case_actions import next_actions
from schemas.case import Case, CaseId, Kind, Member, Offer, OfferStep, Review, Severity, State
from schemas.command import Actor
from schemas.event import AreaId
from schemas.site import parse_site
from tests.dashboard.case_centre import PACK

AT = datetime(2026, 9, 1, tzinfo=UTC)

SITE = parse_site(
    {
        **PACK,
        "cases.toml": PACK["cases.toml"].replace(
            'kind = "violation"\n',
            'kind = "violation"\nsteps = [{ id = "notice", names = { vi = "Thông báo", en = "Notice" } }]\n',
        ),
    }
)


def case(state: State, kind: Kind = Kind.SERVICE, category: str = "road", unit: str | None = None) -> Case:
    """A case in a state."""
    offer = None if unit is None else Offer(number=1, unit=unit, step=OfferStep.SEEN, at={OfferStep.SEEN: AT})
    return Case(
        id=CaseId("a"),
        version=1,
        kind=kind,
        state=state,
        category=category,
        severity=Severity.MINOR,
        area=AreaId("01"),
        areas=(AreaId("00"), AreaId("01")),
        opened_at=AT,
        recorded_at=AT,
        changed_at=AT,
        offers=() if offer is None else (offer,),
    )


def offered(one: Case, *roles: str) -> dict[tuple[str, str | None], tuple[str, ...]]:
    """What somebody with these roles may ask for, with what is still needed."""
    return {(one.action, one.choice): one.needs for one in next_actions(SITE, one, Actor(id="x", roles=roles))}


def test_waiting_is_offered_for_each_reason() -> None:
    found = offered(case(State.ACCEPTED), "operator")
    assert {("wait", "citizen"), ("wait", "agency")} <= found.keys()
    assert found["resolve", None] == ("result",)
    assert not {action for action, _ in found} & {"be_merged", "deadline", "unit_told", "confirm"}


def test_a_units_steps_are_offered_where_a_unit_has_an_offer() -> None:
    assert not [action for action, _ in offered(case(State.ASSIGNED), "unit") if action == "offer"]
    found = offered(case(State.ASSIGNED, unit="u1"), "unit")
    assert {
        ("offer", "accepted"),
        ("offer", "en_route"),
        ("offer", "on_scene"),
        ("offer", "declined"),
    } <= found.keys()


def test_reviews_and_the_laws_steps_are_for_violations() -> None:
    assert ("review", None) not in offered(case(State.TRIAGED), "operator")
    found = offered(case(State.TRIAGED, Kind.VIOLATION, "red_light"), "operator")
    assert {("review", None), ("law_step", "notice")} <= found.keys()
    assert found["law_step", "notice"] == ("upheld",)


def test_what_the_case_holds_nothing_for_is_not_offered() -> None:
    bare = case(State.TRIAGED)
    at_all = {action for action, _ in offered(bare, "operator", "dispatcher")}
    assert not at_all & {"unmerge", "split", "withdraw_offer", "review", "law_step"}
    members = tuple(Member(source="s", id=id_, type="t", at=AT, case=bare.id) for id_ in ("1", "2"))
    full = replace(
        case(State.TRIAGED, unit="u1"), members=members, absorbed={CaseId("b"): State.NEW}, acknowledged_by="y"
    )
    found = {action for action, _ in offered(full, "operator", "dispatcher")}
    assert {"unmerge", "split", "withdraw_offer"} <= found
    assert "acknowledge" in at_all - found
    assert ("dispatch", None) not in offered(case(State.ASSIGNED, Kind.CONDUCT, "conduct"), "dispatcher")


def test_nobody_is_offered_what_they_have_done() -> None:
    violation = case(State.TRIAGED, Kind.VIOLATION, "red_light")
    reviewed = replace(violation, reviews=(Review(by="x", at=AT, upheld=True),))
    assert ("review", None) in offered(violation, "operator")
    assert ("review", None) not in offered(reviewed, "operator")
    citizen = Actor(id="citizen", roles=("citizen",), tracking="a")
    done = replace(case(State.RESOLVED), tracking=("a", "b"))
    assert {"confirm", "rate"} <= {one.action for one in next_actions(SITE, done, citizen)}
    said = replace(done, confirmed=("a",), rating=4)
    assert not {"confirm", "rate"} & {one.action for one in next_actions(SITE, said, citizen)}


@pytest.mark.parametrize("state", list(State))
def test_nobody_without_a_role_is_offered_anything(state: State) -> None:
    assert offered(case(state, unit="u1")) == {}
    assert offered(case(state, unit="u1"), "auditor") == {}
