"""Which centre runs on a data folder, and what did it leave behind when it was killed?

The supervisor holds a lock on a file for as long as it lives, so that "is it running" is answered by the kernel. What
it started is written beside it at every change, by pid and start time.
"""

import fcntl
import os
import time
from pathlib import Path

import msgspec

from deploy.local.child import Identity, family_of, kill_all

STATE_NAME = "state.json"
LOCK_NAME = "lock"


class ProcessRecord(msgspec.Struct, frozen=True):
    """One supervised process as `ioc status` shows it. `since_s` is Unix time."""

    name: str
    state: str
    pid: int
    address: str
    restarts: int
    since_s: float
    identity: Identity | None


class RunState(msgspec.Struct, frozen=True):
    """The whole run: who supervises, whether all is ready, and the addresses a person or a test needs."""

    supervisor: Identity
    ready: bool
    addresses: dict[str, str]
    processes: list[ProcessRecord]


class RunRecord:
    """The folder `run` of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "run"
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Takes the lock until `release` or the end of this process; False when another has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Gives the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def is_running(self) -> bool:
        """Whether a supervisor holds the lock now."""
        if not (self.folder / LOCK_NAME).exists():
            return False
        probe = RunRecord(self.folder.parent)
        free = probe.acquire()
        probe.release()
        return not free

    def write(self, state: RunState) -> None:
        """Replaces the state; a reader sees the old or the new one whole."""
        partial = self.folder / f"{STATE_NAME}.partial"
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
        partial.replace(self.folder / STATE_NAME)

    def read(self) -> RunState | None:
        """The last state written, also that of a run that is over; None when there is none or it is damaged."""
        try:
            return msgspec.json.decode((self.folder / STATE_NAME).read_bytes(), type=RunState)
        except (OSError, msgspec.DecodeError):
            return None

    def end_leftovers(self) -> list[str]:
        """Kills what a killed supervisor left running, last started first, and returns the names."""
        state = self.read()
        ended: list[str] = []
        for record in reversed(state.processes if state else []):
            process = record.identity.process() if record.identity else None
            if process is not None:
                kill_all(family_of(process))
                ended.append(record.name)
        return ended

    def wait_released(self, timeout_s: float) -> bool:
        """Waits until no supervisor holds the lock; False when one still does after `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while self.is_running():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.05)
        return True
