"""Is this token genuine, meant for us, and in force now?

Tokens are signed JWTs of an OpenID Connect issuer. Nothing that the token says of itself decides how it is checked:
the algorithm is the key's, and the key is one that the issuer publishes for signing.

Source: RFC 7515, 7517, 7519 and 8725 (JWT best current practices), OpenID Connect Core 1.0 §3.1.3.7.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, cast

import jwt
import msgspec
from jwt.api_jws import PyJWS
from jwt.exceptions import InvalidTokenError, PyJWTError
from msgspec import Struct

from schemas.errors import AccessReason, AccessRefused

ALGORITHMS = ("ES256", "RS256", "EdDSA")
"""Signatures by a private key alone. `none`, and secrets that both sides know, are not among them."""

TOKEN_CHARS_MAX = 8 * 1024
"""A longer token is refused before it is read."""

LEEWAY_S = 30.0
"""By how much the issuer's clock may differ from ours."""

RSA_BITS_MIN = 2048
"""A shorter RSA key is left out of a key set."""

_ALGORITHM_OF_CURVE = {"P-256": "ES256", "Ed25519": "EdDSA"}
_SIGN_IN = "Sign in again, or get a new token."
_jws = PyJWS(algorithms=list(ALGORITHMS))


class PublicKey(NamedTuple):
    """A key that checks signatures of one algorithm. `id` is what tokens call it."""

    id: str
    algorithm: str
    key: Any


Keys = Mapping[str, PublicKey]
"""An issuer's keys by id."""


class Trust(Protocol):
    """The issuer whose tokens count, and for whom they have to be meant."""

    @property
    def issuer(self) -> str:
        """Its name, as tokens have it in `iss`."""
        ...

    @property
    def audience(self) -> str:
        """Our own name there, as tokens have it in `aud`."""
        ...

    async def keys(self, key_id: str | None) -> Keys:
        """The issuer's keys; asks for newer ones where this one is not known.

        Raises DependencyUnavailable when none was ever had.
        """
        ...


class Verified(Struct, frozen=True, kw_only=True):
    """What a genuine token says. `nonce` is that of the sign-in which it was issued for."""

    subject: str
    expires_at: datetime
    nonce: str | None = None


class _Claims(Struct, frozen=True, kw_only=True):
    iss: str
    sub: str
    aud: str | list[str]
    exp: int | float
    nbf: int | float | None = None
    iat: int | float | None = None
    nonce: str | None = None


_decode_claims = msgspec.json.Decoder(_Claims).decode


def key_id_of(token: str) -> str | None:
    """The id of the key that a token says it is signed with; None where it says none. Raises AccessRefused."""
    if len(token) > TOKEN_CHARS_MAX:
        raise _refused(AccessReason.MALFORMED, f"the token is longer than {TOKEN_CHARS_MAX} characters")
    try:
        header = jwt.get_unverified_header(token)
    # Whatever is in it was written by whoever sends it.
    except (PyJWTError, ValueError, RecursionError):
        raise _refused(AccessReason.MALFORMED, "it is not a signed token") from None
    if "crit" in header:
        raise _refused(AccessReason.MALFORMED, "it asks for extensions that are not known here")
    if header.get("alg") not in ALGORITHMS:
        detail = f"its algorithm is not one of {', '.join(ALGORITHMS)}"
        raise _refused(AccessReason.ALGORITHM, detail, "Let the issuer sign with one of them.")
    key_id = header.get("kid")
    return key_id if isinstance(key_id, str) else None


def verify(
    token: str, keys: Keys, *, issuer: str, audience: str, now: datetime, leeway_s: float = LEEWAY_S
) -> Verified:
    """What the token says, once its signature, issuer, audience and times are right. Raises AccessRefused."""
    key_id = key_id_of(token)
    if key_id is None and len(keys) == 1:
        [key_id] = keys
    key = None if key_id is None else keys.get(key_id)
    if key is None:
        raise _refused(AccessReason.UNKNOWN_KEY, "it is signed with a key that the issuer does not publish")
    try:
        # Only the key's own algorithm: else a public key could be passed off as a shared secret.
        payload = _jws.decode_complete(token, key.key, algorithms=[key.algorithm])["payload"]
    except InvalidTokenError:
        raise _refused(AccessReason.SIGNATURE, "its signature is not the issuer's") from None
    try:
        claims = _decode_claims(payload)
        expires_at = datetime.fromtimestamp(claims.exp, UTC)
    except (msgspec.DecodeError, ValueError, OverflowError, OSError) as error:
        raise _refused(AccessReason.MALFORMED, f"its claims cannot be read: {error}") from None
    now_s = now.timestamp()
    if claims.iss != issuer:
        raise _refused(AccessReason.WRONG_ISSUER, f"it is not issued by {issuer}")
    ours = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if audience not in ours:
        raise _refused(AccessReason.WRONG_AUDIENCE, f"it is not meant for {audience!r}")
    if now_s >= claims.exp + leeway_s:
        raise _refused(AccessReason.EXPIRED, f"it expired at {expires_at.isoformat()}")
    for begin_s in (claims.nbf, claims.iat):
        if begin_s is not None and now_s < begin_s - leeway_s:
            raise _refused(AccessReason.NOT_YET, "it is not in force yet", "Set the clocks right, and sign in again.")
    if not claims.sub:
        raise _refused(AccessReason.MALFORMED, "it names nobody")
    return Verified(subject=claims.sub, expires_at=expires_at, nonce=claims.nonce)


async def verified(token: str, trust: Trust | None, now: Callable[[], datetime]) -> Verified:
    """What a token says by which somebody is to be let in here. `now` is read when the keys are there.

    Raises AccessRefused, also where nobody is trusted; DependencyUnavailable.
    """
    if trust is None:
        raise AccessRefused(AccessReason.WRONG_ISSUER, "no issuer of tokens is set up", "Set IOC_OIDC_ISSUER.")
    keys = await trust.keys(key_id_of(token))
    return verify(token, keys, issuer=trust.issuer, audience=trust.audience, now=now())


def keys_of(document: bytes) -> dict[str, PublicKey]:
    """The signing keys of a JSON Web Key Set by id. Those of other kinds or uses are left out. Raises ValueError."""
    try:
        given: Any = msgspec.json.decode(document)
    except msgspec.DecodeError as error:
        raise ValueError(f"the key set is not JSON: {error}") from None
    entries: Any = cast("dict[str, Any]", given).get("keys") if isinstance(given, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the key set has no list `keys`")
    found: dict[str, PublicKey] = {}
    for entry in cast("list[Any]", entries):
        if isinstance(entry, dict) and (key := _public_key(cast("dict[str, Any]", entry))) is not None:
            found[key.id] = key
    return found


def _public_key(entry: dict[str, Any]) -> PublicKey | None:
    algorithm = "RS256" if entry.get("kty") == "RSA" else _ALGORITHM_OF_CURVE.get(str(entry.get("crv")))
    if algorithm is None or entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return None
    try:
        # A set that holds private parts is somebody's mistake; only the public ones are taken.
        public = {name: value for name, value in entry.items() if name in {"kty", "crv", "x", "y", "n", "e"}}
        key: Any = jwt.PyJWK(public, algorithm).key
    except (PyJWTError, ValueError, TypeError):
        return None
    if algorithm == "RS256" and key.key_size < RSA_BITS_MIN:
        return None
    return PublicKey(str(entry.get("kid", "")), algorithm, key)


def _refused(reason: AccessReason, detail: str, fix: str = _SIGN_IN) -> AccessRefused:
    return AccessRefused(reason, f"the token is refused: {detail}", fix)
