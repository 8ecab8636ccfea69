"""Does an offer reach somebody, or does somebody hear that it did not?"""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.case import OFFER_OVER, OFFERS_MAX, Case, Offer, OfferStep, Refusal, Severity
from schemas.dispatch_plan import AWAITED, Rung
from schemas.unit import UnitState, UnitStatus
from streams.core.dispatch import (
    Escalation,
    missed,
    offer,
    offer_deadlines,
    offer_of,
    pass_on,
    step_offer,
    withdraw,
)
from tests.schemas.case_pack import AT, DISPATCH, case, site

SITE = site()
POTHOLE = case(category="pothole", agency="roads")
CRITICAL = case(category="pothole", agency="roads", severity=Severity.CRITICAL)
Step = OfferStep


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def held(of: Case, number: int = 1) -> Offer:
    found = offer_of(of, number)
    assert found is not None
    return found


def stepped(of: Case, *steps: tuple[Step, float], number: int = 1) -> Case:
    """The case after steps that all are taken."""
    for step, seconds in steps:
        done = step_offer(SITE, of, number, step, after(seconds))
        assert isinstance(done, Case)
        of = done
    return of


def waits(of: Case) -> list[tuple[str, datetime]]:
    return [(one.name, one.due_at) for one in offer_deadlines(of)]


def test_offered() -> None:
    """An offer waits for its delivery, for as long as its severity has it."""
    critical = offer(SITE, CRITICAL, "a", AT, "somebody")
    assert held(critical).by == "somebody"
    assert waits(critical) == [("offer:1:delivered", after(10))]
    assert waits(offer(SITE, POTHOLE, "a", AT, None)) == [("offer:1:delivered", after(60))]
    assert critical.units == ("a",)


def test_step_by_step() -> None:
    """Each step waits for the next, from its own moment on; after the last nobody waits."""
    at = offer(SITE, CRITICAL, "a", AT, None)
    for step, seconds, then in [
        (Step.DELIVERED, 5, ("offer:1:seen", after(25))),
        (Step.SEEN, 20, ("offer:1:accepted", after(50))),
        (Step.ACCEPTED, 40, ("offer:1:en_route", after(100))),
        (Step.EN_ROUTE, 90, ("offer:1:on_scene", after(690))),
        (Step.ON_SCENE, 600, ("offer:1:done", after(7800))),
    ]:
        at = stepped(at, (step, seconds))
        assert (held(at).step, waits(at)) == (step, [then])
    at = stepped(at, (Step.DONE, 3000))
    assert (held(at).step, waits(at), at.units) == (Step.DONE, [], ())


def test_step_without_a_limit() -> None:
    """Where nobody waits for a step, the one after it is waited for."""
    delivered = stepped(offer(SITE, POTHOLE, "a", AT, None), (Step.DELIVERED, 5))
    assert waits(delivered) == [("offer:1:accepted", after(305))]
    there = stepped(delivered, (Step.ON_SCENE, 600))
    assert waits(there) == []


def test_facts_from_a_dead_spot() -> None:
    """A phone without a signal sends all at once, the last first: the furthest holds, every moment is kept."""
    done = stepped(
        offer(SITE, CRITICAL, "a", AT, None),
        (Step.ON_SCENE, 500),
        (Step.ACCEPTED, 50),
        (Step.DONE, 900),
        (Step.EN_ROUTE, 80),
        (Step.SEEN, 30),
    )
    assert held(done).step is Step.DONE
    assert held(done).at == {
        Step.OFFERED: AT,
        Step.SEEN: after(30),
        Step.ACCEPTED: after(50),
        Step.EN_ROUTE: after(80),
        Step.ON_SCENE: after(500),
        Step.DONE: after(900),
    }
    assert waits(done) == []


def test_clock_of_a_phone() -> None:
    """Nothing was done about an offer before it was made, whatever a phone's clock says."""
    seen = stepped(offer(SITE, CRITICAL, "a", AT, None), (Step.SEEN, -3600))
    assert held(seen).at[Step.SEEN] == AT


