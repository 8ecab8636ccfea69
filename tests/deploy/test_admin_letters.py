"""Of a dead letter, does an administrator see what it is about, and nobody's words, numbers or whereabouts?"""

from typing import Any

import msgspec
import pytest

from deploy.admin.letters import LEFT_OUT, shown
from tests.streams.world import raw


def seen(event: object) -> str:
    """What is shown of it, as text."""
    return msgspec.json.encode(shown(msgspec.json.encode(event))).decode()


@pytest.mark.parametrize(
    ("data", "secret"),
    [
        pytest.param({"contact": {"phone": 84912345678}}, "84912345678", id="a number below the data"),
        pytest.param({"phone": 84912345678}, "84912345678", id="a number under an unknown name"),
        pytest.param({"reporter": {"id": "079203001234"}}, "079203001234", id="a known name in another place"),
        pytest.param({"id": "079203001234"}, "079203001234", id="an envelope's name in the data"),
        pytest.param({"lat": 21.02851}, "21.02851", id="where somebody is"),
        pytest.param({"category": {"kind": "Nguyen"}}, "Nguyen", id="below a label"),
        pytest.param({"category": ["Nguyen"]}, "Nguyen", id="in a list"),
        pytest.param({"category": "Nguyen Van A"}, "Nguyen", id="a sentence for a label"),
        pytest.param({"category": 84912345678}, "84912345678", id="a number for a label"),
        pytest.param({"score": "0912345678"}, "0912345678", id="a text for a number"),
        pytest.param({"due_at": "Nguyen"}, "Nguyen", id="a text for a moment"),
        pytest.param({"Nguyen Van A": 1}, "Nguyen", id="a name of a member"),
        pytest.param({"0912345678": 1}, "0912345678", id="a number as the name of a member"),
        pytest.param({"plate": "29A-12345"}, "29A-12345", id="a plate"),
        pytest.param({"accused_agency": "police"}, "police", id="a complaint's official"),
    ],
)
def test_what_may_be_somebody_s_is_left_out(data: object, secret: str) -> None:
    found = seen({"type": "x", "data": data})
    assert secret not in found
    assert LEFT_OUT in found
    assert secret not in seen({"type": "x", "data": data, "place": "geo:21.02851,105.80482"})


def test_what_an_event_is_about_is_shown() -> None:
    data: dict[str, Any] = {"category": "road", "agency": "transport", "score": 4, "due_at": "2027-01-01T00:00:00Z"}
    event = msgspec.json.decode(raw("ioc.feedback.received.v1", id="1", area="0102")) | {"data": data}
    found = shown(msgspec.json.encode(event))
    assert found["data"] == data
    assert {name: found[name] for name in ("id", "type", "source", "area", "time")} == {
        name: event[name] for name in ("id", "type", "source", "area", "time")
    }
    assert "21.02" not in seen(event | {"place": "geo:21.02851,105.80482"})


def test_one_that_is_deep_or_none_ends_nothing() -> None:
    assert shown(b'{"data":' * 400 + b"1" + b"}" * 400) is not None
    assert shown(b'{"a":' * 100_000) is None
    assert shown(b"[1]") is None
    assert shown(b"\xff") is None
