"""Does the local issuer sign in whoever has the password, send nobody elsewhere, and hold up guessing?"""

import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from deploy.identity import Identity, local_client
from deploy.issuer.app import CLIENT_ID, SESSION_COOKIE, IssuerConfig, create_issuer
from deploy.issuer.grants import CODE_LIFETIME, CODES_MAX, Grant, Grants, challenge_of
from deploy.issuer.passwords import Passwords
from deploy.issuer.throttle import ADDRESS_FREE, KEYS_MAX, PERSON_FREE, WAIT_MAX_S, Throttle
from deploy.web import web_app
from schemas.site import Site
from schemas.token import keys_of, verify
from tests.schemas.people import PEOPLE, people_site
from tests.schemas.signer import NOW
from tests.serving import listener, origin_of, serving

PERSON, PASSWORD = "an.operator", "mật khẩu đủ dài"
CHEAP_N = 2**4
VERIFIER = "v" * 43


class Centre:
    """A web process with an issuer of its own, without a database behind it."""

    def __init__(self, folder: Path) -> None:
        self.socket: socket.socket = listener()
        self.site: Site = people_site()
        self.now: datetime = NOW
        self.steady_s = 1000.0
        self.folder = folder
        Passwords(folder, CHEAP_N).set(PERSON, PASSWORD)
        self.config = IssuerConfig(
            public_url=origin_of(self.socket),
            secrets_folder=folder,
            current_site=lambda: self.site,
            now=lambda: self.now,
            steady_s=lambda: self.steady_s,
        )

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client that keeps cookies and follows nothing by itself."""
        issuer = create_issuer(self.config)
        client = local_client(self.config, issuer)
        identity = Identity(client=client, public_url=self.config.public_url, issuer=issuer)
        app = web_app(
            "127.0.0.1:1", "postgresql://nobody@127.0.0.1:1/none", lambda: self.site, "t.", identity, now=self._now
        )
        async with (
            serving(app, self.socket) as origin,
            httpx.AsyncClient(base_url=origin, trust_env=False, timeout=30) as client,
        ):
            yield client

    def _now(self) -> datetime:
        return self.now

    def asked(self, **otherwise: str | None) -> str:
        """The address of a request for a code, some of it otherwise."""
        query: dict[str, str | None] = {
            "client_id": CLIENT_ID,
            "redirect_uri": self.config.redirect_uri,
            "response_type": "code",
            "scope": "openid",
            "state": "s",
            "nonce": "n",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
            **otherwise,
        }
        return f"/oidc/authorize?{urlencode({name: word for name, word in query.items() if word is not None})}"

    async def sends(self, web: httpx.AsyncClient, person: str, password: str, address: str = "") -> httpx.Response:
        """Sends the form, as a browser does from the page."""
        form = {"person": person, "password": password}
        return await web.post(address or self.asked(), data=form, headers={"Origin": self.config.public_url})

    async def redeems(self, web: httpx.AsyncClient, code: str, **otherwise: str) -> httpx.Response:
        """Turns a code into tokens."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": CLIENT_ID,
            "redirect_uri": self.config.redirect_uri,
            "code_verifier": VERIFIER,
            **otherwise,
        }
        return await web.post("/oidc/token", data=form)


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre(tmp_path / "secrets")


def said_back(answer: httpx.Response) -> dict[str, str]:
    """What a redirect to the board says."""
    assert answer.status_code == 303
    return {name: words[0] for name, words in parse_qs(urlsplit(answer.headers["location"]).query).items()}


async def test_the_whole_way_from_the_board_and_back_and_out(centre: Centre) -> None:
    async with centre.browser() as web:
        assert (await web.get("/v1/me")).json()["id"] is None
        begun = await web.get("/signin?back=/?area=01")
        assert begun.status_code == 303
        form = await web.get(begun.headers["location"])
        assert form.status_code == 200
        wrong = await centre.sends(web, PERSON, "wrong", begun.headers["location"])
        assert wrong.status_code == 401
        assert 'role="alert"' in wrong.text
        right = await centre.sends(web, PERSON, PASSWORD, begun.headers["location"])
        done = await web.get(right.headers["location"])
        assert (done.status_code, done.headers["location"]) == (303, "/?area=01")
        [kept] = [one for one in done.headers.get_list("set-cookie") if one.startswith("ioc_session=")]
        assert "HttpOnly" in kept
        assert "SameSite=lax" in kept
        me = (await web.get("/v1/me")).json()
        assert (me["id"], me["name"], me["roles"]) == (PERSON, "Nguyễn Thị An", ["operator", "dispatcher"])
        assert datetime.fromisoformat(me["expires_at"]) == NOW + timedelta(hours=1)
        # Once the token has expired, the issuer's own session gives a new one without the password.
        centre.now += timedelta(hours=2)
        web.cookies.delete("ioc_session")
        again = await web.get("/signin")
        code = await web.get(again.headers["location"])
        assert "code" in said_back(code)
        await web.get(code.headers["location"])
        assert (await web.get("/v1/me")).json()["id"] == PERSON
        out = await web.post("/signout", headers={"Origin": centre.config.public_url})
        ended = await web.get(out.headers["location"])
        assert (ended.status_code, ended.headers["location"]) == (303, f"{centre.config.public_url}/")
        assert (await web.get("/v1/me")).json()["id"] is None
        assert SESSION_COOKIE not in web.cookies
        assert (await web.get((await web.get("/signin")).headers["location"])).status_code == 200


