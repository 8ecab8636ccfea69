"""What does the local issuer sign with, and what does a token of it say?

One ES256 key in `<data>/secrets/issuer.pem`. The key set also has what is in `issuer.old.pem`, so that a key can be
changed while tokens of the one before are still about.

Source: RFC 7518 §3.4 (ES256), RFC 7638 (thumbprints), RFC 9068 (JWT access tokens).
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from deploy import secret_file
from schemas.errors import OperatorError

KEY_FILE = "issuer.pem"
OLD_KEY_FILE = "issuer.old.pem"
ALGORITHM = "ES256"
ACCESS_TYPE = "at+jwt"

_COORDINATE_BYTES = 32


class SigningKey:
    """A private key, and how tokens call it."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        numbers = private.public_key().public_numbers()
        public = {"crv": "P-256", "kty": "EC", "x": _coordinate(numbers.x), "y": _coordinate(numbers.y)}
        digest = hashlib.sha256(msgspec.json.encode(public, order="sorted")).digest()
        self.id = _base64url(digest)
        self.jwk: Mapping[str, str] = {**public, "kid": self.id, "alg": ALGORITHM, "use": "sig"}

    def sign(self, claims: Mapping[str, Any], *, type_: str = "JWT") -> str:
        """A token with these claims."""
        return jwt.encode(dict(claims), self._private, ALGORITHM, {"kid": self.id, "typ": type_})


class KeyRing:
    """The key in use, and all that still count."""

    def __init__(self, secrets_folder: Path) -> None:
        """Reads the keys; makes one at the first start. Raises OperatorError."""
        self.key = _read(secrets_folder / KEY_FILE, secret_file.read_or_make(secrets_folder / KEY_FILE, _new_key))
        self._all = [self.key]
        old = secrets_folder / OLD_KEY_FILE
        if old.exists():
            self._all.append(_read(old, secret_file.read(old)))

    @property
    def key_set(self) -> bytes:
        """The JSON Web Key Set: public parts alone."""
        return msgspec.json.encode({"keys": [key.jwk for key in self._all]})


def access_claims(issuer: str, audience: str, subject: str, now: datetime, lifetime: timedelta) -> dict[str, Any]:
    """What a token says that lets somebody in here."""
    return {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "client_id": audience,
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
        "jti": secrets.token_urlsafe(16),
    }


def _new_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read(path: Path, content: bytes) -> SigningKey:
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise OperatorError(f"{path} holds no P-256 private key.", "Remove it; the next start makes a new one.")
    return SigningKey(key)


def _coordinate(number: int) -> str:
    return _base64url(number.to_bytes(_COORDINATE_BYTES, "big"))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
