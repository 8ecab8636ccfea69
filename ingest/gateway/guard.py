"""Who sends a command?

Plain ASGI, as the rest of this room: it takes a request's scope and gives an `Actor`, made of the token and of the
site pack in force. Nothing that the sender writes into a command can change it.
"""

from collections.abc import Callable
from datetime import datetime

from starlette.types import Scope

from ingest.gateway import metrics
from schemas.command import Actor
from schemas.credential import check_not_foreign, check_same_site, credential_of
from schemas.errors import AccessReason, AccessRefused
from schemas.identity import NOBODY, actor_let_in, actor_without_token
from schemas.site import Site
from schemas.token import Trust, verified


class Guard:
    """Holds whom to trust. Without `trust` nobody can sign in."""

    def __init__(self, current_site: Callable[[], Site], now: Callable[[], datetime], trust: Trust | None) -> None:
        self._current_site = current_site
        self._now = now
        self._trust = trust

    async def actor_of(self, scope: Scope) -> Actor:
        """Who sends a request; NOBODY where it shows no token and the pack asks for one.

        Raises AccessRefused for a token that does not hold, or that a page of another site may have used;
        DependencyUnavailable while the issuer's keys were never had.
        """
        try:
            return await self._actor_of(scope)
        except AccessRefused as refused:
            metrics.REFUSED_TOKENS.labels(refused.reason.value).inc()
            raise

    async def signed_in(self, scope: Scope) -> Actor:
        """Who sends a request. Raises as `actor_of`, and AccessRefused for nobody."""
        actor = await self.actor_of(scope)
        if actor is NOBODY:
            metrics.REFUSED_TOKENS.labels(AccessReason.NOT_SIGNED_IN.value).inc()
            fix = "Send a header `Authorization: Bearer <token>`."
            raise AccessRefused(AccessReason.NOT_SIGNED_IN, "this needs a sign-in", fix)
        return actor

    async def _actor_of(self, scope: Scope) -> Actor:
        site = self._current_site()
        credential = credential_of(scope["headers"]) if site.people else None
        if credential is None:
            if not site.people:
                check_not_foreign(scope["method"], scope["headers"])
            return actor_without_token(site)
        if credential.by_cookie:
            check_same_site(scope["method"], scope["headers"])
        found = await verified(credential.token, self._trust, self._now)
        return actor_let_in(site, found.subject)
