"""How does a screen on a wall show which one it is, and where does that count?

It has a cookie with its key, which no script can read, for as long as browsers keep one. The key counts on the live
feed and nowhere else: to every other address the screen is nobody.
"""

from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, Body, Request
from msgspec import Struct
from starlette.requests import HTTPConnection
from starlette.responses import Response

from dashboard_api.config import DashboardConfig
from schemas.credential import check_same_site
from schemas.display import KEY_CHARS_MAX, Display, display_with, hash_of
from schemas.errors import AccessReason, AccessRefused
from schemas.site import Site

COOKIE = "ioc_display"
SECURE_COOKIE = "__Host-ioc_display"
COOKIE_DAYS = 400
"""As long as browsers keep a cookie. Each time a screen comes back it gets it anew."""

PATHS = frozenset({"/v1/me", "/v1/live", "/v1/live/events", "/v1/live/poll"})
"""Where a screen is a screen. Whatever else there is or will be takes it for nobody."""

_NO_STORE = {"Cache-Control": "no-store"}


class DisplayView(Struct, frozen=True, kw_only=True):
    """The screen that asks. `asked` is whether this site asks for keys at all; `id` is null where it does not."""

    asked: bool
    id: str | None


ANSWERS: tuple[type[Struct], ...] = (DisplayView,)
"""What OpenAPI describes of these routes."""


def display_routes(config: DashboardConfig) -> APIRouter:
    """`POST /signin/display`: a key becomes a cookie."""
    router = APIRouter(tags=["sign-in"])
    secure = urlsplit(config.public_url).scheme == "https"
    cookie = SECURE_COOKIE if secure else COOKIE

    @router.post("/signin/display", include_in_schema=False)
    async def open_display(request: Request, given: Annotated[bytes, Body()] = b"") -> Response:
        check_same_site(request.method, request.scope["headers"])
        site = config.site
        if not site.people:
            return _answer(DisplayView(asked=False, id=None))
        key = given.decode("latin-1").strip() if given else _cookie_of(request)
        if not key:
            detail, fix = "this browser has no key", "Open the address that `ioc display add` prints."
            raise AccessRefused(AccessReason.NOT_SIGNED_IN, detail, fix)
        display = display_with(site, key)
        if display is None:
            detail, fix = "no screen has this key, or not any more", "Make one with `ioc display add`."
            raise AccessRefused(AccessReason.UNKNOWN_DISPLAY, detail, fix)
        answer = _answer(DisplayView(asked=True, id=display.id))
        answer.set_cookie(
            cookie,
            key,
            max_age=COOKIE_DAYS * 24 * 60 * 60,
            path="/",
            secure=secure,
            httponly=True,
            samesite="strict",
        )
        return answer

    return router


def key_hash_shown(connection: HTTPConnection, site: Site) -> str | None:
    """What the key hashes to that a screen shows where it may; None for all others."""
    if connection.scope["path"] not in PATHS or connection.scope.get("method", "GET") not in {"GET", "HEAD"}:
        return None
    key = _cookie_of(connection)
    display: Display | None = None if key is None else display_with(site, key)
    return None if key is None or display is None else hash_of(key)


def _cookie_of(connection: HTTPConnection) -> str | None:
    key = connection.cookies.get(SECURE_COOKIE) or connection.cookies.get(COOKIE)
    return key if key and len(key) <= KEY_CHARS_MAX else None


def _answer(view: DisplayView) -> Response:
    return Response(msgspec.json.encode(view), 200, _NO_STORE, "application/json")
