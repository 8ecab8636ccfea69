"""How does somebody sign in on the board?

With the issuer's own pages: the board sends the browser there (`/signin`), takes the code that it comes back with
(`/signin/done`) and keeps the token in a cookie that no script can read. Scripts and other programs send a token in
`Authorization` instead, and need none of this.

Source: OpenID Connect Core 1.0 §3.1, RFC 7636 (PKCE), RFC 9207 (`iss` in the answer), RFC 9700.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Annotated
from urllib.parse import urlencode, urlsplit

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from msgspec import Struct
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dashboard_api.config import DashboardConfig
from dashboard_api.guard import SignIn, who_asks
from dashboard_api.rest import NoQuery, described
from schemas.command import Actor
from schemas.credential import SECURE_SESSION_COOKIE, SESSION_COOKIE, check_same_site, credential_of
from schemas.errors import AccessReason, AccessRefused, DependencyUnavailable
from schemas.identity import NOBODY
from schemas.token import key_id_of, verify

PATH = "/signin"
DONE_PATH = "/signin/done"
OUT_PATH = "/signout"

BEGUN_COOKIE = "ioc_signin_"
"""With the first letters of the state behind it, so that two tabs can sign in at once."""

BEGUN_LIFETIME_S = 600
"""How long somebody may take on the issuer's pages."""

COOKIE_CHARS_MAX = 3800
"""Browsers drop a larger cookie without a word."""

_STATE_IN_NAME = 12
_BACK_CHARS_MAX = 1024
_NO_STORE = {"Cache-Control": "no-store"}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "vi": {
        "in": "Đăng nhập",
        "again": "Đăng nhập lại",
        "board": "Về bảng điều hành",
        "out": "Đăng xuất",
        "ask": "Kết thúc phiên đăng nhập trên máy này?",
        "elsewhere": "Địa chỉ để đăng nhập là",
    },
    "en": {
        "in": "Sign in",
        "again": "Sign in again",
        "board": "Back to the board",
        "out": "Sign out",
        "ask": "End the sign-in on this machine?",
        "elsewhere": "The address to sign in at is",
    },
}


class Me(Struct, frozen=True, kw_only=True):
    """Who asks. `asked` is whether this site asks for a sign-in at all; `id` is null for nobody."""

    asked: bool
    id: str | None
    name: str | None
    roles: tuple[str, ...]
    agency: str | None
    unit: str | None
    areas: tuple[str, ...]
    expires_at: datetime | None


class _Begun(Struct, frozen=True):
    """What the browser keeps while it is at the issuer's."""

    state: str
    nonce: str
    verifier: str
    back: str


ANSWERS: tuple[type[Struct], ...] = (Me,)
"""What OpenAPI describes of these routes."""


