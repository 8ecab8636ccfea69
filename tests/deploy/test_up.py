"""Does `ioc up` bring a whole centre up, once, and again after everything was killed?

Kafka and PostgreSQL are real; the centre's own programs are dummies.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from deploy.local import ports, status, up
from deploy.local.centre import answers
from deploy.local.check import findings, web_finding
from deploy.local.run_record import RunRecord
from deploy.settings import Settings
from schemas.errors import OperatorError
from tests.deploy.test_supervisor import until

ROOT = Path(__file__).parent.parent.parent
UP = Path(__file__).with_name("dummy_up.py")
UP_TIMEOUT_S = 60.0


class Centre:
    """A data folder, and what can be done with it from a terminal."""

    def __init__(self, data_dir: Path, cache_dir: Path) -> None:
        self.data_dir = data_dir
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("IOC_")},
            "IOC_DATA": str(data_dir),
            "IOC_CACHE": str(cache_dir),
            "IOC_SITE": str(ROOT / "deploy" / "sites" / "boston"),
        }
        self.started: list[subprocess.Popen[bytes]] = []

    def up(self, **more: str) -> subprocess.Popen[bytes]:
        """Starts it and returns at once."""
        self.log = self.data_dir.parent / f"up{len(self.started)}.log"
        with self.log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, str(UP)], cwd=ROOT, env={**self.environ, **more}, stdout=output, stderr=output
            )
        self.started.append(process)
        return process

    def up_and_ready(self) -> subprocess.Popen[bytes]:
        """Starts it and waits until it says that it is up."""
        process = self.up()
        until(lambda: "The centre is up" in self.said() or process.poll() is not None, "the centre", UP_TIMEOUT_S)
        assert process.poll() is None, self.said()
        return process

    def said(self) -> str:
        """What the last `up` printed."""
        return self.log.read_text()

    def ioc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command of the real `ioc`."""
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli", *arguments],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def processes(self) -> list[psutil.Process]:
        """Every live process that was started for this data folder."""
        found = []
        for process in psutil.process_iter():
            try:
                mentions = str(self.data_dir) in " ".join(process.cmdline()) or (
                    process.environ().get("IOC_DATA") == str(self.data_dir)
                )
                if mentions and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def centre(tmp_path: Path, cache_dir: Path) -> Iterator[Centre]:
    """A centre on a fresh data folder; all of it is killed at the end."""
    made = Centre(tmp_path / "data", cache_dir)
    yield made
    for process in made.started:
        process.kill()
        process.wait()
    for process in made.processes():
        process.kill()


def test_up_status_second_up_down(centre: Centre) -> None:
    running = centre.up_and_ready()

    status = centre.ioc("status", "--json")
    assert status.returncode == 0
    report = json.loads(status.stdout)
    assert report["ready"] is True
    states = {process["name"]: process["state"] for process in report["processes"]}
    running_parts = {"kafka", "postgres", "web", "streams-0", "streams-1", "outbound", "feed"}
    assert states == {"migrate": "done", **dict.fromkeys(running_parts, "running")}
    board = report["addresses"]["board"]
    assert board in centre.said()

    second = centre.ioc("up")
    assert second.returncode == 0
    assert "already runs" in second.stderr
    assert board in second.stderr

    # The dummy of `ioc migrate` makes no tables that messages could be looked for in.
    checked = [one for one in findings(Settings.from_env(centre.environ)) if one.name != "messages"]
    assert [finding for finding in checked if not finding.ok] == []

    down = centre.ioc("down")
    assert "stopped" in down.stderr
    assert running.wait(15) == 0
    assert centre.processes() == []
    assert centre.ioc("status").returncode == 3
    assert "No centre runs" in centre.ioc("down").stderr


def test_after_kill_9_of_everything_the_next_up_recovers_on_the_same_addresses(centre: Centre) -> None:
    supervisor = centre.up_and_ready()
    before = RunRecord(centre.data_dir).read()
    assert before is not None
    supervisor.kill()
    for process in centre.processes():
        process.kill()
    supervisor.wait()
    assert (centre.data_dir / "postgres/cluster/postmaster.pid").exists()

    again = centre.up_and_ready()
    after = RunRecord(centre.data_dir).read()
    assert after is not None
    assert after.addresses == before.addresses
    again.send_signal(signal.SIGINT)
    assert again.wait(15) == 0
    assert centre.processes() == []


