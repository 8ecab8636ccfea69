"""Does the supervisor start in order, restart what dies, stop in reverse order, and leave nothing behind?"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.run_record import RunRecord, RunState
from deploy.local.supervisor import BACKOFF_MAX_S, backoff_s

ROOT = Path(__file__).parent.parent.parent
DRIVER = Path(__file__).with_name("dummy_supervisor.py")
WAIT_S = 15.0

NOTES_ITS_LIFE = "echo +{0} >> life; trap 'echo -{0} >> life; exit 0' TERM; while :; do sleep 0.05; done"

Start = Callable[..., subprocess.Popen[str]]


def until(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Waits for it, or fails saying what did not come."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} did not come in {timeout_s} s"
        time.sleep(0.02)


def state_of(folder: Path) -> RunState:
    """The state that `ioc status` would show."""
    state = RunRecord(folder).read()
    assert state is not None
    return state


def below(folder: Path) -> list[psutil.Process]:
    """Every live process that works in the folder, which all children of these tests do."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a supervisor over the given parts and waits until it says UP."""
    started: list[subprocess.Popen[str]] = []

    def launch(*parts: str, up: bool = True) -> subprocess.Popen[str]:
        log = tmp_path / f"said{len(started)}"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, str(DRIVER), str(tmp_path), *parts],
                cwd=ROOT,
                stdout=output,
                stderr=output,
                text=True,
            )
        started.append(process)
        if up:
            until(lambda: "UP" in log.read_text() or process.poll() is not None, "UP")
            assert process.poll() is None, log.read_text()
        return process

    yield launch
    for process in started:
        process.kill()
        process.wait()
    for process in below(tmp_path):
        process.kill()


def test_backoff_doubles_up_to_its_bound() -> None:
    assert [backoff_s(n) for n in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert backoff_s(1_000_000) == BACKOFF_MAX_S


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_in_reverse_order_and_leaves_no_process(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    supervisor = start(*(f"{name}:{stage}:{NOTES_ITS_LIFE.format(name)}" for stage, name in enumerate("abc")))
    until(lambda: (tmp_path / "life").read_text().split() == ["+a", "+b", "+c"], "the start in order")
    supervisor.send_signal(number)
    assert supervisor.wait(WAIT_S) == 0
    assert (tmp_path / "life").read_text().split() == ["+a", "+b", "+c", "-c", "-b", "-a"]
    assert below(tmp_path) == []
    assert not RunRecord(tmp_path).is_running()


def test_a_child_that_ignores_the_signal_is_killed_within_ten_seconds(start: Start, tmp_path: Path) -> None:
    supervisor = start("deaf:0:trap '' TERM INT; while :; do sleep 0.05; done")
    started_s = time.monotonic()
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(WAIT_S) == 0
    assert time.monotonic() - started_s < 10
    assert below(tmp_path) == []
    assert "deaf: did not end in time and was killed" in (tmp_path / "said0").read_text()


def test_grandchildren_in_groups_of_their_own_end_too(start: Start, tmp_path: Path) -> None:
    supervisor = start("parent:0:setsid sleep 60 & exec sleep 60")
    until(lambda: len(below(tmp_path)) == 2, "the grandchild")
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(WAIT_S) == 0
    assert below(tmp_path) == []


def test_what_dies_is_started_again_and_the_terminal_says_so(start: Start, tmp_path: Path) -> None:
    start("steady:0:sleep 60", "victim:1:sleep 60")
    steady, victim = state_of(tmp_path).processes
    psutil.Process(victim.pid).kill()
    until(lambda: state_of(tmp_path).processes[1].pid not in {0, victim.pid}, "the restart")
    after = state_of(tmp_path)
    assert after.processes[0].pid == steady.pid
    assert after.processes[1].restarts == 1
    said = (tmp_path / "said0").read_text()
    assert "victim: was killed by SIGKILL; starting it again in 0.5 s" in said


def test_repeated_failure_backs_off_and_shows_the_last_lines(start: Start, tmp_path: Path) -> None:
    start("broken:0:sleep 0.2; echo no such table; exit 3")
    until(lambda: "starting it again in 2.0 s" in (tmp_path / "said0").read_text(), "the third failure")
    said = (tmp_path / "said0").read_text()
    assert said.index("again in 0.5 s") < said.index("again in 1.0 s") < said.index("again in 2.0 s")
    assert "broken | no such table" in said


def test_a_one_shot_that_fails_stops_the_start(start: Start, tmp_path: Path) -> None:
    supervisor = start("first:0:sleep 60", "once:1:echo bad password; exit 1", "never:2:sleep 60", up=False)
    assert supervisor.wait(WAIT_S) != 0
    said = (tmp_path / "said0").read_text()
    assert "once failed." in said
    assert "bad password" in said
    assert state_of(tmp_path).processes[2].state == "not started"
    assert below(tmp_path) == []


def test_children_end_with_a_supervisor_that_is_killed(start: Start, tmp_path: Path) -> None:
    supervisor = start("child:0:exec sleep 60")
    supervisor.kill()
    until(lambda: below(tmp_path) == [], "the end of the orphan")


def test_the_next_start_ends_orphans_that_outlived_their_supervisor(start: Start, tmp_path: Path) -> None:
    deaf = "trap '' TERM; while :; do sleep 0.05; done"
    first = start(f"deaf:0:{deaf}")
    orphan = state_of(tmp_path).processes[0].pid
    first.kill()
    first.wait()
    assert psutil.pid_exists(orphan)
    start(f"deaf:0:{deaf}")
    assert "ended deaf" in (tmp_path / "said1").read_text()
    new = state_of(tmp_path).processes[0].pid
    assert new != orphan
    assert {process.pid for process in below(tmp_path) if process.name() == "sh"} == {new}


def test_logs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deploy.local import child

    monkeypatch.setattr(child, "LOG_BYTES_MAX", 10_000)
    log = tmp_path / "log"
    talker = child.Child("talker", ["sh", "-c", "seq 1 20000"], {"PATH": "/usr/bin:/bin"}, tmp_path, log)
    until(lambda: talker.exit_code() is not None, "the end of the talker")
    talker.stop(5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    assert all(path.stat().st_size <= 10_000 for path in tmp_path.iterdir())
    assert talker.tail()[-1] == "20000"
