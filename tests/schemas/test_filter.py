"""Does a filter accept what its conditions say, and nothing else?"""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.filter import Check, Condition, Where, Word, compile_filter, fields_of

words: st.SearchStrategy[Any] = st.sampled_from([True, False, 0, 1, 1.0, 2, 2.5, -1, "", "a", "ab", "b", "1", "True"])
values = st.one_of(st.none(), words, st.just(datetime(2026, 1, 1, tzinfo=UTC)))
numbers = st.sampled_from([-1.0, 0.0, 1.0, 2.0, 2.5])
word_lists = st.lists(words, min_size=1, max_size=3)
checks = st.builds(
    Check,
    is_not=st.none() | words | word_lists,
    at_least=st.none() | numbers,
    more_than=st.none() | numbers,
    at_most=st.none() | numbers,
    less_than=st.none() | numbers,
    starts_with=st.none() | st.sampled_from(["", "a", "ab"]),
    given=st.none() | st.booleans(),
)
conditions: st.SearchStrategy[Any] = st.one_of(words, word_lists, checks)
tables: st.SearchStrategy[Any] = st.dictionaries(st.sampled_from(["f", "g", "h"]), conditions, max_size=3)


def same(value: object, word: Word) -> bool:
    """As TOML and JSON tell values apart: true is no number, and 1 and 1.0 are the same number."""
    kinds = [bool, str]
    return value == word and [isinstance(value, kind) for kind in kinds] == [isinstance(word, kind) for kind in kinds]


def holds(condition: Condition, value: Any) -> bool:
    """One condition, read word by word from its description."""
    if isinstance(condition, list):
        return any(same(value, word) for word in condition)
    if not isinstance(condition, Check):
        return same(value, condition)
    unwanted = condition.is_not if isinstance(condition.is_not, list) else [condition.is_not]
    if condition.is_not is not None and any(word is not None and same(value, word) for word in unwanted):
        return False
    if condition.given is not None and condition.given == (value is None):
        return False
    if condition.starts_with is not None and not (
        type(value) is str and value[: len(condition.starts_with)] == condition.starts_with
    ):
        return False
    limits = (condition.at_least, condition.more_than, condition.at_most, condition.less_than)
    if all(limit is None for limit in limits):
        return True
    if type(value) not in (int, float):
        return False
    at_least, more_than, at_most, less_than = limits
    return (
        (at_least is None or not value < at_least)
        and (more_than is None or not value <= more_than)
        and (at_most is None or not value > at_most)
        and (less_than is None or not value >= less_than)
    )


@given(
    st.one_of(tables, st.lists(tables, min_size=1, max_size=3)), st.fixed_dictionaries(dict.fromkeys("fgh", values))
)
def test_a_filter_is_what_its_conditions_say(where: Where, event: dict[str, Any]) -> None:
    found = compile_filter(where)
    any_of = where if isinstance(where, list) else [where]
    expected = any(all(holds(condition, event[field]) for field, condition in table.items()) for table in any_of)
    assert found.accepts([event[field] for field in found.fields]) is expected
    assert found.fields == fields_of(where)
    assert len(set(found.fields)) == len(found.fields)


@pytest.mark.parametrize(
    ("where", "value", "accepted"),
    [
        pytest.param({"f": True}, True, True, id="true is true"),
        pytest.param({"f": True}, 1, False, id="1 is not true"),
        pytest.param({"f": 1}, True, False, id="true is not 1"),
        pytest.param({"f": 0}, False, False, id="false is not 0"),
        pytest.param({"f": [1, False]}, 0, False, id="0 is not the false of a list"),
        pytest.param({"f": {"is_not": 1}}, True, True, id="true is not 1, so it is something else"),
        pytest.param({"f": 4}, 4.0, True, id="4 and 4.0 are one number"),
        pytest.param({"f": {"at_least": 1}}, True, False, id="true is not at least 1"),
        pytest.param({"f": {"at_least": 4}}, 4, True, id="at least is reached at the limit"),
        pytest.param({"f": {"more_than": 4}}, 4, False, id="more than is not"),
        pytest.param({"f": {"at_most": 4}}, 4, True, id="at most is reached at the limit"),
        pytest.param({"f": {"less_than": 4}}, 4, False, id="less than is not"),
        pytest.param({"f": {"at_least": 2, "less_than": 4}}, 4, False, id="tests of one field all hold"),
        pytest.param({"f": {"at_most": 4}}, None, False, id="what is absent is not at most anything"),
        pytest.param({"f": {"is_not": "a"}}, None, True, id="what is absent is not a"),
        pytest.param({"f": {"given": False}}, None, True, id="what is absent is not given"),
        pytest.param({"f": {"given": True}}, "", True, id="an empty text is given"),
        pytest.param({"f": {"starts_with": "a"}}, "ab", True, id="starts with"),
        pytest.param({"f": {"starts_with": "a"}}, None, False, id="what is absent starts with nothing"),
        pytest.param({}, None, True, id="no condition"),
        pytest.param([], None, True, id="no table"),
        pytest.param([{"f": "a"}, {"f": "b"}], "b", True, id="one of the tables holds"),
    ],
)
def test_conditions(where: dict[str, Any], value: object, accepted: bool) -> None:
    found = compile_filter(msgspec.convert(where, Where))
    assert found.accepts([value] * len(found.fields)) is accepted
