"""Do an issuer's new keys count soon, its old ones while it is away, and made-up ones never cost it much?"""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deploy.oidc_client import DOCUMENT_BYTES_MAX, REFRESH_EVERY_S, RETRY_S, OidcClient
from schemas.errors import AccessRefused, DependencyUnavailable
from schemas.token import verify
from tests.schemas.signer import AUDIENCE, NOW, Signer, key_set
from tests.serving import listener, origin_of, serving


class FarIssuer:
    """An issuer elsewhere: what it publishes, and what it was asked."""

    def __init__(self) -> None:
        self.socket = listener()
        self.url = origin_of(self.socket)
        self.signers = [Signer("RS256", "first")]
        self.discovery: dict[str, Any] = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
        }
        self.key_set: bytes | None = None
        self.status = 200
        self.token_answer: tuple[int, Any] = (200, {"id_token": "a.b.c"})
        self.asked: list[str] = []
        self.forms: list[tuple[str | None, str]] = []

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/jwks", self._jwks),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    async def _discovery(self, _: Request) -> Response:
        self.asked.append("discovery")
        return JSONResponse(self.discovery, self.status)

    async def _jwks(self, _: Request) -> Response:
        self.asked.append("jwks")
        return Response(key_set(*self.signers) if self.key_set is None else self.key_set)

    async def _token(self, request: Request) -> Response:
        self.forms.append((request.headers.get("authorization"), (await request.body()).decode()))
        status, answer = self.token_answer
        return JSONResponse(answer, status)

    def token(self, at: int = 0) -> str:
        return self.signers[at].token(iss=self.url)


