"""How does a whole centre start here, once per data folder, and how is it stopped from elsewhere?"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy import identity
from deploy.local import centre, progress
from deploy.local.errors import OperatorError, ServiceError
from deploy.local.run_record import RunRecord
from deploy.local.supervisor import Supervisor
from deploy.settings import Settings

DETACHED_TIMEOUT_S = 900.0  # a first start downloads some 90 MB
STOP_TIMEOUT_S = 15.0
POLL_S = 0.1


def attached(
    settings: Settings, environ: Mapping[str, str], *, demo: bool, command: Sequence[str] = centre.IOC_COMMAND
) -> None:
    """Runs the centre until SIGINT or SIGTERM. Raises OperatorError when it cannot start."""
    record = _record(settings)
    if not record.acquire():
        _say_running(record)
        return
    started_s = time.monotonic()
    try:
        for name in record.end_leftovers():
            progress.say(f"{name}: ended, left over from a run that was killed")
        chosen = centre.choose_ports(settings, record.folder / "ports.json")
        progress.say(f"Data in {settings.data_dir}, site {settings.site.name}")
        whole = centre.of(settings, chosen, environ, demo=demo, command=command)
        supervisor = Supervisor(record, whole.units, whole.addresses, progress.say)
        public_url = settings.public_url or whole.addresses["board"].rstrip("/")
        sign_ins = identity.sign_in_lines(settings, public_url)

        def ready() -> None:
            for line in sign_ins:
                progress.say(line)
            progress.say(f"The centre is up ({time.monotonic() - started_s:.1f} s). Ctrl-C stops it.")

        supervisor.run(ready)
    finally:
        record.release()


def detached(
    settings: Settings, environ: Mapping[str, str], *, demo: bool, command: Sequence[str] = centre.IOC_COMMAND
) -> subprocess.Popen[bytes] | None:
    """Starts the centre in the background and returns its supervisor when all is ready; None when one ran already.

    Raises OperatorError.
    """
    record = _record(settings)
    if record.is_running():
        _say_running(record)
        return None
    log = settings.data_dir / "log" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # It shows the demo's sign-ins, as the terminal would.
    log.unlink(missing_ok=True)
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as output:
        process = subprocess.Popen(
            [*command, "up", "--demo" if demo else "--no-demo"],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    shown = 0
    deadline_s = time.monotonic() + DETACHED_TIMEOUT_S
    while True:
        ended = process.poll() is not None
        lines = log.read_text(errors="replace").splitlines()
        for line in lines[shown:]:
            progress.say(line)
        shown = len(lines)
        state = record.read()
        if state is not None and state.ready and state.supervisor.pid == process.pid:
            progress.say("It runs in the background; `ioc down` stops it.")
            return process
        if ended:
            raise ServiceError("The centre did not start.", f"The lines above say why; they are in {log}.")
        if time.monotonic() > deadline_s:
            process.terminate()
            raise ServiceError(f"The centre was not ready in {DETACHED_TIMEOUT_S:.0f} s.", f"See {log}.")
        time.sleep(POLL_S)


def down(settings: Settings) -> None:
    """Stops the centre on this data folder, and whatever a killed one left. Raises OperatorError."""
    record = _record(settings)
    state = record.read()
    supervisor = state.supervisor.process() if state else None
    if record.is_running() and supervisor is not None:
        supervisor.send_signal(signal.SIGTERM)
        if not record.wait_released(STOP_TIMEOUT_S):
            supervisor.kill()
            record.wait_released(STOP_TIMEOUT_S)
        progress.say("The centre is stopped.")
    elif record.is_running():
        raise OperatorError(
            "A centre is just starting on this data folder, or is run by another user.", "Try again in a few seconds."
        )
    else:
        progress.say(f"No centre runs on {settings.data_dir}.")
    for name in record.end_leftovers():
        progress.say(f"{name}: ended, left over from a run that was killed")


def _record(settings: Settings) -> RunRecord:
    try:
        (settings.data_dir / "run").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(
            f"The data folder {settings.data_dir} cannot be written ({os.strerror(error.errno or 0)}).",
            "Set IOC_DATA to a folder of yours.",
        ) from error
    return RunRecord(Path(settings.data_dir))


def _say_running(record: RunRecord) -> None:
    state = record.read()
    board = state.addresses.get("board", "") if state else ""
    progress.say(f"The centre already runs on this data folder{': ' + board if board else ''}. `ioc down` stops it.")