def test_after_kill_9_of_the_supervisor_alone_the_next_up_ends_the_orphans(centre: Centre) -> None:
    supervisor = centre.up_and_ready()
    # Stopped processes cannot act on the parent-death signal, so these outlive their supervisor for certain.
    orphans = [process for process in centre.processes() if process.pid != supervisor.pid]
    for process in orphans:
        process.suspend()
    supervisor.kill()
    supervisor.wait()

    again = centre.up_and_ready()
    assert "left over from a run that was killed" in centre.said()
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in orphans)
    again.send_signal(signal.SIGTERM)
    assert again.wait(15) == 0
    assert centre.processes() == []


def test_external_services_are_used_and_none_is_started(centre: Centre, kafka: str, database_url: str) -> None:
    centre.environ |= {"IOC_KAFKA": kafka, "IOC_DATABASE_URL": database_url}
    running = centre.up_and_ready()
    names = {process.name for process in status.report(centre.data_dir).processes}
    assert names == {"migrate", "web", "streams-0", "streams-1", "outbound", "feed"}
    running.send_signal(signal.SIGTERM)
    assert running.wait(15) == 0
    assert centre.processes() == []


def test_without_a_running_centre_its_services_are_started_for_the_command(centre: Centre) -> None:
    nothing = centre.ioc("positions")
    assert nothing.returncode == 1
    assert "No centre was ever run on" in nothing.stderr
    running = centre.up_and_ready()
    # The programs of this centre are dummies, so nobody has made tables.
    assert "The database has no tables yet" in centre.ioc("positions").stderr
    assert running.poll() is None
    assert centre.ioc("down").returncode == 0
    stopped = centre.ioc("positions")
    assert "starting its PostgreSQL" in stopped.stderr
    assert "The database has no tables yet" in stopped.stderr
    assert centre.processes() == []


def test_detached_returns_when_all_is_ready_and_down_stops_it(centre: Centre) -> None:
    settings = Settings.from_env(centre.environ)
    supervisor = up.detached(settings, centre.environ, demo=False, command=(sys.executable, str(UP)))
    assert supervisor is not None
    report = status.report(centre.data_dir)
    assert report.ready
    assert answers(report.addresses["board"] + "readyz")
    # A second one says where the first is, and leaves it alone.
    assert up.detached(settings, centre.environ, demo=False, command=(sys.executable, str(UP))) is None
    assert status.report(centre.data_dir).processes == report.processes
    assert centre.ioc("down").returncode == 0
    assert supervisor.wait(15) == 0
    assert centre.processes() == []


def test_a_detached_start_that_fails_says_why(centre: Centre, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {**centre.environ, "IOC_KAFKA": "127.0.0.1:1"}
    with pytest.raises(OperatorError, match="did not start"):
        up.detached(Settings.from_env(environ), environ, demo=False)
    assert "No Kafka answers at 127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(
            b'{"ready": false, "dependencies": {"kafka": {"state": "up", "detail": "here"},'
            b' "streams": {"state": "away", "since": "x", "detail": "no worker runs"}}}',
            "answers 503: streams is away (no worker runs)",
            id="a dependency is away",
        ),
        pytest.param(b"<html>", "answers 503: no reason given", id="somebody else answers"),
    ],
)
def test_check_says_what_keeps_the_web_from_being_ready(body: bytes, says: str) -> None:
    class Away(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Says nothing."""

    with HTTPServer((ports.LOOPBACK, 0), Away) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        found = web_finding(f"http://{ports.LOOPBACK}:{server.server_port}/readyz")
        thread.join()
    assert not found.ok
    assert says in found.detail


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="there is nothing to download with")
def test_ctrl_c_during_the_first_download_leaves_nothing_half_done(centre: Centre, tmp_path: Path) -> None:
    empty = tmp_path / "empty-cache"
    running = centre.up(IOC_CACHE=str(empty))
    until(lambda: "downloading" in centre.said() or running.poll() is not None, "the download", UP_TIMEOUT_S)
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 0
    assert centre.processes() == []
    assert [path.name for path in empty.iterdir() if not path.name.endswith(".lock")] == []


def test_a_busy_port_that_was_asked_for_is_one_clear_line(centre: Centre) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli", "up"],
            cwd=ROOT,
            env={**centre.environ, "IOC_PORT": port},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"ioc: IOC_PORT={port}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("IOC_DATABASE_URL", "postgresql://ioc:secret@127.0.0.1:1/ioc", "No PostgreSQL answers at 127.0.0.1:1/ioc"),
        ("IOC_KAFKA", "127.0.0.1:1", "No Kafka answers at 127.0.0.1:1"),
        ("IOC_WORKERS", "many", "IOC_WORKERS='many' is not a whole number"),
    ],
)
def test_a_foreseeable_problem_is_one_line_and_a_code(centre: Centre, variable: str, value: str, says: str) -> None:
    centre.environ[variable] = value
    done = centre.ioc("up")
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    assert centre.processes() == []
