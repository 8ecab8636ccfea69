"""Who asks the dashboard, and is that enough for what is asked?

`actor_of` and `signed_in` are dependencies of routes and of WebSockets. Who it is follows from the token alone, and
what that person may do from the site pack in force at that moment.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, cast

from fastapi import Depends
from msgspec import Struct
from starlette.requests import HTTPConnection

from dashboard_api import metrics
from dashboard_api.display_key import key_hash_shown
from schemas.command import Actor
from schemas.credential import LIVE_PROTOCOL, PACKED_LIVE_PROTOCOL, check_same_site, credential_of
from schemas.display import display_let_in
from schemas.errors import AccessReason, AccessRefused
from schemas.identity import NOBODY, Role, actor_let_in, actor_without_token
from schemas.site import Site
from schemas.token import Trust, verified

SIGN_IN = "Sign in at /signin, or send a header `Authorization: Bearer <token>`."


class SignIn(Struct, frozen=True):
    """Whose token a connection has shown, and until when it counts. Nobody's: all are None.

    `display` is what the key of a screen hashes to, where it is one that asks.
    """

    subject: str | None = None
    expires_at: datetime | None = None
    display: str | None = None


class Guard:
    """Holds whom to trust. Without `trust` nobody can sign in."""

    def __init__(self, current_site: Callable[[], Site], now: Callable[[], datetime], trust: Trust | None) -> None:
        self._current_site = current_site
        self._now = now
        self._trust = trust

    async def sign_in_of(self, connection: HTTPConnection) -> SignIn:
        """Whose token is shown. Raises AccessRefused for a token that does not hold, DependencyUnavailable.

        A pack that declares no people asks for no token, and looks at none.
        """
        headers = connection.scope["headers"]
        credential = credential_of(headers) if self._current_site().people else None
        if credential is None:
            return self.display_of(connection)
        try:
            if credential.by_cookie:
                check_same_site(connection.scope.get("method", "GET"), headers)
            found = await verified(credential.token, self._trust, self._now)
        except AccessRefused as refused:
            metrics.REFUSED_TOKENS.labels(refused.reason.value).inc()
            raise
        return SignIn(found.subject, found.expires_at)

    def display_of(self, connection: HTTPConnection) -> SignIn:
        """The screen that asks; nobody where none does, and wherever screens have nothing to look for."""
        site = self._current_site()
        return SignIn(display=key_hash_shown(connection, site)) if site.people else SignIn()

    def subprotocol(self, connection: HTTPConnection) -> str | None:
        """What a WebSocket is accepted with: the first of ours that is offered, never the token beside it."""
        ours = (LIVE_PROTOCOL, PACKED_LIVE_PROTOCOL)
        return next((one for one in connection.scope.get("subprotocols", ()) if one in ours), None)

    def actor(self, sign_in: SignIn) -> Actor:
        """Who that is now. Raises AccessRefused once the token has expired, or the pack no longer has the person.

        A live connection asks again whenever it matters: what it was told at first may no longer hold.
        """
        site = self._current_site()
        if site.people and sign_in.display is not None:
            return display_let_in(site, sign_in.display)
        if not site.people or sign_in.subject is None:
            return actor_without_token(site)
        if sign_in.expires_at is not None and sign_in.expires_at < self._now():
            raise AccessRefused(AccessReason.EXPIRED, "the sign-in has expired", SIGN_IN)
        return actor_let_in(site, sign_in.subject)


def guard_of(connection: HTTPConnection) -> Guard:
    """The app's guard."""
    return cast("Guard", connection.app.state.guard)


async def who_asks(connection: HTTPConnection) -> tuple[SignIn, Actor]:
    """Whose token is shown, and who that is; NOBODY where none is, which is enough for what is public.

    Raises AccessRefused for a token that does not hold, DependencyUnavailable. One in a cookie is then as good as
    none: the browser sends it by itself, and an old one must not keep anybody from what is public.
    """
    guard = guard_of(connection)
    try:
        sign_in = await guard.sign_in_of(connection)
        return sign_in, guard.actor(sign_in)
    except AccessRefused as refused:
        if refused.reason is not AccessReason.CROSS_SITE and _shows_cookie(connection):
            display = guard.display_of(connection)
            return display, guard.actor(display)
        raise


async def actor_of(connection: HTTPConnection) -> Actor:
    """Who asks, or NOBODY. Raises AccessRefused for a token that does not hold, DependencyUnavailable."""
    _, actor = await who_asks(connection)
    return actor


async def signed_in(connection: HTTPConnection) -> Actor:
    """Who asks. Raises AccessRefused for nobody."""
    guard = guard_of(connection)
    actor = guard.actor(await guard.sign_in_of(connection))
    if actor is NOBODY:
        raise AccessRefused(AccessReason.NOT_SIGNED_IN, "this needs a sign-in", SIGN_IN)
    return actor


def require(actor: Actor, *roles: Role) -> None:
    """Raises AccessRefused for somebody who has none of these roles."""
    if not set(roles) & set(actor.roles):
        words = ", ".join(role.value for role in roles)
        detail = f"this needs one of the roles {words}" if len(roles) > 1 else f"this needs the role {words}"
        raise AccessRefused(AccessReason.NOT_ALLOWED, detail, "Ask somebody who has it.")


Viewer = Annotated[Actor, Depends(actor_of)]
"""Of a route that shows what is public to NOBODY, and more to others."""

SignedIn = Annotated[Actor, Depends(signed_in)]
"""Of a route that nobody may use without a sign-in."""


def _shows_cookie(connection: HTTPConnection) -> bool:
    """Whether the token is one that the browser has added by itself."""
    credential = credential_of(connection.scope["headers"])
    return credential is not None and credential.by_cookie