class Clock:
    """A steady clock that a test sets."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


@asynccontextmanager
async def client_of(
    far: FarIssuer, clock: Clock | None = None, secret: str | None = None
) -> AsyncIterator[OidcClient]:
    client = OidcClient(
        issuer=far.url,
        client_id=AUDIENCE,
        client_secret=secret,
        open_http=lambda: httpx.AsyncClient(trust_env=False),
        now=lambda: NOW,
        steady_s=clock or Clock(),
    )
    try:
        yield client
    finally:
        await client.close()


async def accepted(client: OidcClient, token: str, key_id: str) -> bool:
    """Whether the token is taken with the keys that the client has."""
    try:
        keys = await client.keys(key_id)
        verify(token, keys, issuer=client.issuer, audience=client.audience, now=NOW)
    except AccessRefused:
        return False
    return True


async def test_many_at_once_ask_the_issuer_once() -> None:
    far = FarIssuer()
    async with serving(far.app, far.socket), client_of(far) as client:
        assert client.state.state == "away"
        assert all(await asyncio.gather(*(accepted(client, far.token(), "first") for _ in range(50))))
        assert far.asked == ["discovery", "jwks"]
        assert (client.state.state, client.state.detail) == ("up", None)


async def test_a_new_key_counts_at_its_first_token_and_a_withdrawn_one_no_more() -> None:
    far, clock = FarIssuer(), Clock()
    async with serving(far.app, far.socket), client_of(far, clock) as client:
        old = far.token()
        assert await accepted(client, old, "first")
        far.signers = [Signer("ES256", "second")]
        clock.s += RETRY_S
        assert await accepted(client, far.token(), "second")
        assert not await accepted(client, old, "first")


async def test_made_up_keys_cost_the_issuer_one_question_in_a_while() -> None:
    far, clock = FarIssuer(), Clock()
    async with serving(far.app, far.socket), client_of(far, clock) as client:
        for at in range(200):
            assert not await accepted(client, Signer("EdDSA", f"made-up-{at}").token(iss=far.url), f"made-up-{at}")
        assert far.asked.count("jwks") == 1
        clock.s += RETRY_S
        await client.keys("made-up")
        assert far.asked.count("jwks") == 2
        assert await accepted(client, far.token(), "first")


async def test_keys_are_read_again_beside_the_requests() -> None:
    far, clock = FarIssuer(), Clock()
    async with serving(far.app, far.socket), client_of(far, clock) as client:
        await client.keys("first")
        far.signers.append(Signer("ES256", "second"))
        clock.s += REFRESH_EVERY_S + 1
        assert "second" not in await client.keys("first")
        async with asyncio.timeout(10):
            while "second" not in await client.keys("first"):  # noqa: ASYNC110  # a reading has no event
                await asyncio.sleep(0.01)


async def test_while_the_issuer_is_away_its_keys_still_count() -> None:
    far, clock = FarIssuer(), Clock()
    async with client_of(far, clock) as client:
        async with serving(far.app, far.socket):
            assert await accepted(client, far.token(), "first")
        clock.s += RETRY_S
        # Its socket is closed by now.
        assert not await accepted(client, Signer("RS256", "other").token(iss=far.url), "other")
        assert client.state.state == "away"
        assert client.state.detail
        assert client.state.needed is False
        assert await accepted(client, far.token(), "first")


async def test_an_issuer_that_never_answered_is_waited_for_once_in_a_while_and_found_when_it_comes() -> None:
    far, clock = FarIssuer(), Clock()
    far.socket.close()
    async with client_of(far, clock) as client:
        for _ in range(3):
            with pytest.raises(DependencyUnavailable, match="issuer"):
                await client.keys("first")
        with pytest.raises(DependencyUnavailable):
            await client.endpoints()
    again = FarIssuer()
    again.status = 500
    async with serving(again.app, again.socket), client_of(again, clock) as client:
        with pytest.raises(DependencyUnavailable, match="answers 500"):
            await client.keys("first")
        again.status = 200
        with pytest.raises(DependencyUnavailable):
            await client.keys("first")
        clock.s += RETRY_S
        assert await accepted(client, again.token(), "first")


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        pytest.param({"discovery": {"issuer": "https://evil.example"}}, "calls itself", id="another issuer"),
        pytest.param(
            {"discovery": {"jwks_uri": "ftp://evil.example/jwks"}}, "not an https address", id="keys by ftp"
        ),
        pytest.param({"discovery": {"token_endpoint": 7}}, "token_endpoint", id="an address that is none"),
        pytest.param({"key_set": b'{"keys": []}'}, "no key", id="no keys"),
        pytest.param({"key_set": b"<html>"}, "not JSON", id="a page"),
        pytest.param({"key_set": b" " * (DOCUMENT_BYTES_MAX + 1)}, "more than", id="without end"),
        pytest.param({"status": 302}, "answers 302", id="a redirect"),
    ],
)
async def test_what_is_no_issuer_leaves_the_old_keys(change: dict[str, Any], detail: str) -> None:
    far, clock = FarIssuer(), Clock()
    async with serving(far.app, far.socket), client_of(far, clock) as client:
        assert await accepted(client, far.token(), "first")
        far.discovery |= change.pop("discovery", {})
        for name, value in change.items():
            setattr(far, name, value)
        clock.s += RETRY_S
        await client.keys("unknown")
        assert client.state.state == "away"
        assert detail in (client.state.detail or "")
        far.key_set, far.status = None, 200
        assert await accepted(client, far.token(), "first")


async def test_a_code_is_exchanged_with_our_verifier_and_secret() -> None:
    far = FarIssuer()
    async with serving(far.app, far.socket), client_of(far, secret="s/e+c") as client:
        assert await client.exchange("c o", "v", "http://centre/signin/done") == "a.b.c"
        [(authorization, form)] = far.forms
        assert authorization == f"Basic {base64.b64encode(f'{AUDIENCE}:s%2Fe%2Bc'.encode()).decode()}"
        assert "grant_type=authorization_code&code=c+o" in form
        assert "code_verifier=v" in form
        far.token_answer = (400, {"error": "invalid_grant"})
        with pytest.raises(AccessRefused, match="answers 400"):
            await client.exchange("c", "v", "http://centre/signin/done")
        far.token_answer = (502, {})
        with pytest.raises(DependencyUnavailable):
            await client.exchange("c", "v", "http://centre/signin/done")