def ended(step: Step) -> Case:
    at = offer(SITE, POTHOLE, "a", AT, None)
    match step:
        case Step.WITHDRAWN:
            gone = withdraw(at, 1, after(5))
        case Step.MISSED:
            gone, _ = missed(SITE, missed(SITE, at, 1, after(60), {})[0], 1, after(120), {})
        case _:
            gone = step_offer(SITE, at, 1, step, after(5))
    assert isinstance(gone, Case)
    assert held(gone).step is step
    return gone


@pytest.mark.parametrize(
    ("before", "step", "refusal"),
    [
        pytest.param(Step.DECLINED, Step.ACCEPTED, Refusal.TOO_LATE, id="accepts what it declined"),
        pytest.param(Step.WITHDRAWN, Step.ACCEPTED, Refusal.TOO_LATE, id="accepts what was taken back"),
        pytest.param(Step.WITHDRAWN, Step.DECLINED, Refusal.TOO_LATE, id="declines what was taken back"),
        pytest.param(Step.MISSED, Step.ACCEPTED, Refusal.TOO_LATE, id="accepts what somebody else has"),
        pytest.param(Step.DONE, Step.DECLINED, Refusal.IMPOSSIBLE, id="declines what it has done"),
        pytest.param(Step.DONE, Step.DONE, Refusal.ALREADY, id="does it twice"),
        pytest.param(Step.DECLINED, Step.DECLINED, Refusal.ALREADY, id="declines twice"),
        pytest.param(Step.SEEN, Step.OFFERED, Refusal.IMPOSSIBLE, id="what only the centre does"),
        pytest.param(Step.SEEN, Step.MISSED, Refusal.IMPOSSIBLE, id="says itself that it missed"),
    ],
)
def test_refused(before: Step, step: Step, refusal: Refusal) -> None:
    """A decision on an offer that is over comes too late; the same step twice is one."""
    assert step_offer(SITE, ended(before), 1, step, after(500)) is refusal


def test_no_such_offer() -> None:
    """A number that no offer has."""
    assert step_offer(SITE, POTHOLE, 1, Step.SEEN, AT) is Refusal.IMPOSSIBLE
    assert withdraw(POTHOLE, 1, AT) is Refusal.IMPOSSIBLE
    assert missed(SITE, POTHOLE, 1, AT, {}) == (POTHOLE, [])
    assert pass_on(SITE, POTHOLE, 1, AT, {}) == (POTHOLE, [])


@pytest.mark.parametrize("before", [Step.WITHDRAWN, Step.MISSED, Step.DECLINED])
def test_fact_after_the_end(before: Step) -> None:
    """The unit was there all the same: the moment is kept, and the offer stays as it ended."""
    at = ended(before)
    there = stepped(at, (Step.ON_SCENE, 900))
    assert held(there).at[Step.ON_SCENE] == after(900)
    assert (held(there).step, there.units, waits(there)) == (before, at.units, waits(at))


def test_declined_on_the_way() -> None:
    """A unit that breaks down gives the case back."""
    at = stepped(offer(SITE, POTHOLE, "a", AT, None), (Step.ACCEPTED, 5), (Step.EN_ROUTE, 10), (Step.DECLINED, 50))
    assert (held(at).step, waits(at)) == (Step.DECLINED, [])


def test_withdrawn() -> None:
    """What is over cannot be taken back; what is open can."""
    at = stepped(offer(SITE, POTHOLE, "a", AT, None), (Step.DONE, 5))
    assert withdraw(at, 1, after(9)) is Refusal.TOO_LATE
    both = withdraw(offer(SITE, at, "b", AT, None), 2, after(9), "merged")
    assert isinstance(both, Case)
    assert [one.step for one in both.offers] == [Step.DONE, Step.WITHDRAWN]
    assert (held(both, 2).reason, held(both).reason) == ("merged", None)
    assert waits(both) == []


