"""Is this worker alive, and does it keep up?

Tells Prometheus and whoever restarts processes over HTTP, and the boards through the worker table.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app  # pyright: ignore[reportUnknownVariableType]

from schemas.errors import DependencyUnavailable
from streams.store.timescale import TimescaleWriter

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

BEAT_S = 2.0
SWEEP_S = 30.0

BUSY_MAX_S = 60.0
"""How long one batch may take before `/healthz` and the board's list of workers say that something is wrong."""

CHANGE_RETENTION_S = 6 * 60 * 60
"""How long a board may be away and still resume without a fresh snapshot."""

SWEEP_ROWS_MAX = 20_000
"""Change rows dropped at once; a larger number would hold the feed back."""

_log = logging.getLogger("ioc.streams")


class State(StrEnum):
    """What a worker is doing."""

    STARTING = "starting"
    COUNTING = "counting"
    HALTED = "halted"


class Health:
    """The worker's state. Changed by the worker, read by everybody else."""

    def __init__(self, worker: str, started_at: datetime) -> None:
        """A worker starts in STARTING."""
        self.worker = worker
        self.started_at = started_at
        self.state = State.STARTING
        self.detail = ""

    def note_busy(self, busy_s: float) -> None:
        """Notes how long the slowest lane has been at one batch; beyond BUSY_MAX_S something is stuck or away."""
        if self.state is not State.HALTED:
            self.detail = (
                f"a batch has been waiting to be committed for {busy_s:.0f} s" if busy_s > BUSY_MAX_S else ""
            )

    @property
    def ok(self) -> bool:
        """Whether it counts, or has nothing to count."""
        return self.state is not State.HALTED and not self.detail

    def halt(self, detail: str) -> None:
        """Notes for good that this worker has stopped counting."""
        self.state = State.HALTED
        self.detail = detail


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
        """Says nothing: a scrape every few seconds is not news."""


def serve(health: Health, host: str, port: int) -> Callable[[], None]:
    """Serves /metrics and /healthz from a thread, so both answer while the loop is busy. Returns how to stop."""
    metrics_app = cast("WSGIApplication", make_wsgi_app())

    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            return metrics_app(environ, start_response)
        start_response("200 OK" if health.ok else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps({"worker": health.worker, "state": health.state, "detail": health.detail}).encode()]

    server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
    Thread(target=server.serve_forever, name="ioc-health", daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop


async def beat(health: Health, writer: TimescaleWriter) -> None:
    """Says every BEAT_S that the worker is alive, and sweeps old change rows. Ends when it is cancelled."""
    loop = asyncio.get_running_loop()
    swept_s = loop.time()
    while True:
        try:
            await writer.beat(health.worker, health.state, health.detail, health.started_at)
            if loop.time() - swept_s > SWEEP_S:
                swept_s = loop.time()
                await writer.forget_changes(CHANGE_RETENTION_S, SWEEP_ROWS_MAX)
        except DependencyUnavailable as error:
            _log.debug("no beat: %s", error)
        await asyncio.sleep(BEAT_S)
