"""Is somebody let in for what the token and people.toml say, and for nothing else?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from dashboard_api.guard import Guard, SignedIn, SignIn, Viewer, guard_of, require
from dashboard_api.problem import answer_problems
from schemas.errors import AccessReason, AccessRefused
from schemas.identity import Role
from schemas.site import Site, parse_site
from schemas.token import Trust
from tests.schemas.case_pack import FILES
from tests.schemas.people import PEOPLE, people_site
from tests.schemas.signer import NOW, NOW_S, KnownKeys, Signer
from tests.serving import serving

SIGNER = Signer("ES256")
SITE = people_site()
NO_SIGN_IN = parse_site(FILES)


class Centre:
    """A site and a clock that a test can change."""

    def __init__(self, site: Site = SITE) -> None:
        self.site = site
        self.now: datetime = NOW


def app_of(centre: Centre, trust: Trust | None) -> FastAPI:
    """Routes of each kind behind a guard."""
    app = FastAPI()
    app.state.guard = Guard(lambda: centre.site, lambda: centre.now, trust)
    answer_problems(app)

    @app.api_route("/public", methods=["GET", "POST"])
    async def public(actor: Viewer) -> str:
        return actor.id

    @app.api_route("/cases", methods=["GET", "POST"])
    async def cases(actor: SignedIn) -> str:
        return actor.id

    @app.get("/audit")
    async def audit(actor: SignedIn) -> str:
        require(actor, Role.AUDITOR, Role.ADMINISTRATOR)
        return actor.id

    @app.websocket("/live")
    async def live(websocket: WebSocket) -> None:
        sign_in = await guard_of(websocket).sign_in_of(websocket)
        await websocket.accept(guard_of(websocket).subprotocol(websocket))
        await websocket.send_text(guard_of(websocket).actor(sign_in).id)
        await websocket.close()

    return app


@asynccontextmanager
async def client(
    centre: Centre | None = None, trust: Trust | None = None, *, signed: bool = True
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of such an app, which trusts SIGNER."""
    app = app_of(centre or Centre(), trust or (KnownKeys(SIGNER) if signed else None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://centre") as found:
        yield found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def cookie(token: str, **headers: str) -> dict[str, str]:
    return {"Cookie": f"ioc_session={token}", **headers}


OPERATOR = SIGNER.token(sub="an.operator")
EXPIRED = SIGNER.token(sub="an.operator", exp=NOW_S - 60)
STRANGER = SIGNER.token(sub="a.stranger")
FORGED = Signer("ES256").token(sub="an.operator")


@pytest.mark.parametrize(
    ("path", "headers", "status", "said"),
    [
        pytest.param("/public", {}, 200, "nobody", id="nobody sees what is public"),
        pytest.param("/cases", {}, 401, "not_signed_in", id="nobody sees no cases"),
        pytest.param("/cases", bearer(OPERATOR), 200, "an.operator", id="a person does"),
        pytest.param("/cases", cookie(OPERATOR), 200, "an.operator", id="also by cookie"),
        pytest.param("/audit", bearer(OPERATOR), 403, "not_allowed", id="not without the role"),
        pytest.param("/cases", bearer(EXPIRED), 401, "token_expired", id="expired"),
        pytest.param("/cases", cookie(EXPIRED), 401, "token_expired", id="expired in a cookie"),
        pytest.param("/public", cookie(EXPIRED), 200, "nobody", id="an old cookie hides nothing that is public"),
        pytest.param("/public", bearer(EXPIRED), 401, "token_expired", id="an old token is told of everywhere"),
        pytest.param("/public", bearer(FORGED), 401, "bad_signature", id="forged"),
        pytest.param("/public", cookie(FORGED), 200, "nobody", id="a forged cookie is none"),
        pytest.param("/cases", cookie(FORGED), 401, "bad_signature", id="a forged cookie opens nothing"),
        pytest.param("/cases", bearer(STRANGER), 403, "unknown_person", id="genuine, but nobody here"),
        pytest.param("/cases", {"Authorization": "Basic YTpi"}, 401, "malformed_token", id="a password"),
        pytest.param("/cases?token=" + OPERATOR, {}, 401, "not_signed_in", id="a token in the address is none"),
    ],
)
async def test_who_is_let_in(path: str, headers: dict[str, str], status: int, said: str) -> None:
    async with client() as web:
        answer = await web.get(path, headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == said
        return
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["reason"]) == (status, said)
    assert problem["detail"]
    assert problem["fix"]
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)


@pytest.mark.parametrize("path", ["/public", "/cases"])
async def test_a_cookie_alone_changes_nothing(path: str) -> None:
    async with client() as web:
        for origin in ("https://evil.example", "null", "http://centre.evil.example"):
            answer = await web.post(path, headers=cookie(OPERATOR, Origin=origin))
            assert (answer.status_code, answer.json()["reason"]) == (403, "cross_site")
        assert (await web.post(path, headers=cookie(OPERATOR))).status_code == 403
        for shown in ({"Origin": "http://centre"}, {"IOC-Request": "1"}):
            assert (await web.post(path, headers=cookie(OPERATOR, **shown))).json() == "an.operator"
        assert (await web.post(path, headers=bearer(OPERATOR))).json() == "an.operator"


async def test_without_people_no_token_is_asked_for_or_looked_at() -> None:
    async with client(Centre(NO_SIGN_IN)) as web:
        assert (await web.get("/cases")).json() == "anyone"
        assert (await web.get("/cases", headers=bearer("nonsense"))).json() == "anyone"
        assert (await web.get("/audit")).status_code == 403


async def test_people_without_an_issuer_are_let_in_nowhere() -> None:
    async with client(signed=False) as web:
        assert (await web.get("/public")).json() == "nobody"
        assert (await web.get("/cases")).status_code == 401
        answer = await web.get("/cases", headers=bearer(OPERATOR))
        assert (answer.status_code, answer.json()["reason"]) == (401, "wrong_issuer")


async def test_an_issuer_that_never_answered_is_nobodys_fault() -> None:
    async with client(trust=KnownKeys(SIGNER, away=True)) as web:
        answer = await web.get("/cases", headers=bearer(OPERATOR))
        assert answer.status_code == 503
        assert "issuer" in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) > 0
        assert (await web.get("/public")).json() == "nobody"


