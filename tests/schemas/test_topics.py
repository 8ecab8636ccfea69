"""Does what belongs together keep its order?"""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas import codec, topics
from schemas.case import case_id, pair_of
from schemas.event import EVENT_TYPES, AnyEvent, Event
from schemas.topics import ALL, CASES, DEAD, DETECTIONS, INPUTS, METRICS, RECORDS, UNITS, Dedupe, Topic
from tests.schemas.test_codec import GOOD, raw

CASE = case_id("s", "case-7").encode()

NAMES = st.text(alphabet="a1\x1e\x1f", max_size=4)


def event(type_: str, **given: Any) -> AnyEvent:
    """A valid event."""
    return codec.decode(raw(type=type_, data=GOOD[type_], **given))


@pytest.mark.parametrize(
    ("type_", "topic", "key"),
    [
        pytest.param("ioc.feedback.received.v1", CASES, CASE, id="report"),
        pytest.param("ioc.feedback.closed.v1", CASES, CASE, id="its end has the same key"),
        pytest.param("ioc.feedback.answered.v1", CASES, CASE, id="answer"),
        pytest.param("ioc.feedback.reopened.v1", CASES, CASE, id="reopening"),
        pytest.param("ioc.feedback.rated.v1", CASES, CASE, id="rating"),
        pytest.param("ioc.dossier.received.v1", RECORDS, b"s#case-7", id="dossier"),
        pytest.param("ioc.dossier.closed.v1", RECORDS, b"s#case-7", id="its decision has the same key"),
        pytest.param("ioc.dossier.rated.v1", RECORDS, b"s#case-7", id="its rating, too"),
        pytest.param("ioc.indicator.observed.v1", RECORDS, b"s#i", id="reports of one indicator follow each other"),
        pytest.param("ioc.camera.incident.v1", CASES, CASE, id="incident"),
        pytest.param("ioc.alert.changed.v1", CASES, CASE, id="alert"),
        pytest.param("ioc.case.command.v1", CASES, b"case-7", id="a command names its case"),
        pytest.param("ioc.case.step.v1", CASES, b"case-7", id="a step, too"),
        pytest.param("ioc.unit.duty.v1", CASES, b"case-7", id="time on duty names its unit"),
        pytest.param("ioc.unit.position.v1", UNITS, b"doi-1", id="position"),
        pytest.param("ioc.camera.detection.v1", DETECTIONS, b"s", id="detection"),
        pytest.param("ioc.service.metric.v1", METRICS, b"s", id="metric"),
    ],
)
def test_topic_and_key(type_: str, topic: Topic, key: bytes) -> None:
    made = event(type_, subject="case-7")
    assert topics.topic_of(made) is topic
    assert topics.key_of(made) == key


def test_a_case_without_reference_is_its_own() -> None:
    assert topics.key_of(event("ioc.feedback.received.v1", id="r-1")) == case_id("s", "r-1").encode()


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
@example(("a", "b\x1fc"), ("a\x1fb", "c"))
@example(("a\x1e", "1b"), ("a", "\x1e1b"))
@example(("a\x1f", "b"), ("a\x1e1", "b"))
def test_no_two_names_make_the_pair_of_two_others(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (pair_of(*one) == pair_of(*other)) is (one == other)
    assert (case_id(*one) == case_id(*other)) is (one == other)


def test_a_case_is_named_as_before_where_no_name_holds_the_separator() -> None:
    # 80 bits of BLAKE2b over both names with U+001F between them: cases in tables have such names.
    assert case_id("cityworks", "101004113298") == "bi622kmuuoyrepe5"


def test_a_correction_without_a_case_goes_where_its_original_went() -> None:
    original = event("ioc.feedback.received.v1", id="r-1")
    for field in ("supersedes", "withdraws"):
        correction = event("ioc.feedback.received.v1", id="r-2", **{field: "r-1"})
        assert topics.key_of(correction) == topics.key_of(original)


@pytest.mark.parametrize("type_", EVENT_TYPES)
def test_a_resend_has_the_same_key(type_: str) -> None:
    made = event(type_, subject="Vụ 7")
    again = codec.decode(codec.seal(msgspec.json.encode(made), datetime(2026, 1, 1, tzinfo=UTC), "list"))
    assert topics.key_of(again) == topics.key_of(made)


def test_every_type_has_one_topic() -> None:
    carried: list[type[Event]] = [cls for topic in ALL for cls in topic.types]
    assert sorted(cls.__name__ for cls in carried) == sorted(cls.__name__ for cls in EVENT_TYPES.values())


def test_names_differ_and_the_dead_are_no_input() -> None:
    assert len({topic.name for topic in ALL}) == len(ALL)
    assert DEAD not in INPUTS
    # What is remembered for ever must be on disk before a sender is told that it is safe.
    assert all(topic.flush_each for topic in ALL if topic.dedupe is Dedupe.FOREVER)
