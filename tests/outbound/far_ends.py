"""Who is at the other end of a channel, in tests? Real servers on loopback, that answer as they are told."""

import ssl
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from email.message import EmailMessage, Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from deploy.local.ports import free_port
from tests.outbound.running import answering

USER, PASSWORD = "ioc", "of the relay"
SLOW_S = 1.0


class Asked(NamedTuple):
    """One request: its headers, by names in lower case, and its JSON."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """What it says."""
        return msgspec.json.decode(self.raw)


class Gateway(ThreadingHTTPServer):
    """An SMS gateway, Zalo, loudspeakers or a webhook. It does what `does` says next, or answers 200.

    `"429"` and so on: that status; `slow`: late; `cut`: takes it, and says nothing; `{…}`: 200 with that body.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.does: list[str] = []
        self.bearer: str | None = None
        self.receipts: list[dict[str, Any]] = []
        self.page = 2

    @property
    def address(self) -> str:
        """Where it takes messages."""
        return f"http://127.0.0.1:{self.server_port}/send"

    @property
    def receipts_address(self) -> str:
        """Where it says what became of them."""
        return f"http://127.0.0.1:{self.server_port}/receipts"

    @property
    def keys(self) -> list[str]:
        """The keys of all that came."""
        return [one.headers["idempotency-key"] for one in self.asked]


class _Handler(BaseHTTPRequestHandler):
    server: Gateway
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.server.bearer is not None and headers.get("authorization") != f"Bearer {self.server.bearer}":
            self._answer(401)
            return
        self.server.asked.append(Asked(self.path, headers, raw))
        does = self.server.does.pop(0) if self.server.does else "200"
        if does == "cut":
            self.close_connection = True
            return
        if does == "slow":
            time.sleep(SLOW_S)
        self._answer(int(does) if does.isdecimal() else 200, does if does.startswith("{") else "{}")

    def do_GET(self) -> None:
        after = int(parse_qs(urlsplit(self.path).query).get("after", ["0"])[0])
        found = self.server.receipts[after : after + self.server.page]
        self._answer(200, msgspec.json.encode({"receipts": found, "next": str(after + len(found))}).decode())

    def _answer(self, status: int, body: str = "{}") -> None:
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "60")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


@contextmanager
def gateway() -> Generator[Gateway]:
    """A server, as long as the context lasts."""
    with answering(Gateway()) as server:
        yield server


class Relay:
    """A mail relay. It answers the next recipient, or the next message, with what `refuses` says."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.recipients: list[str] = []
        self.refuses: list[str] = []
        self.takes_then_cuts = 0

    async def handle_RCPT(  # noqa: N802 (aiosmtpd calls it so)
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        """Somebody is to get something."""
        if self.refuses and self.refuses[0].startswith("RCPT "):
            return self.refuses.pop(0).removeprefix("RCPT ")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _: Session, envelope: Envelope) -> str:  # noqa: N802 (likewise)
        """What."""
        if self.refuses:
            return self.refuses.pop(0)
        assert isinstance(envelope.content, bytes)
        self.mails.append(BytesParser(_class=EmailMessage).parsebytes(envelope.content))
        self.recipients += envelope.rcpt_tos
        if self.takes_then_cuts:
            self.takes_then_cuts -= 1
            server.transport.abort()
        return "250 OK"


def _knows(_: SMTP, __: Session, ___: Envelope, ____: str, given: Any) -> AuthResult:
    # `handled` would mean that the refusal was said already.
    right = (given.login, given.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


@contextmanager
def mail_relay(tls: ssl.SSLContext | None = None) -> Generator[tuple[Relay, str]]:
    """A relay and its address, as long as the context lasts. With `tls` it wants STARTTLS and a password."""
    relay = Relay()
    secure: dict[str, Any] = {}
    if tls is not None:
        secure = {
            "tls_context": tls,
            "require_starttls": True,
            "auth_required": True,
            "authenticator": _knows,
        }
    port = free_port()
    controller = Controller(relay, hostname="127.0.0.1", port=port, **secure)
    controller.start()
    try:
        yield relay, f"smtp://127.0.0.1:{port}"
    finally:
        controller.stop()


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's side of TLS with a certificate for 127.0.0.1, and a client's that believes it."""
    key, made = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(made), "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made, key)
    return server, ssl.create_default_context(cafile=str(made))
