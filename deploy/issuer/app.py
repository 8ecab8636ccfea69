"""How does somebody sign in with the centre's own issuer?

An OpenID provider under `/oidc/`: the authorization code flow with PKCE, for the board alone. Whoever may sign in
stands in `people.toml` and has a password (`ioc passwd`). A province with a provider of its own uses that one, and
then nothing of this runs.

| request                                       | answers                                             |
| --------------------------------------------- | --------------------------------------------------- |
| `GET /oidc/.well-known/openid-configuration`  | what the provider is and where                      |
| `GET /oidc/jwks`                              | the keys that tokens are signed with                |
| `GET`, `POST /oidc/authorize`                 | the sign-in page; a code for whoever has signed in  |
| `POST /oidc/token`                            | tokens for a code                                   |
| `GET`, `POST /oidc/logout`                    | ends the session here                               |

Source: OpenID Connect Core 1.0, Discovery 1.0 and RP-Initiated Logout 1.0; RFC 9700 (OAuth security practice).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from msgspec import Struct
from prometheus_client import Counter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from deploy.issuer import pages
from deploy.issuer.grants import CODE_LIFETIME, Grant, Grants
from deploy.issuer.passwords import Passwords
from deploy.issuer.signing import ACCESS_TYPE, ALGORITHM, KeyRing, access_claims
from deploy.issuer.throttle import Throttle
from schemas.credential import check_same_site
from schemas.errors import AccessRefused, OperatorError
from schemas.site import Site
from schemas.token import Verified, keys_of, verify

PATH = "/oidc"
CLIENT_ID = "ioc-board"

TOKEN_LIFETIME = timedelta(hours=1)
SESSION_LIFETIME = timedelta(hours=12)
"""A shift: for so long the board gets new tokens without asking for the password again."""

SESSION_COOKIE = "ioc_issuer"
FORM_BYTES_MAX = 16 * 1024
"""A longer form is refused with 413."""

PERSON_CHARS_MAX = 128
"""A longer name is nobody's, and only its beginning is remembered."""

QUERY_CHARS_MAX = 4 * 1024
"""A longer request for a code is refused."""

HASHING_MAX = 2
"""Passwords hashed at once; each takes a tenth of a second of a core and 32 MiB."""

WAITING_MAX = 50
"""Attempts that wait for their turn to be hashed; one more is asked to come again."""

SIGN_INS = Counter(
    "ioc_issuer_sign_ins", "Attempts to sign in with the local issuer: ok, wrong, held_up or busy.", ["outcome"]
)

_log = logging.getLogger("ioc.issuer")
_NO_STORE = {"Cache-Control": "no-store"}
_QUERY_LANGUAGE = "ui_locales"


class IssuerConfig(Struct, frozen=True, kw_only=True):
    """`public_url` is the origin that people reach the centre by, without a slash at the end."""

    public_url: str
    secrets_folder: Path
    current_site: Callable[[], Site]
    now: Callable[[], datetime]
    steady_s: Callable[[], float] = time.monotonic

    @property
    def issuer(self) -> str:
        """Its name in tokens."""
        return f"{self.public_url}{PATH}"

    @property
    def session_audience(self) -> str:
        """For whom the token in the session's cookie is: no board takes it."""
        return f"{self.issuer}#session"

    @property
    def redirect_uri(self) -> str:
        """The only place that codes are sent to."""
        return f"{self.public_url}/signin/done"

    @property
    def signed_out_uri(self) -> str:
        """Where people are sent to when they have signed out."""
        return f"{self.public_url}/"


class _BadRequest(Exception):
    """A request that cannot be answered by a redirect. Holds what is wrong."""


class _Asked(Struct, frozen=True, kw_only=True):
    """A request for a code, checked."""

    state: str | None
    nonce: str | None
    challenge: str
    prompt: str


