"""Are the words of a message what the template and the case say, and nothing else?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.notice_text import PLACEHOLDERS, STATES, filled, one_line, shortened, unknown_placeholders, worded


def test_values_are_put_in_and_never_read_as_placeholders() -> None:
    said = filled("{title} at {area}", {"title": "{area} {secret}", "area": "A"}, "en")
    assert said == "{area} {secret} at A"


def test_what_is_not_known_leaves_nothing_behind() -> None:
    assert filled("Job {case}  {unit}  at {area} ", {"case": "c"}, "en") == "Job c at"


def test_control_characters_do_not_travel() -> None:
    assert filled("{title}", {"title": "a\r\nBcc: x\x00\x1b[31m"}, "en") == "a\nBcc: x[31m"
    assert one_line("a\r\n b\u2028c") == "a b c"


@pytest.mark.parametrize(("language", "begins"), [("vi", "[DIỄN TẬP] "), ("en", "[DRILL] "), ("fr", "[DRILL] ")])
def test_a_drill_says_so(language: str, begins: str) -> None:
    assert filled("x", {}, language, exercise=True) == begins + "x"


@given(st.text(max_size=50), st.integers(min_value=1, max_value=60))
def test_shortened(text: str, chars_max: int) -> None:
    short = shortened(text, chars_max)
    assert len(short) <= chars_max
    assert short == text or short.endswith("…")
    assert len(text) > chars_max or short == text


def test_placeholders() -> None:
    assert unknown_placeholders("".join(f"{{{name}}}" for name in PLACEHOLDERS)) == []
    assert unknown_placeholders("{a} {case} {} }") == ["a", "", "}"]


def test_words() -> None:
    assert worded(STATES, "vi", "en_route") == "đang đến"
    assert worded(STATES, "en", "en_route") == "en route"
