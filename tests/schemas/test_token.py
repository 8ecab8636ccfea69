"""Is a token refused whenever anything about it is not as it should be?"""

import hashlib
import hmac
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import AccessReason, AccessRefused
from schemas.token import ALGORITHMS, TOKEN_CHARS_MAX, keys_of, verify
from tests.schemas.signer import AUDIENCE, ISSUER, NOW, NOW_S, Signer, key_set, raw_token

SIGNERS = {algorithm: Signer(algorithm, algorithm.lower()) for algorithm in ALGORITHMS}
ONE = SIGNERS["ES256"]
OTHER = Signer("ES256", "es256")
"""Another private key of the same name."""

KEYS = keys_of(key_set(*SIGNERS.values()))


def refused(token: str, **otherwise: Any) -> AccessRefused:
    """How the token is refused."""
    how: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "now": NOW, **otherwise}
    with pytest.raises(AccessRefused) as caught:
        verify(token, how.pop("keys", KEYS), **how)
    return caught.value


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
def test_a_genuine_token_says_who_it_is_of_and_until_when(signer: Signer) -> None:
    found = verify(signer.token(nonce="n"), KEYS, issuer=ISSUER, audience=AUDIENCE, now=NOW)
    assert (found.subject, found.nonce) == ("an", "n")
    assert found.expires_at == NOW + timedelta(hours=1)


