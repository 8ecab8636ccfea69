"""What may a client say, and what is it told when it says something else?"""

import pytest

from dashboard_api.config import Bounds
from dashboard_api.position import Position
from dashboard_api.refusal import Refused
from dashboard_api.subscription import Subscription, parse_message
from schemas.event import AreaId
from schemas.window import Tier
from tests.dashboard.centre import site


def test_without_a_wish_all_kpis_of_the_root_are_meant() -> None:
    assert parse_message('{"op":"subscribe"}', site(), Bounds()) == Subscription(
        kpis=tuple(kpi.id for kpi in site().kpis.kpis),
        areas=(AreaId("00"),),
        tier=Tier.MINUTE,
        points=60,
        events=20,
        sources=True,
    )


def test_what_is_named_twice_is_sent_once() -> None:
    text = '{"op":"subscribe","kpis":["response_ms","response_ms"],"areas":["02","01","02"],"position":"1-7"}'
    subscription = parse_message(text, site(), Bounds())
    assert (subscription.kpis, subscription.areas) == (("response_ms",), ("02", "01"))
    assert subscription.position == Position(1, 7)


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        pytest.param("not json", "$", "malformed", id="no JSON"),
        pytest.param("[" * 10_000, "$", "invalid", id="lists in lists"),
        pytest.param('"\\ud800"', "$", "malformed", id="half a surrogate pair"),
        pytest.param("[]", "$", "invalid", id="no object"),
        pytest.param("{}", "op", "missing", id="no op"),
        pytest.param('{"op":"unsubscribe"}', "op", "invalid", id="unknown op"),
        pytest.param('{"op":"subscribe","kpi":["x"]}', "$", "unknown_field", id="unknown field"),
        pytest.param('{"op":"subscribe","kpis":"x"}', "kpis", "invalid", id="kpis is no list"),
        pytest.param('{"op":"subscribe","kpis":["x"]}', "kpis[0]", "unknown_kpi", id="unknown KPI"),
        pytest.param('{"op":"subscribe","areas":["00","9"]}', "areas[1]", "unknown_area", id="unknown area"),
        pytest.param('{"op":"subscribe","tier":"week"}', "tier", "invalid", id="unknown tier"),
        pytest.param('{"op":"subscribe","points":0}', "points", "out_of_range", id="no points"),
        pytest.param('{"op":"subscribe","points":1000000000}', "points", "out_of_range", id="too many points"),
        pytest.param('{"op":"subscribe","events":-1}', "events", "out_of_range", id="negative events"),
        pytest.param('{"op":"subscribe","events":501}', "events", "out_of_range", id="too many events"),
        pytest.param('{"op":"subscribe","position":"7"}', "position", "invalid", id="half a position"),
        pytest.param('{"op":"subscribe","position":"1-٣"}', "position", "invalid", id="digits of another script"),
        pytest.param('{"op":"subscribe","kpis":["' + "x" * 20_000 + '"]}', "$", "too_large", id="too long"),
    ],
)
def test_a_bad_message_is_refused_with_field_reason_and_fix(text: str, field: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_message(text, site(), Bounds())
    assert (caught.value.field, caught.value.reason) == (field, reason)
    assert caught.value.detail
    assert caught.value.fix