def test_up_the_chain() -> None:
    """The unit is told by another channel, then the next unit, then whoever is over the unit: each rung once."""
    first, told = missed(SITE, offer(SITE, POTHOLE, "a", AT, None), 1, after(60), {})
    assert told == [Escalation(Rung.OTHER_CHANNEL, 1, "a", Step.DELIVERED, 0, ("unit:a",), channel="sms")]
    assert waits(first) == [("offer:1:delivered", after(120))]
    second, told = missed(SITE, first, 1, after(120), {})
    assert told == [Escalation(Rung.NEXT_UNIT, 1, "a", Step.DELIVERED, 1, ("unit:b",), next=2)]
    assert [(one.unit, one.step, one.level) for one in second.offers] == [
        ("a", Step.MISSED, 1),
        ("b", Step.OFFERED, 2),
    ]
    assert waits(second) == [("offer:2:delivered", after(180))]
    third, told = missed(SITE, second, 2, after(180), {})
    assert told == [Escalation(Rung.SUPERVISOR, 2, "b", Step.DELIVERED, 2, ("agency:province", "boss"))]
    assert (third.units, waits(third)) == (("b",), [])
    assert missed(SITE, third, 2, after(240), {}) == (third, [])


def test_unit_without_another_channel() -> None:
    """A rung that cannot be taken gives way to the next at once."""
    at, told = missed(SITE, offer(SITE, POTHOLE, "b", AT, None), 1, after(60), {})
    assert [one.rung for one in told] == [Rung.NEXT_UNIT]
    assert at.units == ("a",)


def test_nobody_left() -> None:
    """Where no other unit could be sent, the supervisor hears at once, and the unit keeps the offer."""
    off = {unit: UnitState(unit=unit, status=UnitStatus.OFF) for unit in ("b", "c")}
    at, _ = missed(SITE, offer(SITE, POTHOLE, "a", AT, None), 1, after(60), off)
    at, told = missed(SITE, at, 1, after(120), off)
    assert [one.rung for one in told] == [Rung.SUPERVISOR]
    assert at.units == ("a",)


def test_too_many_offers() -> None:
    """A case that has been offered as often as it may be goes to no further unit."""
    full = withdraw(offer(SITE, POTHOLE, "a", AT, None), 1, AT)
    assert isinstance(full, Case)
    offers = tuple(replace(full.offers[0], number=number) for number in range(1, OFFERS_MAX))
    at = offer(SITE, case(category="pothole", offers=offers), "b", AT, None)
    at, told = missed(SITE, at, OFFERS_MAX, after(60), {})
    assert [one.rung for one in told] == [Rung.SUPERVISOR]
    assert len(at.offers) == OFFERS_MAX


def test_another_chain_begins_at_its_first_rung() -> None:
    """A unit that accepted late is not spared when it does not arrive."""
    at, _ = missed(SITE, offer(SITE, POTHOLE, "a", AT, None), 1, after(60), {})
    at = stepped(at, (Step.ACCEPTED, 70))
    assert held(at).level == 1, "the same chain goes on"
    at = stepped(at, (Step.EN_ROUTE, 80))
    assert (held(at).level, waits(at)) == (0, [("offer:1:on_scene", after(3680))])
    at, told = missed(SITE, at, 1, after(3680), {})
    assert [(one.rung, one.missed, one.tell) for one in told] == [
        (Rung.SUPERVISOR, Step.ON_SCENE, ("agency:province",))
    ]
    assert at.units == ("a",)


def test_accused_agency_hears_nothing() -> None:
    """Of a complaint about the supervising agency the agency that deals with it is told instead."""
    complaint = case(category="pothole", agency="power", accused_agency="province")
    off = {unit: UnitState(unit=unit, status=UnitStatus.OFF) for unit in ("a", "c")}
    at, told = missed(SITE, offer(SITE, complaint, "b", AT, None), 1, after(60), off)
    assert told[0].tell == ("agency:power", "boss")
    assert at.units == ("b",)