def sign_in_routes(config: DashboardConfig) -> APIRouter:
    """`/signin`, `/signin/done`, `/signout` and `GET /v1/me`."""
    router = APIRouter(tags=["sign-in"])
    secure = urlsplit(config.public_url).scheme == "https"
    session_cookie = SECURE_SESSION_COOKIE if secure else SESSION_COOKIE

    @router.get("/v1/me", **described(Me))
    async def read_me(
        asked: Annotated[tuple[SignIn, Actor], Depends(who_asks)], _: Annotated[NoQuery, Query()]
    ) -> Response:
        """Who the caller is here, and until when the sign-in counts."""
        site, (sign_in, actor) = config.site, asked
        person = site.people.get(actor.id)
        known = actor is not NOBODY
        me = Me(
            asked=bool(site.people),
            id=actor.id if known else None,
            name=None if person is None else person.name,
            roles=actor.roles,
            agency=actor.agency,
            unit=actor.unit,
            areas=actor.areas,
            expires_at=sign_in.expires_at,
        )
        return Response(msgspec.json.encode(me), media_type="application/json", headers=_NO_STORE)

    @router.get(PATH, include_in_schema=False)
    async def begin(request: Request, back: str = "/") -> Response:
        if not config.site.people:
            return RedirectResponse("/", 303, _NO_STORE)
        if config.provider is None:
            raise AccessRefused(AccessReason.WRONG_ISSUER, "no issuer of tokens is set up", "Set IOC_OIDC_ISSUER.")
        if request.headers.get("host") != urlsplit(config.public_url).netloc:
            # The issuer sends people back to the one address that it knows; a cookie set here would not be there.
            return _elsewhere(request, config)
        endpoints = await config.provider.endpoints()
        begun = _Begun(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48), _local(back))
        query = {
            "response_type": "code",
            "client_id": config.provider.client_id,
            "redirect_uri": f"{config.public_url}{DONE_PATH}",
            "scope": "openid",
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": _challenge(begun.verifier),
            "code_challenge_method": "S256",
            "ui_locales": _language(request, config),
        }
        join = "&" if urlsplit(endpoints.authorization).query else "?"
        answer = RedirectResponse(f"{endpoints.authorization}{join}{urlencode(query)}", 303, _NO_STORE)
        kept = base64.urlsafe_b64encode(msgspec.json.encode(begun)).decode()
        answer.set_cookie(
            _begun_cookie(begun.state),
            kept,
            max_age=BEGUN_LIFETIME_S,
            path=PATH,
            secure=secure,
            httponly=True,
            samesite="lax",
        )
        return answer

    @router.get(DONE_PATH, include_in_schema=False)
    async def done(
        request: Request, state: str = "", code: str = "", iss: str | None = None, error: str | None = None
    ) -> Response:
        begun = _begun_of(request, state)
        try:
            if begun is None or config.provider is None or config.trust is None:
                raise AccessRefused(
                    AccessReason.NOT_SIGNED_IN, "this sign-in was not begun here, or too long ago", "Begin again."
                )
            if error is not None:
                raise AccessRefused(AccessReason.NOT_SIGNED_IN, f"the issuer answers {error!r}", "Begin again.")
            if iss is not None and iss != config.trust.issuer:
                raise AccessRefused(AccessReason.WRONG_ISSUER, "another issuer answers", "Begin again.")
            token = await config.provider.exchange(code, begun.verifier, f"{config.public_url}{DONE_PATH}")
            keys = await config.trust.keys(key_id_of(token))
            found = verify(
                token, keys, issuer=config.trust.issuer, audience=config.provider.client_id, now=config.now()
            )
            if found.nonce is None or not hmac.compare_digest(found.nonce.encode(), begun.nonce.encode()):
                raise AccessRefused(AccessReason.MALFORMED, "the token is of another sign-in", "Begin again.")
            if len(token) > COOKIE_CHARS_MAX:
                detail = f"the issuer's token is longer than the {COOKIE_CHARS_MAX} characters that a cookie can hold"
                raise AccessRefused(AccessReason.MALFORMED, detail, "Let the issuer put fewer claims into ID tokens.")
            if found.subject not in config.site.people:
                detail = f"people.toml has nobody with the id {found.subject!r}"
                raise AccessRefused(AccessReason.UNKNOWN_PERSON, detail, "Ask an administrator to add you.")
        except AccessRefused as refused:
            answer = _refused(request, config, refused)
        else:
            answer = RedirectResponse(begun.back, 303, _NO_STORE)
            left_s = int((found.expires_at - config.now()).total_seconds())
            answer.set_cookie(
                session_cookie, token, max_age=left_s, path="/", secure=secure, httponly=True, samesite="lax"
            )
        answer.delete_cookie(_begun_cookie(state), PATH, secure=secure, httponly=True)
        return answer

    @router.get(OUT_PATH, include_in_schema=False)
    async def ask_out(request: Request) -> Response:
        words = _WORDS[_language(request, config)]
        body = f"""<p>{escape(words["ask"])}</p>
<form method="post"><button type="submit">{escape(words["out"])}</button></form>
<p><a href="/">{escape(words["board"])}</a></p>"""
        ends_at = await _end_session(config)
        return _page(request, config, words["out"], body, form_targets=[] if ends_at is None else [_origin(ends_at)])

    @router.post(OUT_PATH, include_in_schema=False)
    async def out(request: Request) -> Response:
        check_same_site(request.method, request.scope["headers"])
        ends_at = await _end_session(config)
        credential = credential_of(request.scope["headers"])
        goes_to = "/"
        if ends_at is not None and credential is not None and config.provider is not None:
            query = {
                "id_token_hint": credential.token,
                "client_id": config.provider.client_id,
                "post_logout_redirect_uri": f"{config.public_url}/",
            }
            goes_to = f"{ends_at}{'&' if urlsplit(ends_at).query else '?'}{urlencode(query)}"
        answer = RedirectResponse(goes_to, 303, _NO_STORE)
        answer.delete_cookie(session_cookie, "/", secure=secure, httponly=True, samesite="lax")
        return answer

    return router


