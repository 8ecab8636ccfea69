"""Is a message believed that the centre has just signed, and no other?"""

import hashlib
import hmac

import pytest

from schemas.signature import REPLAY_WINDOW_S, Doubt, doubt, signature

SECRET, BODY, NOW = b"secret", b'{"a":1}', 1_800_000_000


def test_the_signature_is_that_of_time_and_body() -> None:
    assert signature(SECRET, NOW, BODY) == "v1=" + hmac.new(SECRET, b'1800000000.{"a":1}', hashlib.sha256).hexdigest()


@pytest.mark.parametrize("later_s", [-REPLAY_WINDOW_S, 0, REPLAY_WINDOW_S])
def test_believed_within_the_window(later_s: int) -> None:
    assert doubt(SECRET, str(NOW), signature(SECRET, NOW, BODY), BODY, NOW + later_s) is None


@pytest.mark.parametrize(
    ("timestamp", "given", "body", "secret", "now_s", "found"),
    [
        pytest.param(str(NOW), None, BODY, SECRET, NOW + REPLAY_WINDOW_S + 1, Doubt.OUTSIDE_WINDOW, id="repeated"),
        pytest.param(str(NOW), None, BODY, SECRET, NOW - REPLAY_WINDOW_S - 1, Doubt.OUTSIDE_WINDOW, id="from later"),
        pytest.param(str(NOW + 1), None, BODY, SECRET, NOW, Doubt.WRONG, id="another time"),
        pytest.param(str(NOW), None, BODY + b" ", SECRET, NOW, Doubt.WRONG, id="another body"),
        pytest.param(str(NOW), None, BODY, b"other", NOW, Doubt.WRONG, id="another secret"),
        pytest.param(str(NOW), "", BODY, SECRET, NOW, Doubt.WRONG, id="unsigned"),
        pytest.param(str(NOW), "v1=é", BODY, SECRET, NOW, Doubt.WRONG, id="no text"),
        pytest.param("", None, BODY, SECRET, NOW, Doubt.MALFORMED, id="no time"),
        pytest.param("1e9", None, BODY, SECRET, NOW, Doubt.MALFORMED, id="no number"),
        pytest.param("9" * 400, None, BODY, SECRET, NOW, Doubt.MALFORMED, id="too long a number"),
    ],
)
def test_doubted(timestamp: str, given: str | None, body: bytes, secret: bytes, now_s: int, found: Doubt) -> None:
    given = signature(SECRET, NOW, BODY) if given is None else given
    assert doubt(secret, timestamp, given, body, now_s) is found
