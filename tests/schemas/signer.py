"""An issuer for tests: keys of every algorithm, and tokens that they sign."""

import base64
from datetime import UTC, datetime
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from schemas.errors import DependencyUnavailable
from schemas.token import Keys, keys_of

ISSUER = "https://id.example.vn/realms/ioc"
AUDIENCE = "ioc-board"
NOW = datetime(2026, 3, 9, 2, 0, tzinfo=UTC)
NOW_S = int(NOW.timestamp())


class Signer:
    """A private key that tokens are signed with."""

    def __init__(self, algorithm: str, key_id: str = "k1", rsa_bits: int = 2048) -> None:
        self.algorithm = algorithm
        self.key_id = key_id
        self.private: Any
        if algorithm == "RS256":
            self.private = rsa.generate_private_key(65537, rsa_bits)
        elif algorithm == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
        else:
            self.private = ed25519.Ed25519PrivateKey.generate()

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key as a key set has it."""
        public = self.private.public_key()
        named = {"kid": self.key_id, "use": "sig", "alg": self.algorithm}
        if self.algorithm == "EdDSA":
            raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            return {**named, "kty": "OKP", "crv": "Ed25519", "x": _text(raw)}
        numbers = public.public_numbers()
        if self.algorithm == "RS256":
            size = (numbers.n.bit_length() + 7) // 8
            return {
                **named,
                "kty": "RSA",
                "n": _text(numbers.n.to_bytes(size, "big")),
                "e": _text(numbers.e.to_bytes(3, "big")),
            }
        x, y = (_text(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        return {**named, "kty": "EC", "crv": "P-256", "x": x, "y": y}

    @property
    def pem(self) -> bytes:
        """The public key as text: what an attacker has in hand."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def token(self, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token with the usual claims, some of them otherwise; None leaves one out."""
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "an", "iat": NOW_S, "exp": NOW_S + 3600}
        given = {name: value for name, value in (usual | claims).items() if value is not None}
        # Not `jwt.encode`, which refuses to sign claims of the wrong kind.
        return jwt.api_jws.encode(
            msgspec.json.encode(given),
            self.private,
            self.algorithm,
            {"kid": self.key_id, "typ": "JWT", **(headers or {})},
        )


def key_set(*signers: Signer) -> bytes:
    """What an issuer publishes."""
    return msgspec.json.encode({"keys": [signer.jwk for signer in signers]})


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_token(header: object, claims: object, signature: bytes = b"") -> str:
    """A token put together by hand, signed or not."""
    parts = (msgspec.json.encode(header), msgspec.json.encode(claims), signature)
    return ".".join(_text(part) for part in parts)


class KnownKeys:
    """An issuer whose keys are known beforehand; `away` while it cannot be asked and never was."""

    issuer = ISSUER
    audience = AUDIENCE

    def __init__(self, *signers: Signer, away: bool = False) -> None:
        self._keys = keys_of(key_set(*signers))
        self._away = away

    async def keys(self, key_id: str | None) -> Keys:
        """The keys, whatever is asked for."""
        if self._away:
            raise DependencyUnavailable("issuer", "no answer")
        return self._keys
