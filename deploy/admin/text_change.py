"""What is different between two texts, and how is a change taken back from a text that has changed since?"""

from collections.abc import Sequence
from difflib import SequenceMatcher

from msgspec import Struct

CONTEXT_LINES = 3
"""Lines that are shown around what is different."""

SHOWN_LINES_MAX = 1_500
"""Of a longer difference only the beginning is shown."""

COMPARED_LINES_MAX = 4_000
"""Of texts that differ over more lines than this, those count as replaced as a whole: comparing takes too long."""


class DiffLine(Struct, frozen=True):
    """A line of a difference: `mark` is a space, `-` or `+`; the numbers are the line's, from 1, where it stands."""

    mark: str
    before: int | None
    after: int | None
    text: str


class Diff(Struct, frozen=True):
    """Parts of a text that differ, each with some lines around. `is_cut`: there is more."""

    parts: list[list[DiffLine]]
    added: int
    removed: int
    is_cut: bool


Block = tuple[int, int, int, int]
"""Lines [a, b) of the one text became lines [c, d) of the other."""


def difference(before: str, after: str) -> Diff:
    """What is different, line by line."""
    old, new = before.splitlines(), after.splitlines()
    blocks = changed_blocks(old, new)
    parts: list[list[DiffLine]] = []
    shown = 0
    previous_end = -1
    for a, b, c, d in blocks:
        part: list[DiffLine] = []
        begin = max(0, a - CONTEXT_LINES, previous_end)
        part += [DiffLine(" ", n + 1, n + 1 + c - a, old[n]) for n in range(begin, a)]
        part += [DiffLine("-", n + 1, None, old[n]) for n in range(a, b)]
        part += [DiffLine("+", None, n + 1, new[n]) for n in range(c, d)]
        end = min(len(old), b + CONTEXT_LINES)
        part += [DiffLine(" ", n + 1, n + 1 + d - b, old[n]) for n in range(b, end)]
        # What follows soon belongs to the same part, and no line is shown twice.
        if parts and begin <= previous_end:
            overlap = previous_end - a
            parts[-1] = parts[-1][: len(parts[-1]) - max(0, overlap)] + part
        else:
            parts.append(part)
        previous_end = end
        shown += len(part)
        if shown > SHOWN_LINES_MAX:
            break
    cut = _cut(parts, SHOWN_LINES_MAX)
    added, removed = sum(d - c for *_, c, d in blocks), sum(b - a for a, b, *_ in blocks)
    return Diff(cut, added, removed, shown > SHOWN_LINES_MAX)


def taken_back(before: str, after: str, now: str) -> str | None:
    """`now` without what made `after` of `before`. None where `now` has changed in the same or the next lines."""
    if now == after:
        return before
    old, new, current = (text.splitlines(keepends=True) for text in (before, after, now))
    since = changed_blocks(new, current)
    result: list[str] = []
    at = shift = 0
    place = 0
    for a, b, c, d in changed_blocks(old, new):
        while place < len(since) and since[place][1] < c:
            shift = since[place][3] - since[place][1]
            place += 1
        if place < len(since) and since[place][0] <= d:
            return None
        result += current[at : c + shift]
        result += old[a:b]
        at = d + shift
    return "".join([*result, *current[at:]])


def changed_blocks(old: Sequence[str], new: Sequence[str]) -> list[Block]:
    """Which lines became which others, from top to bottom."""
    begin = 0
    while begin < min(len(old), len(new)) and old[begin] == new[begin]:
        begin += 1
    end = 0
    while end < min(len(old), len(new)) - begin and old[-1 - end] == new[-1 - end]:
        end += 1
    left, right = old[begin : len(old) - end], new[begin : len(new) - end]
    if not left and not right:
        return []
    if len(left) + len(right) > COMPARED_LINES_MAX:
        return [(begin, begin + len(left), begin, begin + len(right))]
    found = SequenceMatcher(None, left, right, autojunk=False).get_opcodes()
    return [(begin + a, begin + b, begin + c, begin + d) for kind, a, b, c, d in found if kind != "equal"]


def _cut(parts: list[list[DiffLine]], lines_max: int) -> list[list[DiffLine]]:
    left = lines_max
    cut: list[list[DiffLine]] = []
    for part in parts:
        if left <= 0:
            break
        cut.append(part[:left])
        left -= len(part)
    return cut