def create_issuer(config: IssuerConfig) -> Starlette:
    """The provider, to be mounted at `/oidc`. Raises OperatorError when its key cannot be read or made."""
    issuer = _Issuer(config)
    routes = [
        Route("/.well-known/openid-configuration", issuer.discovery),
        Route("/jwks", issuer.key_set),
        Route("/authorize", issuer.authorize, methods=["GET"]),
        Route("/authorize", issuer.sign_in, methods=["POST"]),
        Route("/token", issuer.token, methods=["POST"]),
        Route("/logout", issuer.logout, methods=["GET", "POST"]),
        Route("/sign_in.css", _style),
    ]
    return Starlette(routes=routes, exception_handlers={_BadRequest: issuer.refuse, OperatorError: issuer.fail})


class _Issuer:
    def __init__(self, config: IssuerConfig) -> None:
        self._config = config
        self._ring = KeyRing(config.secrets_folder)
        self._own_keys = keys_of(self._ring.key_set)
        self._passwords = Passwords(config.secrets_folder)
        self._throttle = Throttle()
        self._grants = Grants()
        self._hashing = asyncio.Semaphore(HASHING_MAX)
        self._waiting = 0

    async def discovery(self, _: Request) -> Response:
        issuer = self._config.issuer
        return JSONResponse(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "jwks_uri": f"{issuer}/jwks",
                "end_session_endpoint": f"{issuer}/logout",
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "token_endpoint_auth_methods_supported": ["none"],
                "code_challenge_methods_supported": ["S256"],
                "scopes_supported": ["openid"],
                "claims_supported": ["iss", "aud", "sub", "iat", "exp", "nonce", "name"],
                "ui_locales_supported": list(pages.LANGUAGES),
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def key_set(self, _: Request) -> Response:
        return Response(self._ring.key_set, media_type="application/json")

    async def authorize(self, request: Request) -> Response:
        asked = self._asked(request)
        if isinstance(asked, Response):
            return asked
        subject = None if asked.prompt == "login" else self._session_of(request)
        if subject is not None:
            return self._with_code(asked, subject)
        if asked.prompt == "none":
            return self._back({"error": "login_required", "state": asked.state})
        return self._form(request)

    async def sign_in(self, request: Request) -> Response:
        # A form on another site must not sign somebody in here, not even as oneself.
        _check_own_form(request)
        asked = self._asked(request)
        if isinstance(asked, Response):
            return asked
        form = await _form_of(request)
        person, password = form.get("person", "").strip()[:PERSON_CHARS_MAX], form.get("password", "")
        address = request.client.host if request.client is not None else ""
        wait_s = self._throttle.wait_s(person, address, self._config.steady_s())
        if wait_s > 0:
            SIGN_INS.labels("held_up").inc()
            seconds = int(wait_s) + 1
            answer = self._form(request, person=person, problem="wait", wait_s=seconds, status=429)
            answer.headers["Retry-After"] = str(seconds)
            return answer
        if self._waiting >= WAITING_MAX:
            SIGN_INS.labels("busy").inc()
            answer = self._form(request, person=person, problem="busy", status=503)
            answer.headers["Retry-After"] = "2"
            return answer
        self._throttle.failed(person, address, self._config.steady_s())
        if not await self._matches(person, password) or person not in self._config.current_site().people:
            SIGN_INS.labels("wrong").inc()
            return self._form(request, person=person, problem="wrong", status=401)
        SIGN_INS.labels("ok").inc()
        self._throttle.succeeded(person, address)
        answer = self._with_code(asked, person)
        self._set_session(answer, person)
        return answer

    async def token(self, request: Request) -> Response:
        form = await _form_of(request)
        if form.get("grant_type") != "authorization_code":
            return _token_error("unsupported_grant_type", "Only authorization_code is granted.")
        if form.get("client_id") != CLIENT_ID:
            return _token_error("invalid_client", f"The client is {CLIENT_ID}.", 401)
        now = self._config.now()
        grant = self._grants.redeem(
            form.get("code", ""),
            client_id=CLIENT_ID,
            redirect_uri=form.get("redirect_uri", ""),
            verifier=form.get("code_verifier", ""),
            now=now,
        )
        person = None if grant is None else self._config.current_site().people.get(grant.subject)
        if grant is None or person is None:
            return _token_error("invalid_grant", "The code is wrong, used or too old. Start the sign-in again.")
        claims = access_claims(self._config.issuer, CLIENT_ID, grant.subject, now, TOKEN_LIFETIME)
        about = {"name": person.name} | ({} if grant.nonce is None else {"nonce": grant.nonce})
        tokens = {
            "access_token": self._ring.key.sign(claims, type_=ACCESS_TYPE),
            "id_token": self._ring.key.sign(claims | about),
            "token_type": "Bearer",
            "expires_in": int(TOKEN_LIFETIME.total_seconds()),
            "scope": "openid",
        }
        return JSONResponse(tokens, headers=_NO_STORE)

    async def logout(self, request: Request) -> Response:
        query = request.query_params
        subject = self._session_of(request)
        if request.method == "POST":
            _check_own_form(request)
        elif subject is not None and self._hinted(query.get("id_token_hint", "")) != subject:
            # Without the token any page could sign people out.
            return self._page(request, partial(pages.sign_out_page, done=False))
        if query.get("post_logout_redirect_uri") == self._config.signed_out_uri:
            answer: Response = RedirectResponse(self._config.signed_out_uri, 303, _NO_STORE)
        else:
            answer = self._page(request, partial(pages.sign_out_page, done=True))
        answer.delete_cookie(SESSION_COOKIE, PATH, secure=_is_secure(self._config.public_url), httponly=True)
        return answer

    async def refuse(self, request: Request, error: Exception) -> Response:
        return self._page(request, partial(pages.refusal_page, detail=str(error)), 400)

    async def fail(self, request: Request, error: Exception) -> Response:
        """The secrets on disk cannot be used: whoever runs the centre can mend it, and nobody else is told how."""
        _log.error("nobody can sign in: %s", error)
        detail = "The issuer cannot read its secrets. The log of the web process says why."
        return self._page(request, partial(pages.refusal_page, detail=detail), 503)

    def _asked(self, request: Request) -> _Asked | Response:
        """What is asked for, or the answer to a request that is wrong. Raises _BadRequest."""
        if len(request.url.query) > QUERY_CHARS_MAX:
            raise _BadRequest(f"The request has more than {QUERY_CHARS_MAX} characters.")
        query = request.query_params
        # Nothing is ever sent to an address that is not known beforehand.
        if query.get("client_id") != CLIENT_ID:
            raise _BadRequest(f"client_id is not {CLIENT_ID!r}.")
        if query.get("redirect_uri") != self._config.redirect_uri:
            raise _BadRequest(f"redirect_uri is not {self._config.redirect_uri!r}. IOC_PUBLIC_URL sets its origin.")
        state = query.get("state")
        if query.get("response_type") != "code":
            return self._back({"error": "unsupported_response_type", "state": state})
        if "openid" not in query.get("scope", "").split():
            return self._back({"error": "invalid_scope", "state": state})
        challenge = query.get("code_challenge", "")
        if query.get("code_challenge_method") != "S256" or len(challenge) != 43:
            detail = "PKCE is needed, with code_challenge_method S256."
            return self._back({"error": "invalid_request", "error_description": detail, "state": state})
        return _Asked(state=state, nonce=query.get("nonce"), challenge=challenge, prompt=query.get("prompt", ""))

    async def _matches(self, person: str, password: str) -> bool:
        self._waiting += 1
        try:
            async with self._hashing:
                return await asyncio.to_thread(self._passwords.matches, person, password)
        finally:
            self._waiting -= 1

    def _with_code(self, asked: _Asked, subject: str) -> Response:
        grant = Grant(
            subject=subject,
            client_id=CLIENT_ID,
            redirect_uri=self._config.redirect_uri,
            challenge=asked.challenge,
            nonce=asked.nonce,
            until=self._config.now() + CODE_LIFETIME,
        )
        return self._back({"code": self._grants.add(grant), "state": asked.state})

    def _back(self, answer: Mapping[str, str | None]) -> Response:
        """Sends the browser back to the board with an answer."""
        given = {name: value for name, value in answer.items() if value is not None}
        query = urlencode({**given, "iss": self._config.issuer})
        return RedirectResponse(f"{self._config.redirect_uri}?{query}", 303, _NO_STORE)

    def _set_session(self, answer: Response, person: str) -> None:
        now = self._config.now()
        claims = access_claims(self._config.issuer, self._config.session_audience, person, now, SESSION_LIFETIME)
        token = self._ring.key.sign(claims | {"nonce": self._passwords.mark(person)})
        answer.set_cookie(
            SESSION_COOKIE,
            token,
            max_age=int(SESSION_LIFETIME.total_seconds()),
            path=PATH,
            secure=_is_secure(self._config.public_url),
            httponly=True,
            samesite="lax",
        )

    def _session_of(self, request: Request) -> str | None:
        """Who has signed in with this browser, and still may."""
        token = request.cookies.get(SESSION_COOKIE)
        if token is None:
            return None
        try:
            found = self._verified(token, self._config.session_audience)
        except AccessRefused:
            return None
        known = found.subject in self._config.current_site().people
        return found.subject if known and found.nonce == self._passwords.mark(found.subject) else None

    def _hinted(self, token: str) -> str | None:
        """Whose sign-in a token says is to end."""
        try:
            return self._verified(token, CLIENT_ID).subject
        except AccessRefused:
            return None

    def _verified(self, token: str, audience: str) -> Verified:
        return verify(token, self._own_keys, issuer=self._config.issuer, audience=audience, now=self._config.now())

    def _form(
        self, request: Request, *, person: str = "", problem: str | None = None, wait_s: int = 0, status: int = 200
    ) -> Response:
        language = self._language(request)
        other = {**request.query_params, _QUERY_LANGUAGE: "en" if language == "vi" else "vi"}
        page = partial(
            pages.sign_in_page,
            other_language=f"?{urlencode(other)}",
            person=person,
            problem=problem,
            wait_s=wait_s,
            form_targets=[_origin(self._config.redirect_uri)],
        )
        return self._page(request, page, status)

    def _page(self, request: Request, page: Callable[..., pages.Page], status: int = 200) -> Response:
        names = self._config.current_site().header.names
        language = self._language(request)
        made = page(language=language, site_name=names.get(language) or next(iter(names.values())))
        return HTMLResponse(made.html, status, made.headers)

    def _language(self, request: Request) -> str:
        return pages.language_of(
            request.query_params.get(_QUERY_LANGUAGE),
            request.headers.get("accept-language", ""),
            self._config.current_site().header.languages,
        )


async def _style(_: Request) -> Response:
    return Response(pages.STYLE, media_type="text/css", headers={"X-Content-Type-Options": "nosniff"})


def _check_own_form(request: Request) -> None:
    """Raises _BadRequest for a form that another site's page may have sent."""
    try:
        check_same_site(request.method, request.scope["headers"])
    except AccessRefused:
        raise _BadRequest("The form was not sent from this site's own page.") from None


async def _form_of(request: Request) -> dict[str, str]:
    """The fields of a form. Raises _BadRequest for one that is too long or cannot be read."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > FORM_BYTES_MAX:
            raise _BadRequest(f"The form has more than {FORM_BYTES_MAX} bytes.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise _BadRequest("The form cannot be read.") from None


def _token_error(error: str, detail: str, status: int = 400) -> Response:
    return JSONResponse({"error": error, "error_description": detail}, status, _NO_STORE)


def _is_secure(url: str) -> bool:
    return urlsplit(url).scheme == "https"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