async def test_tokens_are_what_discovery_says(centre: Centre) -> None:
    async with centre.browser() as web:
        found = (await web.get("/oidc/.well-known/openid-configuration")).json()
        assert found["issuer"] == f"{centre.config.public_url}/oidc"
        keys = keys_of((await web.get(found["jwks_uri"])).content)
        code = said_back(await centre.sends(web, PERSON, PASSWORD))["code"]
        answer = await centre.redeems(web, code)
        assert answer.headers["cache-control"] == "no-store"
        tokens = answer.json()
        for name in ("access_token", "id_token"):
            token = verify(tokens[name], keys, issuer=found["issuer"], audience=CLIENT_ID, now=NOW)
            assert token.subject == PERSON
            assert token.expires_at == NOW + timedelta(seconds=tokens["expires_in"])
        me = await web.get("/v1/me", headers={"Authorization": f"Bearer {tokens['access_token']}"})
        assert me.json()["id"] == PERSON
        private = {"d", "p", "q", "k"}
        assert not private & set((await web.get(found["jwks_uri"])).json()["keys"][0])


@pytest.mark.parametrize(
    "otherwise",
    [
        pytest.param({"client_id": "other"}, id="another client"),
        pytest.param({"client_id": None}, id="no client"),
        pytest.param({"redirect_uri": "https://evil.example/signin/done"}, id="another place"),
        pytest.param({"redirect_uri": None}, id="no place"),
        pytest.param({"state": "s" * 5000}, id="without end"),
    ],
)
async def test_nobody_is_sent_to_a_place_that_is_not_known(centre: Centre, otherwise: dict[str, str | None]) -> None:
    async with centre.browser() as web:
        for answer in (
            await web.get(centre.asked(**otherwise)),
            await centre.sends(web, PERSON, PASSWORD, centre.asked(**otherwise)),
        ):
            assert answer.status_code == 400
            assert "location" not in answer.headers
            assert "set-cookie" not in answer.headers


async def test_a_place_that_nearly_fits_does_not(centre: Centre) -> None:
    async with centre.browser() as web:
        own = centre.config.redirect_uri
        for near in (f"{own}/", f"{own}?x=1", own.replace("127.0.0.1", "127.0.0.1@evil.example"), own.upper()):
            assert (await web.get(centre.asked(redirect_uri=near))).status_code == 400


@pytest.mark.parametrize(
    ("otherwise", "error"),
    [
        pytest.param({"response_type": "token"}, "unsupported_response_type", id="the implicit flow"),
        pytest.param({"code_challenge": None}, "invalid_request", id="no PKCE"),
        pytest.param({"code_challenge_method": "plain"}, "invalid_request", id="plain PKCE"),
        pytest.param({"scope": "profile"}, "invalid_scope", id="no OpenID"),
        pytest.param({"prompt": "none"}, "login_required", id="without asking"),
    ],
)
async def test_other_mistakes_go_back_to_the_board(
    centre: Centre, otherwise: dict[str, str | None], error: str
) -> None:
    async with centre.browser() as web:
        answer = said_back(await web.get(centre.asked(**otherwise)))
        assert (answer["error"], answer["state"], answer["iss"]) == (error, "s", centre.config.issuer)