async def _end_session(config: DashboardConfig) -> str | None:
    """Where the issuer's own session ends; None where it cannot be asked. Signing out here never depends on it."""
    try:
        return None if config.provider is None else (await config.provider.endpoints()).end_session
    except DependencyUnavailable:
        return None


def _local(back: str) -> str:
    """Where to go after the sign-in: a path of this site, never another one."""
    parts = urlsplit(back)
    odd = any(sign in back for sign in "\\\r\n\t") or back.startswith("//") or len(back) > _BACK_CHARS_MAX
    return "/" if odd or parts.scheme or parts.netloc or not back.startswith("/") else back


def _begun_cookie(state: str) -> str:
    """The cookie's name. Of a state that is not ours it is one that nobody has."""
    safe = "".join(sign for sign in state[:_STATE_IN_NAME] if sign.isascii() and (sign.isalnum() or sign in "-_"))
    return f"{BEGUN_COOKIE}{safe}"


def _begun_of(request: Request, state: str) -> _Begun | None:
    kept = request.cookies.get(_begun_cookie(state))
    if kept is None:
        return None
    try:
        begun = msgspec.json.decode(base64.urlsafe_b64decode(kept), type=_Begun)
    except (ValueError, msgspec.DecodeError):
        return None
    return begun if hmac.compare_digest(begun.state.encode(), state.encode()) else None


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _language(request: Request, config: DashboardConfig) -> str:
    """The one that the browser wants first, of those that these pages have; else the site's own."""
    asked = [part.split(";")[0].strip()[:2] for part in request.headers.get("accept-language", "").split(",")]
    return next((word for word in (*asked, *config.site.header.languages) if word in _WORDS), "vi")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _elsewhere(request: Request, config: DashboardConfig) -> Response:
    words = _WORDS[_language(request, config)]
    address = escape(f"{config.public_url}{PATH}")
    body = f'<p>{escape(words["elsewhere"])} <a href="{address}">{address}</a>.</p>'
    return _page(request, config, words["in"], body, status=421)


def _refused(request: Request, config: DashboardConfig, refused: AccessRefused) -> Response:
    words = _WORDS[_language(request, config)]
    body = f"""<p role="alert" lang="en">{escape(f"{refused.detail}. {refused.fix}")}</p>
<p><a href="{PATH}">{escape(words["again"])}</a></p>
<p><a href="/">{escape(words["board"])}</a></p>"""
    return _page(request, config, words["in"], body, status=refused.status)


def _page(
    request: Request,
    config: DashboardConfig,
    title: str,
    body: str,
    *,
    status: int = 200,
    form_targets: list[str] | None = None,
) -> Response:
    language = _language(request, config)
    names = config.site.header.names
    html = f"""<!doctype html>
<html lang="{language}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} – {escape(names.get(language) or next(iter(names.values())))}</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/kpi/board.css"></head>
<body><main><h1>{escape(title)}</h1>
{body}
</main></body>
</html>
"""
    targets = " ".join(("'self'", *(form_targets or ())))
    headers = {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'self'; img-src data:; form-action {targets}; "
            "base-uri 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        # Not `no-referrer`: a form would then be sent with `Origin: null`, and the origin is what is checked.
        "Referrer-Policy": "same-origin",
        **_NO_STORE,
    }
    return HTMLResponse(html, status, headers)
