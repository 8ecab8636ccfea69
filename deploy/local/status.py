"""What runs on a data folder, where, and since when?"""

import time
from pathlib import Path

import msgspec

from deploy.local.run_record import ProcessRecord, RunRecord


class StatusReport(msgspec.Struct, frozen=True):
    """A run as it is now; processes that are gone are shown as such."""

    running: bool
    ready: bool
    data_dir: str
    addresses: dict[str, str]
    processes: list[ProcessRecord]

    def as_json(self) -> str:
        """One JSON document."""
        return msgspec.json.format(msgspec.json.encode(self)).decode()

    def as_text(self) -> str:
        """A line for each process, for people."""
        if not self.running and not self.processes:
            return f"No centre runs on {self.data_dir}."
        lines = [f"{'NAME':<12} {'STATE':<12} {'PID':>7} {'RESTARTS':>8}  {'SINCE':<19}  ADDRESS"]
        for process in self.processes:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(process.since_s)) if process.since_s else "-"
            lines.append(
                f"{process.name:<12} {process.state:<12} {process.pid or '-':>7} {process.restarts:>8}  {since:<19}"
                f"  {process.address}"
            )
        headline = "ready" if self.ready else ("starting" if self.running else "not running")
        return "\n".join([f"{self.data_dir}: {headline}", *lines])


def report(data_dir: Path) -> StatusReport:
    """The state as written, checked against the processes that live."""
    record = RunRecord(data_dir)
    running = record.is_running()
    state = record.read()
    processes = [
        process
        if process.identity is None or process.identity.process() is not None
        else msgspec.structs.replace(process, state="gone", pid=0, identity=None)
        for process in (state.processes if state else [])
    ]
    return StatusReport(
        running=running,
        ready=running and state is not None and state.ready,
        data_dir=str(data_dir),
        addresses=state.addresses if state and running else {},
        processes=processes,
    )
