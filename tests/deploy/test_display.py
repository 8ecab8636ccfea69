"""Is a screen's key made, listed and taken away by a command, and is the pack right after each?"""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.admin.history import version_of
from deploy.admin.pack_folder import Author, PackFolder
from deploy.display import add, remove
from deploy.site import SHIPPED, load_site, read_folder
from schemas.display import display_with
from schemas.errors import OperatorError
from tests.dashboard.case_centre import PACK
from tests.faults.site import write_pack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pack(PACK, tmp_path / "site")


def test_screens_come_and_go_and_the_key_is_kept_nowhere(folder: Path) -> None:
    keys = {name: add(folder, folder.parent / "data", name, "olga") for name in ("hall", "room-2", "car")}
    site = load_site(folder)
    assert {name: display.id for name, key in keys.items() if (display := display_with(site, key))} == {
        name: name for name in keys
    }
    text = (folder / "displays.toml").read_text(encoding="utf-8")
    assert not any(key in text for key in keys.values())
    # What somebody wrote beside an entry stays.
    (folder / "displays.toml").write_text(text.replace('id = "car"', '# In the van.\nid = "car"'), encoding="utf-8")
    remove(folder, folder.parent / "data", "room-2")
    site = load_site(folder)
    assert [name for name, key in keys.items() if display_with(site, key)] == ["hall", "car"]
    assert "# In the van." in (folder / "displays.toml").read_text(encoding="utf-8")
    remove(folder, folder.parent / "data", "car")
    remove(folder, folder.parent / "data", "hall")
    assert load_site(folder).displays == {}
    assert add(folder, folder.parent / "data", "hall", "olga") != keys["hall"]


@pytest.mark.parametrize(
    ("name", "person", "words"),
    [
        pytest.param("hall", "nobody", "person 'nobody' is not known", id="unknown person"),
        pytest.param("Hall", "olga", "expected `str` matching regex", id="no name"),
        pytest.param('x"\nkey="', "olga", "is no name", id="quotes"),
    ],
)
def test_what_would_not_be_right_changes_nothing(folder: Path, name: str, person: str, words: str) -> None:
    with pytest.raises(OperatorError) as refused:
        add(folder, folder.parent / "data", name, person)
    assert words in str(refused.value)
    assert not (folder / "displays.toml").exists()


def test_a_name_is_given_once_and_only_what_is_there_is_taken_away(folder: Path) -> None:
    add(folder, folder.parent / "data", "hall", "olga")
    with pytest.raises(OperatorError, match="already"):
        add(folder, folder.parent / "data", "hall", "olga")
    with pytest.raises(OperatorError, match="There is no screen"):
        remove(folder, folder.parent / "data", "room")


def test_a_shipped_pack_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="comes with the program"):
        add(SHIPPED / "vietnam", tmp_path, "hall", "anyone")
    assert not (SHIPPED / "vietnam" / "displays.toml").exists()


def test_screens_that_are_added_at_once_are_all_there(folder: Path) -> None:
    names = [f"s{number}" for number in range(4)]
    begin = threading.Barrier(len(names))

    def one(name: str) -> None:
        begin.wait()
        add(folder, folder.parent / "data", name, "olga")

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(one, names))
    assert sorted(display.id for display in load_site(folder).displays.values()) == names
    assert not [path.name for path in folder.iterdir() if "partial" in path.name]


def test_a_key_that_a_change_under_way_has_taken_away_does_not_come_back(folder: Path) -> None:
    data = folder.parent / "data"
    add(folder, data, "hall", "olga")
    (folder / "displays.toml").chmod(0o664)
    before = read_folder(folder)

    class Killed(Exception):
        pass

    def die(_: str) -> None:
        raise Killed

    files = {"displays.toml": "# none\n", "units.toml": before["units.toml"] + "# after\n"}
    author = Author(who="tri", name="T", why="stolen", at=datetime(2026, 5, 1, tzinfo=UTC))
    dying = PackFolder(folder, data, moved=die)
    with pytest.raises(Killed):
        dying.apply(version_of(before), files, author, lambda _: [])
    # As one who is killed before the first file is moved in leaves it.
    (folder / "displays.toml").write_text(before["displays.toml"])
    add(folder, data, "room", "olga")
    assert [display.id for display in load_site(folder).displays.values()] == ["room"]
    assert (folder / "displays.toml").stat().st_mode & 0o777 == 0o664
    assert (folder / "units.toml").read_text() == files["units.toml"]
