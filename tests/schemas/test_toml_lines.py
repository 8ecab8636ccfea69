"""Is every key found on its line, however awkwardly a TOML text is written?"""

import tomllib
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.toml_lines import Path, line_of, toml_lines

AWKWARD = '''\
# [[kpi]] in a comment
title = "# no comment [[kpi]]"
"dotted.key" = """
[[kpi]]
id = "not a table" \\"""
""""
a.b . "c" = [ 1, # ]
  "]", [ '[[', {d = 1, e.f = "}"} ],
]
when = 2026-01-01 00:00:00  # a date with a space
[[kpi]] # the first
id = 'C:\\'
[kpi.names]
vi = "Một"
[[kpi.target]]
value = +inf
[[ kpi . "target" ]]
value = -1_000.5e3
[kpi.target.more]
x = {}
[other]
[[kpi]]
where = [ { a = { x = [] } },
   { "\\u0062" = true } ]
numerator.where.y = \'\'\'
it''s''\'\'\'
last = 0'''

AWKWARD_LINES: dict[Path, int] = {
    ("title",): 2,
    ("dotted.key",): 3,
    ("a", "b", "c"): 7,
    ("a", "b", "c", 1): 8,
    ("a", "b", "c", 2, 1, "e", "f"): 8,
    ("when",): 10,
    ("kpi", 0): 11,
    ("kpi", 0, "id"): 12,
    ("kpi", 0, "names", "vi"): 14,
    ("kpi", 0, "target", 0): 15,
    ("kpi", 0, "target", 1, "value"): 18,
    ("kpi", 0, "target", 1, "more", "x"): 20,
    ("other",): 21,
    ("kpi", 1): 22,
    ("kpi", 1, "where", 0, "a", "x"): 23,
    ("kpi", 1, "where", 1, "b"): 24,
    ("kpi", 1, "numerator", "where", "y"): 25,
    ("kpi", 1, "last"): 27,
}


def paths(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Everything in a document, with where it is."""
    if path:
        yield path, value
    below: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, one in below:
        yield from paths(one, (*path, step))


@pytest.mark.parametrize("newline", [pytest.param("\n", id="unix"), pytest.param("\r\n", id="windows")])
def test_an_awkward_file(newline: str) -> None:
    text = AWKWARD.replace("\n", newline)
    lines = toml_lines(text)
    assert {path: lines[path] for path in AWKWARD_LINES} == AWKWARD_LINES
    assert lines.keys() == {path for path, _ in paths(tomllib.loads(text))}


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", "\r\n\t#\r\n"])
def test_nothing_has_no_lines(text: str) -> None:
    assert toml_lines(text) == {}


def test_what_has_no_line_is_told_by_what_is_around_it() -> None:
    lines = toml_lines("\n[[kpi]]\n\nid = 1")
    assert line_of(lines, ("kpi", 0, "id")) == 4
    assert line_of(lines, ("kpi", 0, "unit")) == 2
    assert line_of(lines, ("alert", 3)) == 1


DECOYS = [
    '"""\n[[kpi]]\nk = 1 \\"""\n"""',
    "'''\n[kpi.names] '' \n'''",
    '"[[kpi]] # \\" ="',
    "'{[\"'",
    "[ '''\n]''',\n ]",
]
"""Values that look like something else."""


@st.composite
def documents(draw: st.DrawFn) -> str:
    """TOML texts in which every number stands once, on the line of its key."""
    numbers = count(10_000_001)
    names = count()

    def noise() -> str:
        return draw(st.sampled_from(["", "\n", "  # ]] = {\n", "\t\n\n# [[kpi]]\n"]))

    def pair() -> str:
        key = draw(st.sampled_from(["k{}", '"k {}"', "'k.{}'", 'k{} . "]" .x', '"[{}" ']))
        value = draw(
            st.sampled_from(
                [
                    "{}",
                    "[{}, {}]",
                    "[\n# ],\n{} , # [\n {},\n]",
                    "{{ x = {}, 'y}}' = {{ z.z = [{}] }} }}",
                    "[[{}],\n[\n{}]]",
                ]
            )
        )
        if draw(st.booleans()):
            value = draw(st.sampled_from(DECOYS))
        else:
            value = value.format(*(next(numbers) for _ in range(2)))
        return f"{key.format(next(names))} = {value}{draw(st.sampled_from([chr(10), ' # = [' + chr(10)]))}"

    def body() -> str:
        return "".join(noise() + pair() for _ in range(draw(st.integers(0, 3))))

    text = noise() + body()
    for _ in range(draw(st.integers(0, 3))):
        text += f"[[kpi]]{noise() or chr(10)}" + body()
        for _ in range(draw(st.integers(0, 2))):
            header = draw(
                st.sampled_from(["[[kpi.target]]", '[[ kpi . "target" ]]', "[kpi.sub{0}]", "[kpi.'a b'.s{0}]"])
            )
            text += header.format(next(names)) + "\n" + body()
    return text


@given(documents())
def test_every_number_is_on_the_line_that_is_told(text: str) -> None:
    lines = toml_lines(text)
    written = text.split("\n")
    found = dict(paths(tomllib.loads(text)))
    assert lines.keys() == found.keys()
    for path, value in found.items():
        if isinstance(value, int):
            # A key of an array that opens on its line has elements on the lines below.
            assert str(value) in written[lines[path] - 1]
