"""Do all processes of a centre get the same keys for personal data, and nobody else?"""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.personal_keys import key_ring, keys_path
from deploy.settings import Settings
from schemas.errors import OperatorError


def settings(folder: Path, **variables: str) -> Settings:
    """The settings of a centre in a folder of its own."""
    return Settings.from_env({"IOC_DATA": str(folder / "data"), **variables})


def test_they_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    first, second = key_ring(settings(tmp_path)), key_ring(settings(tmp_path))
    path = keys_path(settings(tmp_path))
    assert path == tmp_path / "data" / "secrets" / "personal.keys"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert second.open(first.seal(b"x", "about"), "about") == b"x"
    assert first.token("a", "b") == second.token("a", "b")


def test_processes_that_start_at_once_have_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: key_ring(settings(tmp_path)), range(16)))
    assert len({ring.token("a", "b") for ring in rings}) == 1
    assert [path.name for path in keys_path(settings(tmp_path)).parent.iterdir()] == ["personal.keys"]


def test_those_of_another_centre_are_others(tmp_path: Path) -> None:
    rings = [key_ring(settings(tmp_path / name)) for name in ("a", "b")]
    assert rings[0].token("a", "b") != rings[1].token("a", "b")


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    elsewhere = tmp_path / "personal.keys"
    named = settings(tmp_path, IOC_PERSONAL_KEYS=str(elsewhere))
    with pytest.raises(OperatorError, match="IOC_PERSONAL_KEYS"):
        key_ring(named)
    assert not elsewhere.exists()
    made = key_ring(settings(tmp_path))
    elsewhere.write_bytes(keys_path(settings(tmp_path)).read_bytes())
    elsewhere.chmod(0o600)
    assert key_ring(named).token("a", "b") == made.token("a", "b")


def test_what_others_can_read_is_no_secret(tmp_path: Path) -> None:
    key_ring(settings(tmp_path))
    keys_path(settings(tmp_path)).chmod(0o644)
    with pytest.raises(OperatorError, match="chmod 600"):
        key_ring(settings(tmp_path))


def test_a_file_that_is_damaged_is_not_made_anew(tmp_path: Path) -> None:
    key_ring(settings(tmp_path))
    path = keys_path(settings(tmp_path))
    path.write_bytes(b"\xff" + path.read_bytes()[:40])
    with pytest.raises(OperatorError, match="backup"):
        key_ring(settings(tmp_path))
