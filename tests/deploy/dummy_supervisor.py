"""A supervisor over small shell programs, told by its arguments: a folder, then `name:stage:script` for each."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from deploy.local.child import Child
from deploy.local.run_record import RunRecord
from deploy.local.supervisor import Supervisor, Unit


def _launcher(folder: Path, name: str, script: str) -> Callable[[], Child]:
    def launch() -> Child:
        return Child(name, ["sh", "-c", script], dict(os.environ), folder, folder / f"{name}.log")

    return launch


def main(folder: Path, parts: list[str]) -> None:
    """Runs until a signal comes; prints what the supervisor says."""
    record = RunRecord(folder)
    assert record.acquire()
    for name in record.end_leftovers():
        print(f"ended {name}", flush=True)
    units = [
        Unit(name, int(stage), _launcher(folder, name, script), once=name.startswith("once"))
        for name, stage, script in (part.split(":", 2) for part in parts)
    ]
    Supervisor(record, units, {}, lambda text: print(text, flush=True)).run(lambda: print("UP", flush=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
