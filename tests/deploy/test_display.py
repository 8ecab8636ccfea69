"""Is a screen's key made, listed and taken away by a command, and is the pack right after each?"""

from pathlib import Path

import pytest

from deploy.display import add, remove
from deploy.site import SHIPPED, load_site
from schemas.display import display_with
from schemas.errors import OperatorError
from tests.dashboard.case_centre import PACK
from tests.faults.site import write_pack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pack(PACK, tmp_path / "site")


def test_screens_come_and_go_and_the_key_is_kept_nowhere(folder: Path) -> None:
    keys = {name: add(folder, name, "olga") for name in ("hall", "room-2", "car")}
    site = load_site(folder)
    assert {name: display.id for name, key in keys.items() if (display := display_with(site, key))} == {
        name: name for name in keys
    }
    text = (folder / "displays.toml").read_text(encoding="utf-8")
    assert not any(key in text for key in keys.values())
    # What somebody wrote beside an entry stays.
    (folder / "displays.toml").write_text(text.replace('id = "car"', '# In the van.\nid = "car"'), encoding="utf-8")
    remove(folder, "room-2")
    site = load_site(folder)
    assert [name for name, key in keys.items() if display_with(site, key)] == ["hall", "car"]
    assert "# In the van." in (folder / "displays.toml").read_text(encoding="utf-8")
    remove(folder, "car")
    remove(folder, "hall")
    assert load_site(folder).displays == {}
    assert add(folder, "hall", "olga") != keys["hall"]


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
        add(folder, name, person)
    assert words in str(refused.value)
    assert not (folder / "displays.toml").exists()


def test_a_name_is_given_once_and_only_what_is_there_is_taken_away(folder: Path) -> None:
    add(folder, "hall", "olga")
    with pytest.raises(OperatorError, match="already"):
        add(folder, "hall", "olga")
    with pytest.raises(OperatorError, match="There is no screen"):
        remove(folder, "room")


def test_a_shipped_pack_is_left_as_it_is() -> None:
    with pytest.raises(OperatorError, match="comes with the program"):
        add(SHIPPED / "vietnam", "hall", "anyone")
    assert not (SHIPPED / "vietnam" / "displays.toml").exists()