async def test_what_was_true_at_the_sign_in_is_asked_again() -> None:
    centre = Centre()
    guard = Guard(lambda: centre.site, lambda: centre.now, KnownKeys(SIGNER))
    sign_in = SignIn("an.operator", NOW + timedelta(hours=1))
    assert guard.actor(sign_in).sees_all
    centre.site = people_site(PEOPLE.replace('agencies = ["*"]', ""))
    assert not guard.actor(sign_in).sees_all
    centre.site = people_site(PEOPLE.replace("an.operator", "another.operator"))
    with pytest.raises(AccessRefused) as gone:
        guard.actor(sign_in)
    assert gone.value.reason is AccessReason.UNKNOWN_PERSON
    centre.site = SITE
    centre.now = NOW + timedelta(hours=1, seconds=1)
    with pytest.raises(AccessRefused) as late:
        guard.actor(sign_in)
    assert late.value.reason is AccessReason.EXPIRED


async def test_a_socket_takes_a_token_as_a_subprotocol_and_never_says_it_back() -> None:
    async with serving(app_of(Centre(), KnownKeys(SIGNER))) as origin:
        address = f"ws{origin.removeprefix('http')}/live"
        offered = ["ioc.live.v1", f"ioc.token.{OPERATOR}"]
        async with connect(address, subprotocols=offered, proxy=None) as socket:
            assert socket.subprotocol == "ioc.live.v1"
            assert await socket.recv() == "an.operator"
        for headers, who in ((cookie(OPERATOR), "an.operator"), (bearer(OPERATOR), "an.operator"), ({}, "nobody")):
            async with connect(address, additional_headers=headers, proxy=None) as socket:
                assert socket.subprotocol is None
                assert await socket.recv() == who
        with pytest.raises(InvalidStatus):
            await connect(address, subprotocols=["ioc.live.v1", f"ioc.token.{FORGED}"], proxy=None)
