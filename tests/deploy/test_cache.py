"""Is a program folder made once, whole, and made again when it was damaged?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import cache, manifest

BUILDER = """
import sys, time
from pathlib import Path
from deploy.local import cache

def build(partial, final):
    with Path(sys.argv[2]).open("a") as log:
        log.write("built\\n")
    time.sleep(0.5)
    (partial / "program").write_text("works")

print((cache.provision(Path(sys.argv[1]), build) / "program").read_text())
"""


class Builder:
    """Fills a folder with two files and counts how often it did."""

    def __init__(self) -> None:
        self.builds = 0

    def __call__(self, partial: Path, final: Path) -> None:
        self.builds += 1
        (partial / "bin").mkdir()
        (partial / "bin/program").write_text("works")
        (partial / "location").write_text(str(final))


def test_the_second_time_nothing_is_built(tmp_path: Path) -> None:
    build = Builder()
    first = cache.provision(tmp_path / "p", build)
    assert cache.provision(tmp_path / "p", build) == first
    assert build.builds == 1
    assert (first / "location").read_text() == str(first)


def _truncate(folder: Path) -> None:
    (folder / "bin/program").write_text("wor")


def _remove(folder: Path) -> None:
    (folder / "bin/program").unlink()


def _touch(folder: Path) -> None:
    os.utime(folder / "bin/program", (1, 1))


def _lose_manifest(folder: Path) -> None:
    (folder / manifest.NAME).unlink()


def _break_manifest(folder: Path) -> None:
    (folder / manifest.NAME).write_text("{")


@pytest.mark.parametrize("damage", [_truncate, _remove, _touch, _lose_manifest, _break_manifest])
def test_a_damaged_folder_is_built_again(tmp_path: Path, damage) -> None:  # noqa: ANN001
    build = Builder()
    folder = cache.provision(tmp_path / "p", build)
    damage(folder)
    assert cache.provision(tmp_path / "p", build) == folder
    assert build.builds == 2
    assert (folder / "bin/program").read_text() == "works"
    assert manifest.faults(folder, full=True) == []


def test_a_flipped_byte_that_keeps_size_and_time_is_found_by_the_full_check(tmp_path: Path) -> None:
    folder = cache.provision(tmp_path / "p", Builder())
    program = folder / "bin/program"
    before = program.stat()
    program.write_text("w0rks")
    os.utime(program, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert manifest.faults(folder, full=False) == []
    assert manifest.faults(folder, full=True) == [f"{program}: its content is damaged"]


def test_a_moved_cache_is_built_again_because_binaries_know_their_place(tmp_path: Path) -> None:
    build = Builder()
    cache.provision(tmp_path / "a", build).rename(tmp_path / "b")
    folder = cache.provision(tmp_path / "b", build)
    assert build.builds == 2
    assert (folder / "location").read_text() == str(tmp_path / "b")


def test_a_build_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    def fail(partial: Path, final: Path) -> None:
        (partial / "half").write_text(str(final))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.provision(tmp_path / "p", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".p.lock"]


def test_what_a_killed_build_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".p.partial123").mkdir()
    cache.provision(tmp_path / "p", Builder())
    assert not list(tmp_path.glob(".p.partial*"))


def test_processes_at_the_same_time_build_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILDER, str(tmp_path / "p"), str(tmp_path / "log")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [process.communicate(timeout=30)[0] for process in processes]
    assert outputs == ["works\n"] * 4
    assert (tmp_path / "log").read_text() == "built\n"
