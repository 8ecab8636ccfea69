"""Who starts the parts of a centre in order, restarts what dies, and leaves nothing behind at the end?

One loop over plain values: a `Unit` says how a part is launched and when it is ready. The terminal is told of each
step and how long it took.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

import msgspec

from deploy.local.child import Child, identity_of
from deploy.local.errors import OperatorError, ServiceError
from deploy.local.run_record import ProcessRecord, RunRecord, RunState

POLL_S = 0.1
BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
STEADY_AFTER_S = 60.0  # a part that ran this long starts its backoff anew
SHOW_TAIL_FROM_FAILURES = 2  # one death is news; from the second on, its last lines are shown
READY_TIMEOUT_S = 120.0
STAGE_GRACE_S = 2.3  # four stages stay under the ten seconds that a stop may take

Say = Callable[[str], None]


class Unit(msgspec.Struct, frozen=True):
    """One part: how to launch it, when it is ready, and where it is found.

    Units of one `stage` are launched together and stopped together; a later stage starts when the one before is
    ready. A unit that runs `once` has to end with 0 before the next stage starts.
    """

    name: str
    stage: int
    launch: Callable[[], Child]
    ready: Callable[[], bool] = lambda: True
    address: str = ""
    once: bool = False


class StopRequestedError(Exception):
    """Ctrl-C or SIGTERM came while the parts were still being started."""


def backoff_s(failures: int) -> float:
    """How long to wait before the restart after so many failures in a row."""
    return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(failures - 1, 16))


class Supervisor:
    """Runs the units until it is told to stop."""

    def __init__(
        self,
        record: RunRecord,
        units: Sequence[Unit],
        addresses: Mapping[str, str],
        say: Say,
        ready_timeout_s: float = READY_TIMEOUT_S,
    ) -> None:
        self._record = record
        self._units = units
        self._addresses = dict(addresses)
        self._say = say
        self._ready_timeout_s = ready_timeout_s
        self._parts = {unit.name: _Part(unit) for unit in units}
        self._ready = False
        self._stopping = False
        self._starting = True

    def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Starts all, watches until SIGINT or SIGTERM, then stops all. Raises OperatorError when a start fails."""
        handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in handled}
        try:
            try:
                self._start_all()
                self._starting = False
                self._ready = True
                self._write()
                self._announce()
                on_ready()
                while not self._stopping:
                    self._watch()
                    time.sleep(POLL_S)
            except StopRequestedError:
                pass
            finally:
                self._starting = False
                self._stop_all()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stopping = True
        # A start may be waiting in a download; an exception ends that, a flag would not.
        if self._starting:
            self._starting = False
            raise StopRequestedError

    def _start_all(self) -> None:
        for stage in sorted({unit.stage for unit in self._units}):
            parts = [part for part in self._parts.values() if part.unit.stage == stage]
            for part in parts:
                self._launch(part)
            self._await(parts)

    def _launch(self, part: "_Part") -> None:
        part.state = "starting"
        part.launch_started_s = time.monotonic()
        part.child = part.unit.launch()
        part.since_s = time.time()
        self._write()

    def _await(self, parts: Sequence["_Part"]) -> None:
        deadline_s = time.monotonic() + self._ready_timeout_s
        waiting = list(parts)
        while waiting:
            self._watch(during_start=True)
            for part in [part for part in waiting if self._has_arrived(part)]:
                waiting.remove(part)
                part.state = "done" if part.unit.once else "running"
                place = f" at {part.unit.address}" if part.unit.address else ""
                self._say(f"{part.unit.name}: {_took(part, 'done' if part.unit.once else 'ready' + place)}")
                self._write()
            if waiting and time.monotonic() > deadline_s:
                name = waiting[0].unit.name
                raise ServiceError(f"{name} was not ready in {self._ready_timeout_s:.0f} s.", _last_lines(waiting[0]))
            time.sleep(POLL_S / 2)

    def _has_arrived(self, part: "_Part") -> bool:
        if part.state == "failed":
            raise ServiceError(f"{part.unit.name} failed.", _last_lines(part))
        if part.unit.once:
            return part.state == "done"
        return part.state == "starting" and part.unit.ready()

    def _watch(self, *, during_start: bool = False) -> None:
        now_s = time.monotonic()
        for part in self._parts.values():
            if part.child is not None and part.state in {"starting", "running"}:
                code = part.child.exit_code()
                if code is not None:
                    self._on_exit(part, code, now_s)
                elif part.state == "starting" and not during_start and part.unit.ready():
                    part.state = "running"
                    self._say(f"{part.unit.name}: {_took(part, 'ready again')}")
                    self._write()
            elif part.state == "waiting" and now_s >= part.restart_at_s:
                self._restart(part, now_s)

    def _on_exit(self, part: "_Part", code: int, now_s: float) -> None:
        assert part.child is not None
        part.child.kill()  # what it started itself goes with it
        part.since_s = time.time()
        if part.unit.once:
            part.state = "done" if code == 0 else "failed"
            self._write()
            return
        if now_s - part.launch_started_s > STEADY_AFTER_S:
            part.failures = 0
        how = f"ended with {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
        self._fail(part, how, now_s)

    def _fail(self, part: "_Part", how: str, now_s: float) -> None:
        part.failures += 1
        wait_s = backoff_s(part.failures)
        part.state = "waiting"
        part.restart_at_s = now_s + wait_s
        self._say(f"{part.unit.name}: {how}; starting it again in {wait_s:.1f} s")
        if part.failures >= SHOW_TAIL_FROM_FAILURES and part.child is not None:
            for line in part.child.tail()[-10:]:
                self._say(f"    {part.unit.name} | {line}")
        self._write()

    def _restart(self, part: "_Part", now_s: float) -> None:
        part.restarts += 1
        try:
            self._launch(part)
        except (OperatorError, OSError) as error:
            self._fail(part, f"could not be started ({error})", now_s)

    def _stop_all(self) -> None:
        started_s = time.monotonic()
        running = [part for part in self._parts.values() if part.child is not None and part.state != "done"]
        if running:
            self._say("Stopping")
        for stage in sorted({part.unit.stage for part in running}, reverse=True):
            children = [(part, part.child) for part in running if part.unit.stage == stage and part.child is not None]
            deadline_s = time.monotonic() + STAGE_GRACE_S
            for _part, child in reversed(children):
                child.ask_to_stop()
            for part, child in reversed(children):
                if not child.stop(max(0.0, deadline_s - time.monotonic())):
                    self._say(f"{part.unit.name}: did not end in time and was killed")
                part.state = "stopped"
                part.since_s = time.time()
        self._ready = False
        self._write()
        if running:
            self._say(f"All stopped ({time.monotonic() - started_s:.1f} s)")

    def _announce(self) -> None:
        width = max((len(name) for name in self._addresses), default=0)
        for name, address in self._addresses.items():
            self._say(f"  {name:<{width}}  {address}")

    def _write(self) -> None:
        self._record.write(
            RunState(
                supervisor=identity_of(os.getpid()),
                ready=self._ready,
                addresses=self._addresses,
                processes=[part.record() for part in self._parts.values()],
            )
        )


class _Part:
    """A unit's life so far."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.child: Child | None = None
        self.state = "not started"
        self.restarts = 0
        self.failures = 0
        self.since_s = 0.0
        self.launch_started_s = 0.0
        self.restart_at_s = 0.0

    def record(self) -> ProcessRecord:
        lives = self.child is not None and self.state in {"starting", "running"}
        return ProcessRecord(
            name=self.unit.name,
            state=self.state,
            pid=self.child.pid if self.child is not None and lives else 0,
            address=self.unit.address,
            restarts=self.restarts,
            since_s=self.since_s,
            identity=self.child.identity if self.child is not None and lives else None,
        )


def _took(part: _Part, what: str) -> str:
    return f"{what} ({time.monotonic() - part.launch_started_s:.1f} s)"


def _last_lines(part: _Part) -> str:
    if part.child is None:
        return ""
    return f"Its log is {part.child.log}; it last said: " + " / ".join(part.child.tail()[-5:])
