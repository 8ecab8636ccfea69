"""What does a request show of who sends it, and may a web page elsewhere be behind it?

Programs send `Authorization: Bearer …`. A browser that signed in on the board's own pages has a cookie, which it also
sends with what other pages make it ask for; so whatever changes something needs more than the cookie.

Source: RFC 6750 §2.1, RFC 6265bis (cookie prefixes, SameSite), RFC 6455 §4.1 (subprotocols).
"""

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from schemas.errors import AccessReason, AccessRefused

SESSION_COOKIE = "ioc_session"
SECURE_SESSION_COOKIE = "__Host-ioc_session"
"""The name under https: a browser takes it only with Secure, for this host and the whole of it."""

REQUEST_HEADER = b"ioc-request"
"""A header that a page of another origin cannot send unasked. Its value is of no matter."""

LIVE_PROTOCOL = "ioc.live.v1"
PACKED_LIVE_PROTOCOL = "ioc.live.v1.msgpack"
COMMANDS_PROTOCOL = "ioc.commands.v1"
TOKEN_PROTOCOL = "ioc.token."  # noqa: S105 - what stands before a token in a list of subprotocols
"""A browser's WebSocket can send no header, but a list of subprotocols: `ioc.live.v1, ioc.token.<token>`.

`ioc.live.v1.msgpack` is the same in MessagePack, `ioc.commands.v1` the socket on which commands are given.
"""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_SIGN_IN = "Send one header `Authorization: Bearer <token>`."

Headers = Iterable[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case."""


class Credential(NamedTuple):
    """A token, and whether the browser added it by itself."""

    token: str
    by_cookie: bool


def credential_of(headers: Headers) -> Credential | None:
    """What a request shows: its header, else a WebSocket's subprotocol, else the cookie. Raises AccessRefused."""
    bearer: str | None = None
    offered: str | None = None
    cookies: dict[str, str] = {}
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").strip().partition(" ")
            if bearer is not None or scheme.lower() != "bearer" or not token.strip():
                detail = "the header Authorization holds no bearer token, or is there twice"
                raise AccessRefused(AccessReason.MALFORMED, detail, _SIGN_IN)
            bearer = token.strip()
        elif name == b"sec-websocket-protocol":
            for protocol in value.decode("latin-1").split(","):
                if protocol.strip().startswith(TOKEN_PROTOCOL):
                    offered = protocol.strip().removeprefix(TOKEN_PROTOCOL)
        elif name == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                key, _, word = pair.partition("=")
                cookies.setdefault(key.strip(), word.strip())
    if (token := bearer or offered) is not None:
        return Credential(token, by_cookie=False)
    cookie = cookies.get(SECURE_SESSION_COOKIE) or cookies.get(SESSION_COOKIE)
    return Credential(cookie, by_cookie=True) if cookie else None


def check_same_site(method: str, headers: Headers) -> None:
    """Raises AccessRefused for a request that changes something, and that another site's page may have caused."""
    if method in SAFE_METHODS:
        return
    found = _telling(headers)
    if REQUEST_HEADER in found or (b"origin" in found and _is_own(found)):
        return
    raise AccessRefused(
        AccessReason.CROSS_SITE,
        "the request is signed in by a cookie, and does not show that a page of this site sends it",
        "Send the header `IOC-Request: 1`, or a token in `Authorization`.",
    )


def check_not_foreign(method: str, headers: Headers) -> None:
    """Raises AccessRefused for a request that changes something, and that another site's page has caused.

    For a centre without sign-ins: there is no cookie to misuse, but every page that is open in a browser near it
    could give commands. Programs send no Origin.
    """
    found = _telling(headers)
    if method in SAFE_METHODS or b"origin" not in found or _is_own(found):
        return
    raise AccessRefused(
        AccessReason.CROSS_SITE,
        f"a page of {found[b'origin']} sends the request",
        "Send it from a page of this site, or from a program.",
    )


_TELLING = (REQUEST_HEADER, b"origin", b"host")


def _telling(headers: Headers) -> dict[bytes, str]:
    return {name: value.decode("latin-1") for name, value in headers if name in _TELLING}


def _is_own(found: dict[bytes, str]) -> bool:
    try:
        return urlsplit(found[b"origin"]).netloc == found.get(b"host")
    except ValueError:
        return False
