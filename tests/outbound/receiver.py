"""Who receives what goes out, in tests? A real HTTP server that answers as its path says."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from tests.outbound.running import answering

SLOW_S = 1.0


class Received(NamedTuple):
    """One request."""

    path: str
    key: str | None
    content_type: str | None
    body: bytes


class Receiver(ThreadingHTTPServer):
    """Answers `/500` with 500, and so on; `/slow` late; `/cut` not at all; `/200` and everything else with 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[Received] = []
        self.healed = False  # when true, whatever was wrong is answered with 200

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self.server_port}{path}"

    def keys(self) -> list[str | None]:
        """The keys that came, in order."""
        return [one.key for one in self.received]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(
            Received(self.path, self.headers["Idempotency-Key"], self.headers["Content-Type"], body)
        )
        wanted = self.path.strip("/")
        if wanted == "cut" and not self.server.healed:
            self.close_connection = True
            return
        if wanted == "slow" and not self.server.healed:
            time.sleep(SLOW_S)
        status = int(wanted) if wanted.isdecimal() and not self.server.healed else 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.server.url("/elsewhere"))
        if status == 429:
            self.send_header("Retry-After", "3600")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


@contextmanager
def receiving() -> Generator[Receiver]:
    """A server, as long as the context lasts."""
    with answering(Receiver()) as server:
        yield server
