"""Does the board sign people in with an issuer elsewhere, and take from it only what belongs to this sign-in?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from deploy.identity import Identity
from deploy.issuer.grants import challenge_of
from deploy.oidc_client import OidcClient
from deploy.web import web_app
from tests.deploy.test_oidc_client import FarIssuer
from tests.schemas.people import people_site
from tests.schemas.signer import AUDIENCE, NOW, Signer
from tests.serving import serving

PUBLIC = "https://ioc.example.vn"
PERSON = "binh.roads"


@asynccontextmanager
async def board(far: FarIssuer) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at a board behind https, whose people sign in at `far`."""
    client = OidcClient(
        issuer=far.url,
        client_id=AUDIENCE,
        client_secret="secret",
        open_http=lambda: httpx.AsyncClient(trust_env=False),
        now=lambda: NOW,
    )
    site = people_site()
    app = web_app(
        "127.0.0.1:1",
        "postgresql://nobody@127.0.0.1:1/none",
        lambda: site,
        "t.",
        Identity(client=client, public_url=PUBLIC),
        now=lambda: NOW,
    )
    try:
        async with (
            serving(far.app, far.socket),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as web,
        ):
            yield web
    finally:
        await client.close()


async def begun(web: httpx.AsyncClient, far: FarIssuer) -> dict[str, str]:
    """What the issuer is asked when somebody signs in."""
    answer = await web.get("/signin")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{far.url}/authorize?")
    [kept] = answer.headers.get_list("set-cookie")
    assert "Secure" in kept
    assert "HttpOnly" in kept
    return {name: words[0] for name, words in parse_qs(urlsplit(answer.headers["location"]).query).items()}


async def test_a_code_from_elsewhere_becomes_a_sign_in_here() -> None:
    far = FarIssuer()
    async with board(far) as web:
        asked = await begun(web, far)
        assert (asked["client_id"], asked["redirect_uri"]) == (AUDIENCE, f"{PUBLIC}/signin/done")
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        token = far.signers[0].token(iss=far.url, sub=PERSON, nonce=asked["nonce"])
        far.token_answer = (200, {"id_token": token, "access_token": "opaque", "token_type": "Bearer"})
        done = await web.get("/signin/done", params={"state": asked["state"], "code": "c"})
        assert (done.status_code, done.headers["location"]) == (303, "/")
        [(_, form)] = far.forms
        assert challenge_of(parse_qs(form)["code_verifier"][0]) == asked["code_challenge"]
        [kept] = [one for one in done.headers.get_list("set-cookie") if one.startswith("__Host-ioc_session=")]
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in kept.split(";")}
        assert "Domain" not in kept
        assert (await web.get("/v1/me")).json()["id"] == PERSON
        # The issuer has no address to sign out at, so only this sign-in ends.
        out = await web.post("/signout", headers={"Origin": PUBLIC})
        assert (out.status_code, out.headers["location"]) == (303, "/")
        assert (await web.get("/v1/me")).json()["id"] is None


async def test_an_issuer_that_can_sign_out_is_asked_to() -> None:
    far = FarIssuer()
    far.discovery["end_session_endpoint"] = f"{far.url}/bye"
    async with board(far) as web:
        asked = await begun(web, far)
        token = far.signers[0].token(iss=far.url, sub=PERSON, nonce=asked["nonce"])
        far.token_answer = (200, {"id_token": token})
        await web.get("/signin/done", params={"state": asked["state"], "code": "c"})
        page = await web.get("/signout")
        assert f"form-action 'self' {far.url};" in page.headers["content-security-policy"]
        out = await web.post("/signout", headers={"Origin": PUBLIC})
        query = parse_qs(urlsplit(out.headers["location"]).query)
        assert query["id_token_hint"] == [token]
        assert query["post_logout_redirect_uri"] == [f"{PUBLIC}/"]


STRANGER = Signer("RS256", "first")


@pytest.mark.parametrize(
    ("claims", "signer", "status", "said"),
    [
        pytest.param({"nonce": "another"}, None, 401, "another sign-in", id="of another sign-in"),
        pytest.param({"nonce": None}, None, 401, "another sign-in", id="of no sign-in"),
        pytest.param({"aud": "account"}, None, 401, "not meant for", id="for another client"),
        pytest.param({"iss": "https://evil.example"}, None, 401, "not issued by", id="of another issuer"),
        pytest.param({"exp": 1}, None, 401, "expired", id="expired"),
        pytest.param({}, STRANGER, 401, "signature", id="forged"),
        pytest.param({"sub": "stranger"}, None, 403, "nobody with the id", id="of somebody unknown here"),
        pytest.param({"groups": "g" * 4000}, None, 401, "longer than", id="too long for a cookie"),
    ],
)
async def test_a_token_that_does_not_belong_here_signs_nobody_in(
    claims: dict[str, Any], signer: Signer | None, status: int, said: str
) -> None:
    far = FarIssuer()
    async with board(far) as web:
        asked = await begun(web, far)
        usual = {"iss": far.url, "sub": PERSON, "nonce": asked["nonce"]}
        far.token_answer = (200, {"id_token": (signer or far.signers[0]).token(**{**usual, **claims})})
        answer = await web.get("/signin/done", params={"state": asked["state"], "code": "c"})
        assert answer.status_code == status
        assert said in answer.text
        assert "__Host-ioc_session" not in web.cookies
        # What was begun is over: the same answer cannot be tried again.
        again = await web.get("/signin/done", params={"state": asked["state"], "code": "c"})
        assert "not begun here" in again.text


async def test_an_issuer_that_is_away_is_told_and_nobody_is_sent_there() -> None:
    far = FarIssuer()
    far.status = 503
    async with board(far) as web:
        answer = await web.get("/signin")
        assert answer.status_code == 503
        assert "issuer" in answer.json()["detail"]
        assert "retry-after" in answer.headers
