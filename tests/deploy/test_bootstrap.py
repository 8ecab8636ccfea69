"""Does set-up install once for each lock, and say in one line what it cannot do?

The steps that ask the network are counted instead of done; everything else is the real program.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parent.parent.parent / "deploy" / "bootstrap.py"


class Project:
    """A clone with the real bootstrap and locks of its own."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.calls: list[str] = []
        (root / "deploy" / "locks").mkdir(parents=True)
        (root / "pyproject.toml").write_text("[project]\n")
        for group in ("run", "test", "bench"):
            self.lock(group).write_text(f"{group}==1\n")
        (root / "deploy" / "bootstrap.py").write_text(SOURCE.read_text())
        monkeypatch.delenv("IOC_DATA", raising=False)
        spec = importlib.util.spec_from_file_location("bootstrap_under_test", root / "deploy" / "bootstrap.py")
        assert spec is not None
        assert spec.loader is not None
        self.module: ModuleType = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        monkeypatch.setattr(self.module, "_make_venv", self._make_venv)
        monkeypatch.setattr(self.module, "_pip", lambda *arguments: self.calls.append(" ".join(arguments)))

    def lock(self, group: str) -> Path:
        return self.root / "deploy" / "locks" / f"{group}.lock"

    def _make_venv(self) -> None:
        python = Path(self.module.VENV_PYTHON)
        python.parent.mkdir(parents=True, exist_ok=True)
        python.unlink(missing_ok=True)
        python.symlink_to(sys.executable)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A clone on which nothing was installed yet."""
    return Project(tmp_path, monkeypatch)


def test_the_second_run_does_nothing(project: Project) -> None:
    assert project.module.main(["run"]) == 0
    assert len(project.calls) == 2
    assert project.calls[0].startswith("install --require-hashes -r")
    assert project.calls[1].startswith("install --no-deps --no-build-isolation -e")
    assert project.module.main(["run"]) == 0
    assert len(project.calls) == 2


def test_a_larger_group_serves_the_smaller_ones_but_not_the_other_way_round(project: Project) -> None:
    project.module.main(["test"])
    project.calls.clear()
    project.module.main(["run"])
    assert project.calls == []
    project.module.main(["bench"])
    assert len(project.calls) == 2


@pytest.mark.parametrize("changed", ["deploy/locks/run.lock", "pyproject.toml"])
def test_a_changed_lock_or_project_is_installed(project: Project, changed: str) -> None:
    project.module.main(["run"])
    project.calls.clear()
    (project.root / changed).write_text("# another\n")
    project.module.main(["run"])
    assert len(project.calls) == 2


def test_an_interrupted_install_is_done_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: str) -> None:
        raise project.module.SetupError("pip failed.")

    with monkeypatch.context() as broken:
        broken.setattr(project.module, "_pip", fail)
        assert project.module.main(["run"]) == 1
    assert project.module.main(["run"]) == 0
    assert len(project.calls) == 2


def test_a_python_that_is_too_old_is_told_in_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(project.module, "PYTHON_MIN", (99, 0))
    assert project.module.main(["run"]) == 1
    said = capsys.readouterr().err
    assert "Python 99.0 or later is needed" in said
    assert said.count("\n") == 1


def test_a_wrong_group_is_told_in_one_line() -> None:
    done = subprocess.run([sys.executable, str(SOURCE), "all"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "usage: bootstrap.py run|test|bench\n"
