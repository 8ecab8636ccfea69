"""How is one supervised program started, watched, logged and ended, so that nothing stays behind?

Each child leads its own session, is told by the kernel when its parent dies, and writes to a log of
bounded size. A process is named by its pid together with its start time, since pids are used again.
"""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

LOG_BYTES_MAX = 10_000_000  # then the log becomes `.1`, and the `.1` before it is gone
TAIL_LINES_MAX = 30  # what a person is shown when the child fails
LOG_END_TIMEOUT_S = 2  # a process that fled the family may hold the pipe open; the log is not worth more waiting
POLL_S = 0.01
LINE_BYTES_MAX = 64 * 1024  # longer lines are written in pieces
START_TIME_TOLERANCE_S = 0.02  # the kernel counts start times in ticks of 10 ms


class Identity(msgspec.Struct, frozen=True):
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    started_at_s: float

    def process(self) -> psutil.Process | None:
        """The live process, or None when it is gone (or only its pid came back)."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started_at_s) > START_TIME_TOLERANCE_S:
                return None
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        return process


def identity_of(pid: int) -> Identity:
    """The identity of a live process. Raises psutil.NoSuchProcess."""
    return Identity(pid, psutil.Process(pid).create_time())


class Child:
    """One program: started once, ended once."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        environ: Mapping[str, str],
        cwd: Path,
        log: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        launcher: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.log = log
        self.stop_signal = stop_signal
        self._asked = False
        self._family_when_asked: list[psutil.Process] = []
        self._tail: deque[str] = deque(maxlen=TAIL_LINES_MAX)
        log.parent.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [*_with_parent_death_signal(stop_signal, launcher), *argv],
            env=dict(environ),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.identity = identity_of(self._process.pid)
        self._pump = threading.Thread(target=self._write_log, name=f"log of {name}", daemon=True)
        self._pump.start()

    @property
    def pid(self) -> int:
        """The process id, which stays reserved until the child has been waited for."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.poll()

    def tail(self) -> list[str]:
        """The last lines it wrote."""
        return list(self._tail)

    def signal_group(self, number: signal.Signals) -> None:
        """Sends a signal to the child's process group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def ask_to_stop(self) -> None:
        """Sends the stop signal once, without waiting: some programs take a second one as an order to drop all."""
        if not self._asked and self.exit_code() is None:
            self._asked = True
            # Once it is gone, nobody can tell any more which processes were its own.
            self._family_when_asked = self.family()
            self._process.send_signal(self.stop_signal)

    def stop(self, grace_s: float) -> bool:
        """Asks it to end; kills it and all below after `grace_s`. Tells whether it ended by itself."""
        self.ask_to_stop()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        kill_all(self._family_when_asked)
        self._pump.join(LOG_END_TIMEOUT_S)
        return True

    def kill(self) -> None:
        """Ends it and all below it at once, as a crash would."""
        family = [*self.family(), *self._family_when_asked]
        self.signal_group(signal.SIGKILL)
        self._process.wait()
        kill_all(family)
        self._pump.join(LOG_END_TIMEOUT_S)

    def pause(self) -> None:
        """Stops it and all below it in their tracks, until `resume`."""
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """Lets it go on after `pause`."""
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def family(self) -> list[psutil.Process]:
        """The child and all its descendants, also those that lead groups of their own, as PostgreSQL's do."""
        process = self.identity.process()
        return [] if process is None else family_of(process)

    def _write_log(self) -> None:
        assert self._process.stdout is not None
        file = self.log.open("ab")
        try:
            while line := self._process.stdout.readline(LINE_BYTES_MAX):
                self._tail.append(line.decode(errors="replace").rstrip("\n"))
                if file.tell() + len(line) > LOG_BYTES_MAX:
                    file.close()
                    self.log.replace(self.log.with_name(self.log.name + ".1"))
                    file = self.log.open("ab")
                file.write(line)
                file.flush()
        finally:
            file.close()
            self._process.stdout.close()


def family_of(process: psutil.Process) -> list[psutil.Process]:
    """The process and all its descendants, parents first."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill_all(processes: Sequence[psutil.Process], wait_s: float = 5) -> None:
    """Kills what still lives of `processes` (psutil compares start times) and waits until it is gone."""
    deadline_s = time.monotonic() + wait_s
    for process in processes:
        if lives(process):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
    while any(lives(process) for process in processes) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


def lives(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie that its new parent is slow to reap does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _with_parent_death_signal(number: signal.Signals, launcher: Sequence[str]) -> list[str]:
    # setpriv sets it in the child itself, after it has changed user, which would clear it again.
    if launcher:
        return [launcher[0], "--pdeathsig", number.name.removeprefix("SIG"), *launcher[1:]]
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", number.name.removeprefix("SIG")] if setpriv else []