async def test_a_code_counts_once_for_whoever_began_and_not_for_long(centre: Centre) -> None:
    async with centre.browser() as web:

        async def code() -> str:
            return said_back(await centre.sends(web, PERSON, PASSWORD))["code"]

        used = await code()
        assert (await centre.redeems(web, used)).status_code == 200
        for answer in (
            await centre.redeems(web, used),
            await centre.redeems(web, await code(), code_verifier="w" * 43),
            await centre.redeems(web, await code(), code_verifier="é"),
            await centre.redeems(web, await code(), redirect_uri="https://evil.example/"),
            await centre.redeems(web, "made up"),
        ):
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        stolen = await code()
        assert (await centre.redeems(web, stolen, code_verifier="guess")).status_code == 400
        assert (await centre.redeems(web, stolen)).status_code == 400
        old = await code()
        centre.now += CODE_LIFETIME
        assert (await centre.redeems(web, old)).json()["error"] == "invalid_grant"
        assert (await centre.redeems(web, "x", grant_type="password")).json()["error"] == "unsupported_grant_type"
        assert (await centre.redeems(web, "x", client_id="other")).status_code == 401
        assert (await web.post("/oidc/token", content=b"x" * 20_000)).status_code == 400


async def test_a_form_of_another_site_signs_nobody_in(centre: Centre) -> None:
    async with centre.browser() as web:
        form = {"person": PERSON, "password": PASSWORD}
        for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
            answer = await web.post(centre.asked(), data=form, headers=headers)
            assert answer.status_code == 400
            assert "set-cookie" not in answer.headers


async def test_a_sign_in_that_was_not_begun_here_is_not_ended_here(centre: Centre) -> None:
    async with centre.browser() as web:
        right = await centre.sends(web, PERSON, PASSWORD)
        answer = await web.get(right.headers["location"])
        assert answer.status_code == 401
        assert "ioc_session" not in web.cookies
        begun = await web.get("/signin")
        state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
        for query in (f"state={state}&code=made-up", f"state={state}x&code=c", "", "state=%00%0d%0aa&code=c"):
            assert (await web.get(f"/signin/done?{query}")).status_code == 401
        assert (await web.get("/v1/me")).json()["id"] is None


async def test_an_answer_of_another_issuer_or_a_refusal_is_told(centre: Centre) -> None:
    async with centre.browser() as web:
        for query, word in (("iss=https://evil.example&code=c", "another issuer"), ("error=access_denied", "denied")):
            begun = await web.get("/signin")
            state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
            answer = await web.get(f"/signin/done?state={state}&{query}")
            assert answer.status_code == 401
            assert word in answer.text


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "evil",
        "/\tx",
        "/" * 2000,
    ],
)
async def test_after_a_sign_in_nobody_is_sent_elsewhere(centre: Centre, back: str) -> None:
    async with centre.browser() as web:
        begun = await web.get("/signin", params={"back": back})
        right = await centre.sends(web, PERSON, PASSWORD, begun.headers["location"])
        assert (await web.get(right.headers["location"])).headers["location"] == "/"


async def test_whoever_comes_by_another_name_is_told_the_right_one(centre: Centre) -> None:
    async with centre.browser() as web:
        answer = await web.get("/signin", headers={"Host": "elsewhere"})
        assert answer.status_code == 421
        assert f"{centre.config.public_url}/signin" in answer.text


async def test_a_session_ends_with_the_password_the_person_or_the_shift(centre: Centre) -> None:
    async with centre.browser() as web:
        await centre.sends(web, PERSON, PASSWORD)

        async def signed_in() -> bool:
            return "code" in said_back(await web.get(centre.asked(prompt="none")))

        assert await signed_in()
        assert (await web.get(centre.asked(prompt="login"))).status_code == 200
        centre.site = people_site(PEOPLE.replace(PERSON, "another.operator"))
        assert not await signed_in()
        centre.site = people_site()
        assert await signed_in()
        Passwords(centre.folder, CHEAP_N).set(PERSON, "another password")
        assert not await signed_in()
        await centre.sends(web, PERSON, "another password")
        assert await signed_in()
        centre.now += timedelta(hours=13)
        assert not await signed_in()


async def test_no_page_elsewhere_signs_anybody_out(centre: Centre) -> None:
    async with centre.browser() as web:
        await centre.sends(web, PERSON, PASSWORD)
        asked = await web.get("/oidc/logout?post_logout_redirect_uri=https://evil.example/")
        assert asked.status_code == 200
        assert "<form" in asked.text
        assert SESSION_COOKIE in web.cookies
        assert (await web.post("/oidc/logout", headers={"Origin": "https://evil.example"})).status_code == 400
        assert (await web.post("/signout", headers={"Origin": "https://evil.example"})).status_code == 403
        ended = await web.post("/oidc/logout", headers={"Origin": centre.config.public_url})
        assert ended.status_code == 200
        assert SESSION_COOKIE not in web.cookies


