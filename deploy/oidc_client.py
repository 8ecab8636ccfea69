"""Which keys does the issuer sign with today, and what does it give for a code?

One client for whichever issuer there is: the local one is asked without a network, by the same code. Keys are kept:
while the issuer is away, whoever has a token goes on working, and only new sign-ins wait.

Source: OpenID Connect Discovery 1.0 §4, RFC 7517 §5, RFC 6749 §4.1.3.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus, urlsplit

import httpx
import msgspec
from msgspec import Struct
from prometheus_client import Counter, Gauge

from dashboard_api.provider import Endpoints
from schemas.errors import AccessReason, AccessRefused, DependencyUnavailable
from schemas.token import Keys, keys_of

ANSWER_WAIT_S = 3.0
"""How long the issuer may take to answer; then it counts as away."""

REFRESH_EVERY_S = 600.0
"""Keys are read anew after this long, beside the requests that use them."""

RETRY_S = 5.0
"""Between two readings, whatever tokens say: made-up key ids must not turn into load on the issuer."""

DOCUMENT_BYTES_MAX = 256 * 1024
"""A longer document is not the issuer's, and counts as no answer."""

DISCOVERY_PATH = "/.well-known/openid-configuration"

UP = Gauge("ioc_issuer_up", "1 while the issuer of tokens answers, else 0.")
READS = Counter("ioc_issuer_reads", "Readings of the issuer's keys.", ["outcome"])

_log = logging.getLogger("ioc.issuer")


class IssuerState(Struct, frozen=True, kw_only=True):
    """Whether the issuer answers. `needed` is false: a centre works without it for whoever has a token."""

    state: str
    since: datetime
    detail: str | None = None
    needed: bool = False


