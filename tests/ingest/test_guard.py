"""Is a command's sender who the token says, whatever else is sent?"""

from typing import Any

import pytest

from ingest.gateway.answer import for_access_refused
from ingest.gateway.guard import Guard
from schemas.errors import AccessReason, AccessRefused, DependencyUnavailable
from schemas.identity import NOBODY, actor_from
from schemas.site import Site, parse_site
from schemas.token import Trust
from tests.schemas.case_pack import FILES
from tests.schemas.people import people_site
from tests.schemas.signer import NOW, NOW_S, KnownKeys, Signer

SIGNER = Signer("EdDSA")
SITE = people_site()


def guard(site: Site = SITE, trust: Trust | None = None) -> Guard:
    return Guard(lambda: site, lambda: NOW, trust or KnownKeys(SIGNER))


def scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": "/v1/commands", "headers": [(b"host", b"centre"), *headers]}


def bearer(token: str) -> tuple[bytes, bytes]:
    return (b"authorization", f"Bearer {token}".encode())


def cookie(token: str) -> tuple[bytes, bytes]:
    return (b"cookie", f"ioc_session={token}".encode())


async def test_a_token_becomes_the_person_of_the_pack() -> None:
    actor = await guard().signed_in(scope(bearer(SIGNER.token(sub="chi.unit"))))
    assert actor == actor_from(SITE, SITE.people["chi.unit"])
    assert actor.roles == ("unit",)


async def test_roles_that_a_token_claims_count_for_nothing() -> None:
    token = SIGNER.token(sub="binh.roads", roles=["administrator", "system"], sees_all=True, areas=["00"])
    assert await guard().signed_in(scope(bearer(token))) == actor_from(SITE, SITE.people["binh.roads"])


@pytest.mark.parametrize(
    ("headers", "reason", "status"),
    [
        pytest.param([], AccessReason.NOT_SIGNED_IN, 401, id="no token"),
        pytest.param([bearer("a.b.c")], AccessReason.MALFORMED, 401, id="no token at all"),
        pytest.param([bearer(Signer("EdDSA").token(sub="an.operator"))], AccessReason.SIGNATURE, 401, id="forged"),
        pytest.param([bearer(SIGNER.token(exp=NOW_S - 60))], AccessReason.EXPIRED, 401, id="expired"),
        pytest.param(
            [cookie(SIGNER.token(exp=NOW_S - 60)), (b"ioc-request", b"1")],
            AccessReason.EXPIRED,
            401,
            id="an old cookie",
        ),
        pytest.param([bearer(SIGNER.token(sub="x"))], AccessReason.UNKNOWN_PERSON, 403, id="nobody here"),
        pytest.param([cookie(SIGNER.token(sub="an.operator"))], AccessReason.CROSS_SITE, 403, id="a cookie alone"),
        pytest.param(
            [cookie(SIGNER.token(sub="an.operator")), (b"origin", b"http://evil.example")],
            AccessReason.CROSS_SITE,
            403,
            id="another site's page",
        ),
    ],
)
async def test_whoever_is_not_known_sends_nothing(
    headers: list[tuple[bytes, bytes]], reason: AccessReason, status: int
) -> None:
    with pytest.raises(AccessRefused) as caught:
        await guard().signed_in(scope(*headers))
    assert caught.value.reason is reason
    answer = for_access_refused(caught.value)
    assert answer.status == status
    assert reason.value.encode() in answer.body
    assert ((b"www-authenticate", b"Bearer") in answer.headers) is (status == 401)


async def test_a_page_of_our_own_sends_by_cookie() -> None:
    signed = cookie(SIGNER.token(sub="an.operator"))
    for shown in ((b"ioc-request", b"1"), (b"origin", b"http://centre")):
        assert (await guard().signed_in(scope(signed, shown))).id == "an.operator"


async def test_nobody_and_anyone() -> None:
    assert await guard().actor_of(scope()) is NOBODY
    open_guard = guard(parse_site(FILES))
    assert (await open_guard.signed_in(scope())).id == "anyone"
    assert (await open_guard.signed_in(scope(bearer("nonsense")))).id == "anyone"
    with pytest.raises(AccessRefused) as caught:
        await open_guard.signed_in(scope((b"origin", b"http://evil.example")))
    assert caught.value.reason is AccessReason.CROSS_SITE


async def test_an_issuer_that_never_answered_is_nobodys_fault() -> None:
    with pytest.raises(DependencyUnavailable):
        await guard(trust=KnownKeys(SIGNER, away=True)).signed_in(scope(bearer(SIGNER.token())))