async def test_guessing_is_held_up_and_the_right_password_forgets_it(centre: Centre) -> None:
    async with centre.browser() as web:
        for _ in range(PERSON_FREE):
            assert (await centre.sends(web, PERSON, "wrong")).status_code == 401
        assert (await centre.sends(web, PERSON, "wrong")).status_code == 401
        held = await centre.sends(web, PERSON, PASSWORD)
        assert held.status_code == 429
        assert int(held.headers["retry-after"]) >= 1
        # Nobody else is held up by it.
        assert (await centre.sends(web, "binh.roads", "wrong")).status_code == 401
        centre.steady_s += 2
        assert (await centre.sends(web, PERSON, PASSWORD)).status_code == 303
        assert (await centre.sends(web, PERSON, "wrong")).status_code == 401
        assert (await centre.sends(web, PERSON, PASSWORD)).status_code == 303


async def test_whoever_has_no_password_is_told_the_same(centre: Centre) -> None:
    async with centre.browser() as web:
        answers = [
            await centre.sends(web, person, password)
            for person, password in ((PERSON, "wrong"), ("binh.roads", "wrong"), ("nobody", "wrong"), ("", ""))
        ]
        texts = {re.sub(r'value="[^"]*"|autofocus', "", answer.text) for answer in answers}
        assert {answer.status_code for answer in answers} == {401}
        assert len({re.sub(r"\s+", " ", text) for text in texts}) == 1


async def test_a_password_of_somebody_who_has_left_opens_nothing(centre: Centre) -> None:
    Passwords(centre.folder, CHEAP_N).set("gone", PASSWORD)
    async with centre.browser() as web:
        assert (await centre.sends(web, "gone", PASSWORD)).status_code == 401


async def test_secrets_that_cannot_be_used_are_told_to_whoever_runs_it(
    centre: Centre, caplog: pytest.LogCaptureFixture
) -> None:
    async with centre.browser() as web:
        (centre.folder / "passwords.json").chmod(0o644)
        answer = await centre.sends(web, PERSON, PASSWORD)
        assert answer.status_code == 503
        assert "chmod" not in answer.text
        assert "chmod 600" in caplog.text


async def test_pages_run_no_script_and_show_what_is_typed_as_text(centre: Centre) -> None:
    async with centre.browser() as web:
        attack = '"><script>alert(1)</script>'
        answer = await centre.sends(web, attack, "x", centre.asked(state=attack))
        assert "<script" not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        english = await web.get(centre.asked(), headers={"Accept-Language": "fr, en;q=0.5"})
        assert 'lang="en"' in english.text
        assert "Password" in english.text
        assert 'lang="vi"' in (await web.get(centre.asked(ui_locales="vi"))).text


def grant(**otherwise: Any) -> Grant:
    usual = {"subject": "a", "client_id": "c", "redirect_uri": "r", "challenge": challenge_of("v"), "nonce": None}
    return Grant(**{**usual, "until": NOW + CODE_LIFETIME, **otherwise})


def test_codes_that_nobody_redeems_do_not_pile_up() -> None:
    grants = Grants()
    codes = [grants.add(grant()) for _ in range(CODES_MAX + 1)]
    found = [grants.redeem(code, client_id="c", redirect_uri="r", verifier="v", now=NOW) for code in codes]
    assert [code is not None for code in found] == [False, *[True] * CODES_MAX]


def test_the_wait_doubles_up_to_its_bound_and_is_forgotten() -> None:
    throttle, waits = Throttle(), list[float]()
    now_s = 0.0
    for _ in range(PERSON_FREE + 12):
        now_s += throttle.wait_s("a", "1", now_s)
        throttle.failed("a", f"address {now_s}", now_s)
        waits.append(throttle.wait_s("A", "other", now_s))
    assert waits[:PERSON_FREE] == [0.0] * PERSON_FREE
    assert waits[PERSON_FREE : PERSON_FREE + 4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == WAIT_MAX_S
    assert throttle.wait_s("a", "1", now_s + 901) == 0.0


def test_many_names_from_one_address_are_held_up() -> None:
    throttle = Throttle()
    for at in range(ADDRESS_FREE + 1):
        throttle.failed(f"p{at}", "1", 0.0)
    assert throttle.wait_s("somebody", "1", 0.0) > 0
    assert throttle.wait_s("somebody", "2", 0.0) == 0
    throttle.succeeded("p1", "1")
    assert throttle.wait_s("somebody", "1", 0.0) > 0


def test_what_is_remembered_has_a_bound() -> None:
    throttle = Throttle()
    for at in range(KEYS_MAX):
        throttle.failed(f"p{at}", f"a{at}", 0.0)
    assert len(throttle._failures) == KEYS_MAX  # a bound is what is inside
