"""Where do sign-ins begin, and what comes of them?"""

from typing import NamedTuple, Protocol


class Endpoints(NamedTuple):
    """Addresses of an issuer's pages. Some have none for signing out."""

    authorization: str
    end_session: str | None


class Provider(Protocol):
    """An OpenID Connect issuer, as its client the board sees it."""

    @property
    def client_id(self) -> str:
        """What it calls the board."""
        ...

    async def endpoints(self) -> Endpoints:
        """Its pages. Raises DependencyUnavailable."""
        ...

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> str:
        """The ID token for a code. Raises AccessRefused for a code that it does not take, DependencyUnavailable."""
        ...