class _Discovered(Struct, frozen=True, kw_only=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str | None = None


class _Tokens(Struct, frozen=True):
    id_token: str


class OidcClient:
    """The issuer, as the guards and the sign-in see it. `open_http` makes the client that it is asked with."""

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: str | None = None,
        open_http: Callable[[], httpx.AsyncClient] = lambda: httpx.AsyncClient(timeout=ANSWER_WAIT_S),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self.audience = client_id
        self.client_id = client_id
        self._client_secret = client_secret
        self._open_http = open_http
        self._http: httpx.AsyncClient | None = None
        self._now = now
        self._steady_s = steady_s
        self._keys: Keys = {}
        self._discovered: _Discovered | None = None
        self._tried_s: float | None = None
        self._read_s = 0.0
        self._reading: asyncio.Task[None] | None = None
        self.state = IssuerState(state="away", since=now(), detail="not asked yet")

    async def keys(self, key_id: str | None) -> Keys:
        """The keys; newer ones where this one is not known. Raises DependencyUnavailable when none were ever had."""
        if not self._keys or (key_id is not None and key_id not in self._keys):
            await self._read_soon()
        elif self._steady_s() - self._read_s > REFRESH_EVERY_S:
            self._start_reading()
        if not self._keys:
            raise DependencyUnavailable("issuer", self.state.detail or "no answer", int(RETRY_S))
        return self._keys

    async def endpoints(self) -> Endpoints:
        """Where sign-ins begin and end. Raises DependencyUnavailable."""
        found = await self._found()
        return Endpoints(found.authorization_endpoint, found.end_session_endpoint)

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> str:
        """The ID token for a code. Raises AccessRefused for a code that it does not take, DependencyUnavailable."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self.client_id,
            "code_verifier": verifier,
        }
        found = await self._found()
        secret = self._client_secret
        auth = httpx.USE_CLIENT_DEFAULT if secret is None else _basic(self.client_id, secret)
        try:
            async with asyncio.timeout(ANSWER_WAIT_S):
                answer = await self._client().post(found.token_endpoint, data=form, auth=auth)
        except (httpx.HTTPError, TimeoutError) as error:
            raise DependencyUnavailable("issuer", _reason(error), int(RETRY_S)) from error
        if answer.status_code >= 500:
            raise DependencyUnavailable("issuer", f"it answers {answer.status_code}", int(RETRY_S))
        try:
            return msgspec.json.decode(answer.content, type=_Tokens).id_token
        except msgspec.DecodeError:
            detail = f"the issuer gives no token for this sign-in (it answers {answer.status_code})"
            raise AccessRefused(AccessReason.NOT_SIGNED_IN, detail, "Start the sign-in again.") from None

    async def start(self) -> None:
        """Begins to read the keys; returns at once."""
        self._start_reading()

    async def close(self) -> None:
        """Ends what it does."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _found(self) -> _Discovered:
        if self._discovered is None:
            await self._read_soon()
        if self._discovered is None:
            raise DependencyUnavailable("issuer", self.state.detail or "no answer", int(RETRY_S))
        return self._discovered

    async def _read_soon(self) -> None:
        """Waits for a reading: one that is under way, or a new one where the last is long enough ago."""
        self._start_reading()
        if self._reading is not None:
            # Who asked may go away; the others still wait for the same answer.
            await asyncio.shield(self._reading)

    def _start_reading(self) -> None:
        under_way = self._reading is not None and not self._reading.done()
        if under_way or (self._tried_s is not None and self._steady_s() - self._tried_s < RETRY_S):
            return
        self._tried_s = self._steady_s()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_WAIT_S):
                discovered = self._checked(await self._get(self.issuer.rstrip("/") + DISCOVERY_PATH))
                keys = keys_of(await self._get(discovered.jwks_uri))
            if not keys:
                raise ValueError("its key set has no key that can be used")
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError, TimeoutError, ValueError) as error:
            READS.labels("failed").inc()
            self._tell("away", _reason(error))
        else:
            READS.labels("read").inc()
            self._discovered, self._keys, self._read_s = discovered, keys, self._steady_s()
            self._tell("up", None)

    def _checked(self, document: bytes) -> _Discovered:
        """The discovery document. Raises ValueError for one that is not this issuer's, or leads off https."""
        found = msgspec.json.decode(document, type=_Discovered)
        if found.issuer != self.issuer:
            raise ValueError(f"it calls itself {found.issuer!r}, which is not what IOC_OIDC_ISSUER says")
        for url in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.end_session_endpoint):
            if url is not None and urlsplit(url).scheme not in ("https", urlsplit(self.issuer).scheme):
                raise ValueError(f"{url!r} is not an https address")
        return found

    async def _get(self, url: str) -> bytes:
        async with self._client().stream("GET", url) as answer:
            if answer.status_code != 200:
                raise ValueError(f"{url} answers {answer.status_code}")
            content = b""
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > DOCUMENT_BYTES_MAX:
                    raise ValueError(f"{url} answers with more than {DOCUMENT_BYTES_MAX} bytes")
            return content

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = self._open_http()
        return self._http

    def _tell(self, state: str, detail: str | None) -> None:
        UP.set(state == "up")
        if state != self.state.state:
            self.state = IssuerState(state=state, since=self._now(), detail=detail)
            _log.log(
                logging.INFO if state == "up" else logging.WARNING,
                "the issuer %s is %s%s",
                self.issuer,
                state,
                f": {detail}" if detail else "",
            )
        elif detail != self.state.detail:
            self.state = msgspec.structs.replace(self.state, detail=detail)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return f"no answer within {ANSWER_WAIT_S:g} s"
    return str(error) or type(error).__name__


def _basic(client_id: str, secret: str) -> httpx.BasicAuth:
    """RFC 6749 §2.3.1: both are form-encoded first."""
    return httpx.BasicAuth(quote_plus(client_id), quote_plus(secret))


def local_http(app: Any, public_url: str) -> Callable[[], httpx.AsyncClient]:  # noqa: ANN401  # any ASGI app
    """How the issuer in this process is asked: by its own address, without a network."""

    def opened() -> httpx.AsyncClient:
        # No proxy of the environment may come between.
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url=public_url, trust_env=False, timeout=ANSWER_WAIT_S
        )

    return opened