def mac(header: dict[str, Any], key: bytes) -> str:
    """A token signed with what everyone knows, as if it were a shared secret."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "an", "exp": NOW_S + 3600}
    text = raw_token(header, claims).rpartition(".")[0]
    return f"{text}.{raw_token({}, {}, hmac.digest(key, text.encode(), hashlib.sha256)).rpartition('.')[2]}"


UNSIGNED = {"iss": ISSUER, "aud": AUDIENCE, "sub": "an", "exp": NOW_S + 3600}


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        pytest.param(OTHER.token(), AccessReason.SIGNATURE, id="forged with another key of that name"),
        pytest.param(ONE.token()[:-6] + "AAAAAA", AccessReason.SIGNATURE, id="a signature that was changed"),
        pytest.param(ONE.token().rpartition(".")[0] + ".", AccessReason.SIGNATURE, id="no signature"),
        pytest.param(raw_token({"alg": "none"}, UNSIGNED), AccessReason.ALGORITHM, id="none"),
        pytest.param(
            raw_token({"alg": "nOnE", "kid": "es256"}, UNSIGNED), AccessReason.ALGORITHM, id="none, disguised"
        ),
        pytest.param(
            mac({"alg": "HS256", "kid": "rs256"}, SIGNERS["RS256"].pem),
            AccessReason.ALGORITHM,
            id="public key as secret",
        ),
        pytest.param(
            mac({"alg": "RS256", "kid": "es256"}, ONE.pem),
            AccessReason.SIGNATURE,
            id="another algorithm than the key's",
        ),
        pytest.param(
            ONE.token({"kid": "rs256"}),
            AccessReason.SIGNATURE,
            id="another key's name, with the algorithm of its own",
        ),
        pytest.param(ONE.token({"kid": "k9"}), AccessReason.UNKNOWN_KEY, id="a key that is not published"),
        pytest.param(raw_token({"alg": "ES256"}, UNSIGNED), AccessReason.UNKNOWN_KEY, id="no key named, of several"),
        pytest.param(
            raw_token({"alg": "ES256", "kid": ["es256"]}, UNSIGNED),
            AccessReason.MALFORMED,
            id="a key's name that is none",
        ),
        pytest.param(ONE.token({"crit": ["b64"], "b64": False}), AccessReason.MALFORMED, id="a critical extension"),
        pytest.param(
            ONE.token({"jwk": OTHER.jwk, "kid": "k9"}), AccessReason.UNKNOWN_KEY, id="a key that it brings itself"
        ),
        pytest.param(ONE.token(exp=NOW_S - 31), AccessReason.EXPIRED, id="expired"),
        pytest.param(ONE.token(exp=None), AccessReason.MALFORMED, id="no end"),
        pytest.param(ONE.token(exp="soon"), AccessReason.MALFORMED, id="an end that is no time"),
        pytest.param(ONE.token(exp=True), AccessReason.MALFORMED, id="an end that is true"),
        pytest.param(ONE.token(exp=10**18), AccessReason.MALFORMED, id="an end after all calendars"),
        pytest.param(ONE.token(exp=1e308), AccessReason.MALFORMED, id="an end after all numbers"),
        pytest.param(ONE.token(nbf=NOW_S + 31), AccessReason.NOT_YET, id="not yet"),
        pytest.param(ONE.token(iat=NOW_S + 31), AccessReason.NOT_YET, id="issued in time to come"),
        pytest.param(ONE.token(iss="https://id.example.vn"), AccessReason.WRONG_ISSUER, id="another issuer"),
        pytest.param(ONE.token(iss=ISSUER + "/"), AccessReason.WRONG_ISSUER, id="nearly the issuer"),
        pytest.param(ONE.token(iss=None), AccessReason.MALFORMED, id="no issuer"),
        pytest.param(ONE.token(aud="account"), AccessReason.WRONG_AUDIENCE, id="for somebody else"),
        pytest.param(ONE.token(aud=["a", "b"]), AccessReason.WRONG_AUDIENCE, id="for several others"),
        pytest.param(ONE.token(aud=[]), AccessReason.WRONG_AUDIENCE, id="for nobody"),
        pytest.param(ONE.token(aud=None), AccessReason.MALFORMED, id="without saying for whom"),
        pytest.param(ONE.token(sub=""), AccessReason.MALFORMED, id="of nobody"),
        pytest.param(ONE.token(sub=7), AccessReason.MALFORMED, id="of a number"),
        pytest.param("", AccessReason.MALFORMED, id="nothing"),
        pytest.param("a.b", AccessReason.MALFORMED, id="two parts"),
        pytest.param("é.é.é", AccessReason.MALFORMED, id="not even letters of base64"),
        pytest.param("a" * (TOKEN_CHARS_MAX + 1), AccessReason.MALFORMED, id="too long to be read"),
        pytest.param(raw_token([], {}), AccessReason.MALFORMED, id="a header that is no object"),
        pytest.param(raw_token({"alg": ["ES256"]}, {}), AccessReason.ALGORITHM, id="a list of algorithms"),
    ],
)
def test_a_token_that_is_not_right_is_refused(token: str, reason: AccessReason) -> None:
    error = refused(token)
    assert error.reason is reason
    assert error.status == 401
    assert error.fix


def test_clocks_may_differ_by_the_leeway_and_no_more() -> None:
    late = ONE.token(exp=NOW_S)
    assert verify(late, KEYS, issuer=ISSUER, audience=AUDIENCE, now=NOW + timedelta(seconds=29)).subject == "an"
    assert refused(late, now=NOW + timedelta(seconds=30)).reason is AccessReason.EXPIRED
    early = ONE.token(nbf=NOW_S + 30, iat=NOW_S + 30)
    assert verify(early, KEYS, issuer=ISSUER, audience=AUDIENCE, now=NOW).subject == "an"


def test_an_issuer_with_one_key_need_not_name_it() -> None:
    token = ONE.token()
    alone = {"": keys_of(key_set(ONE))["es256"]}
    assert refused(token, keys=alone).reason is AccessReason.UNKNOWN_KEY
    unnamed = keys_of(msgspec.json.encode({"keys": [{k: v for k, v in ONE.jwk.items() if k != "kid"}]}))
    assert list(unnamed) == [""]
    bare = Signer("ES256", "")
    only = keys_of(key_set(bare))
    assert verify(bare.token(), only, issuer=ISSUER, audience=AUDIENCE, now=NOW).subject == "an"


def test_for_several_of_whom_we_are_one() -> None:
    token = ONE.token(aud=["account", AUDIENCE])
    assert verify(token, KEYS, issuer=ISSUER, audience=AUDIENCE, now=NOW).subject == "an"


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "HS256"}, id="a shared secret"),
        pytest.param({**ONE.jwk, "use": "enc"}, id="for encryption"),
        pytest.param({**ONE.jwk, "alg": "ES384"}, id="another algorithm"),
        pytest.param({**ONE.jwk, "crv": "P-521"}, id="another curve"),
        pytest.param({**ONE.jwk, "x": "AA"}, id="a point off the curve"),
        pytest.param({**ONE.jwk, "x": 7}, id="a coordinate that is a number"),
        pytest.param(Signer("RS256", rsa_bits=1024).jwk, id="a short RSA key"),
        pytest.param("key", id="no object"),
    ],
)
def test_keys_of_no_use_are_left_out(entry: object) -> None:
    document = msgspec.json.encode({"keys": [entry, SIGNERS["EdDSA"].jwk]})
    assert list(keys_of(document)) == ["eddsa"]


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": {}}', b"<html>"])
def test_what_is_no_key_set_is_told(document: bytes) -> None:
    with pytest.raises(ValueError, match="key set"):
        keys_of(document)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_whatever_is_sent_is_refused_with_a_reason(token: str) -> None:
    assert refused(token).reason in AccessReason


@given(st.integers(0, 400), st.integers(0, 63))
def test_a_token_with_any_letter_changed_is_refused(at: int, letter: int) -> None:
    token = ONE.token()
    at %= len(token)
    other = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[letter]
    changed = f"{token[:at]}{other}{token[at + 1 :]}"
    # The last letter of base64 has bits that mean nothing: only there may another one say the same.
    if changed == token or at == len(token) - 1 or token[at + 1] == ".":
        return
    assert refused(changed).status == 401
