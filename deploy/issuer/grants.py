"""Which authorization codes are waiting to be turned into tokens?

In memory: a code lives for a minute and is used once, so nothing is lost with the process but a sign-in that was
just under way.

Source: RFC 6749 §4.1.2, RFC 7636 (PKCE, S256 alone).
"""

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from datetime import datetime, timedelta

from msgspec import Struct

CODE_LIFETIME = timedelta(seconds=60)
CODES_MAX = 1_000
"""Codes that wait at once; beyond it the oldest is void, and that sign-in starts again."""


class Grant(Struct, frozen=True, kw_only=True):
    """Who has signed in, and to what the code is bound."""

    subject: str
    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str | None
    until: datetime


class Grants:
    """The codes that wait."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, Grant] = OrderedDict()

    def add(self, grant: Grant) -> str:
        """The code for a grant."""
        code = secrets.token_urlsafe(32)
        self._waiting[code] = grant
        while len(self._waiting) > CODES_MAX:
            self._waiting.popitem(last=False)
        return code

    def redeem(self, code: str, *, client_id: str, redirect_uri: str, verifier: str, now: datetime) -> Grant | None:
        """The grant, once, for whoever began the sign-in; else None. A wrong attempt voids the code, too."""
        grant = self._waiting.pop(code, None)
        if grant is None or now >= grant.until:
            return None
        fits = grant.client_id == client_id and grant.redirect_uri == redirect_uri
        return grant if fits and hmac.compare_digest(challenge_of(verifier), grant.challenge) else None


def challenge_of(verifier: str) -> str:
    """What stands for a verifier until it is shown: S256."""
    digest = hashlib.sha256(verifier.encode("ascii", "replace")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
