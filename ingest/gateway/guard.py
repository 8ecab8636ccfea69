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
from schemas.identity import NOBODY, actor_of_subject, actor_without_token
from schemas.site import Site
from schemas.token import Trust, key_id_of, verify


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
        if self._trust is None:
            raise AccessRefused(AccessReason.WRONG_ISSUER, "no issuer of tokens is set up", "Set IOC_OIDC_ISSUER.")
        keys = await self._trust.keys(key_id_of(credential.token))
        found = verify(
            credential.token, keys, issuer=self._trust.issuer, audience=self._trust.audience, now=self._now()
        )
        actor = actor_of_subject(site, found.subject)
        if actor is None:
            raise AccessRefused(
                AccessReason.UNKNOWN_PERSON,
                f"people.toml has nobody with the id {found.subject!r}",
                "Let an administrator add this person.",
            )
        return actor