def test_without_a_chain() -> None:
    """A pack that declares no chain escalates nothing, and nobody waits any more."""
    plain = site({"dispatch.toml": DISPATCH.split("[[escalation]]")[0]})
    at, told = missed(plain, offer(plain, POTHOLE, "a", AT, None), 1, after(60), {})
    assert (told, waits(at), at.units) == ([], [], ("a",))


def test_declined_goes_to_the_next() -> None:
    """A unit that declines is not asked again: the next one is, and when there is none the supervisor."""
    at = stepped(offer(SITE, POTHOLE, "a", AT, None), (Step.DECLINED, 5))
    at, told = pass_on(SITE, at, 1, after(5), {})
    assert [(one.rung, one.next) for one in told] == [(Rung.NEXT_UNIT, 2)]
    assert (at.units, held(at).step) == (("b",), Step.DECLINED)
    at = stepped(at, (Step.DECLINED, 9), number=2)
    at, told = pass_on(SITE, at, 2, after(9), {"c": UnitState(unit="c", status=UnitStatus.OFF)})
    assert [one.rung for one in told] == [Rung.SUPERVISOR]
    assert at.units == ()
    assert pass_on(SITE, offer(SITE, POTHOLE, "a", AT, None), 1, AT, {})[1] == [], "it has not declined"


steps = st.lists(
    st.tuples(st.sampled_from([*AWAITED, Step.DECLINED]), st.integers(-100, 10_000)),
    max_size=9,
    unique_by=lambda s: s[0],
)


@given(steps, st.randoms())
def test_order_of_facts_does_not_matter(facts: list[tuple[Step, int]], random: object) -> None:
    """The steps that a unit took give the same offer, in whatever order they come in."""
    facts = [fact for fact in facts if fact[0] is not Step.DECLINED]
    shuffled = list(facts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    made = offer(SITE, CRITICAL, "a", AT, None)
    one, other = held(stepped(made, *facts)), held(stepped(made, *shuffled))
    assert (one.step, one.at) == (other.step, other.at)
    assert (one.due_at is None) == (other.due_at is None)


@given(
    st.lists(
        st.tuples(st.sampled_from(["step", "miss", "time"]), st.integers(0, 6), st.integers(1, 900)), max_size=40
    )
)
def test_no_unit_twice_and_an_end(moves: list[tuple[str, int, int]]) -> None:
    """Whatever units do or leave undone: one of them has it at a time, none is asked twice, and the chain ends."""
    at, seconds, escalations = offer(SITE, CRITICAL, "a", AT, None), 0, 0
    for move, which, gap in moves:
        seconds += gap
        number = len(at.offers)
        if move == "step":
            done = step_offer(SITE, at, number, [*AWAITED, Step.DECLINED][which], after(seconds))
            at = done if isinstance(done, Case) else at
            if held(at, number).step is Step.DECLINED:
                at, told = pass_on(SITE, at, number, after(seconds), {})
                escalations += len([one for one in told if one.rung is Rung.NEXT_UNIT])
        for due in offer_deadlines(at) if move == "miss" else ():
            at, told = missed(SITE, at, int(due.name.split(":")[1]), max(due.due_at, after(seconds)), {})
            assert len(told) <= 1
            assert due not in offer_deadlines(at)
            escalations += len(told)
        assert len(at.units) <= 1
        asked = [one.unit for one in at.offers]
        assert len(set(asked)) == len(asked)
        for one in at.offers:
            assert (one.due_at is None) or (one.step not in OFFER_OVER and one.awaits is not None)
    # Three rungs before acceptance and one after, and no offer passes more than the rungs that are left.
    assert escalations <= 3 * len(at.offers) + len(at.offers)
