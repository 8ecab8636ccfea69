"""Does a change of a text touch nothing else, and is it taken back from what has changed since?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.admin.entry import TABLES, Edit, edited, entries, removed
from deploy.admin.text_change import changed_blocks, difference, taken_back
from deploy.site import SHIPPED, read_folder

LINES = st.lists(st.sampled_from(["a", "b", "c", "d", ""]), max_size=12)
FENCE = [f"fence {number}" for number in range(3)]


def text(lines: list[str]) -> str:
    """Lines as a file."""
    return "".join(f"{line}\n" for line in lines)


@given(before=LINES, after=LINES)
def test_a_difference_tells_all_that_changed(before: list[str], after: list[str]) -> None:
    rebuilt: list[str] = []
    at = 0
    for a, b, c, d in changed_blocks(before, after):
        rebuilt += before[at:a] + after[c:d]
        at = b
    assert rebuilt + before[at:] == after
    shown = [line for part in difference(text(before), text(after)).parts for line in part]
    assert all(before[line.before - 1] == line.text for line in shown if line.before is not None)
    assert all(after[line.after - 1] == line.text for line in shown if line.after is not None)
    numbers = [line.before for line in shown if line.before is not None]
    assert numbers == sorted(set(numbers))
    found = difference(text(before), text(after))
    assert (found.added, found.removed) == (sum(x.mark == "+" for x in shown), sum(x.mark == "-" for x in shown))


@given(before=LINES, after=LINES, elsewhere=LINES, later=LINES)
def test_a_change_is_taken_back_around_what_changed_elsewhere(
    before: list[str], after: list[str], elsewhere: list[str], later: list[str]
) -> None:
    for one, two in ((True, False), (False, True)):

        def joined(first: list[str], second: list[str], swap: bool = two) -> str:
            return text([*second, *FENCE, *first] if swap else [*first, *FENCE, *second])

        assert one is not two
        back = taken_back(joined(before, elsewhere), joined(after, elsewhere), joined(after, later))
        # Where lines are alike, what has changed may be found next to it: then nothing is done.
        assert back in (joined(before, later), None)
    assert taken_back(text(before), text(after), text(after)) == text(before)


def test_what_changed_again_in_the_same_lines_is_not_taken_back() -> None:
    assert taken_back("a\nb\nc\n", "a\nB\nc\n", "a\nBB\nc\n") is None
    assert taken_back("a\nb\nc\nd\ne\n", "a\nB\nc\nd\ne\n", "a\nB\nc\nd\nE\n") == "a\nb\nc\nd\nE\n"


@pytest.mark.parametrize("pack", ["boston", "vietnam"])
def test_a_form_changes_only_its_entry_of_a_shipped_pack(pack: str) -> None:
    files = read_folder(SHIPPED / pack)
    for file in TABLES:
        if file not in files:
            continue
        before = files[file]
        found = entries(file, before)
        for entry in [*found[::7], *found[-1:]]:
            path: list[str | int] = ["name"] if "name" in entry.value else ["names", "vi"]
            name = entry.value.get("name") or entry.value["names"]["vi"]
            changed = edited(file, before, entry.id, [Edit(path, 'Tên "khác"')])
            (only,) = difference(before, changed).parts
            assert sum(line.mark == "+" for line in only) == 1
            assert edited(file, changed, entry.id, [Edit(path, name)]) == before
            rest = entries(file, removed(file, before, entry.id))
            assert [one.id for one in rest] == [one.id for one in found if one.id != entry.id]
