"""Which token does a request show, and when is a cookie not enough?"""

import pytest

from schemas.credential import Credential, check_not_foreign, check_same_site, credential_of
from schemas.errors import AccessReason, AccessRefused

Pairs = list[tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([(b"authorization", b"Bearer a.b.c")], ("a.b.c", False), id="a header"),
        pytest.param([(b"authorization", b"bearer  a.b.c ")], ("a.b.c", False), id="small letters and spaces"),
        pytest.param([(b"cookie", b"x=1; ioc_session=a.b.c; y=2")], ("a.b.c", True), id="a cookie"),
        pytest.param(
            [(b"cookie", b"ioc_session=a; __Host-ioc_session=b")], ("b", True), id="the secure cookie first"
        ),
        pytest.param([(b"cookie", b"ioc_session=a; ioc_session=b")], ("a", True), id="the first of two of one name"),
        pytest.param([(b"cookie", b"ioc_session=")], None, id="an empty cookie"),
        pytest.param([(b"cookie", b"ioc_sessions=a")], None, id="another cookie"),
        pytest.param(
            [(b"cookie", b"ioc_session=a"), (b"authorization", b"Bearer b")], ("b", False), id="the header before it"
        ),
        pytest.param(
            [(b"sec-websocket-protocol", b"ioc.live.v1, ioc.token.a.b.c"), (b"cookie", b"ioc_session=d")],
            ("a.b.c", False),
            id="a subprotocol before the cookie",
        ),
        pytest.param([(b"sec-websocket-protocol", b"ioc.live.v1")], None, id="a subprotocol without a token"),
    ],
)
def test_the_token_is_found(headers: Pairs, found: tuple[str, bool] | None) -> None:
    assert credential_of(headers) == (None if found is None else Credential(*found))


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([(b"authorization", b"Basic YTpi")], id="a password"),
        pytest.param([(b"authorization", b"Bearer")], id="no token"),
        pytest.param([(b"authorization", b"a.b.c")], id="no scheme"),
        pytest.param([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], id="two"),
    ],
)
def test_a_header_that_cannot_be_read_is_refused(headers: Pairs) -> None:
    with pytest.raises(AccessRefused) as caught:
        credential_of(headers)
    assert caught.value.reason is AccessReason.MALFORMED


HOST = (b"host", b"ioc.example.vn")


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        pytest.param("GET", [HOST, (b"origin", b"https://evil.example")], id="a look"),
        pytest.param("POST", [HOST, (b"origin", b"https://ioc.example.vn")], id="our own page"),
        pytest.param("POST", [HOST, (b"ioc-request", b"1")], id="a header of our own"),
    ],
)
def test_what_our_own_pages_send_passes(method: str, headers: Pairs) -> None:
    check_same_site(method, headers)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([HOST], id="no origin"),
        pytest.param([HOST, (b"origin", b"null")], id="an origin that is hidden"),
        pytest.param([HOST, (b"origin", b"https://evil.example")], id="another site"),
        pytest.param([HOST, (b"origin", b"https://ioc.example.vn:444")], id="another port"),
        pytest.param([HOST, (b"origin", b"https://ioc.example.vn.evil.example")], id="a name that begins as ours"),
        pytest.param([(b"origin", b"null")], id="no host"),
        pytest.param([HOST, (b"origin", b"https://[ioc")], id="no address"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_what_another_site_may_have_sent_is_refused(method: str, headers: Pairs) -> None:
    with pytest.raises(AccessRefused) as caught:
        check_same_site(method, headers)
    assert (caught.value.reason, caught.value.status) == (AccessReason.CROSS_SITE, 403)


@pytest.mark.parametrize(
    ("method", "headers", "passes"),
    [
        pytest.param("POST", [HOST], True, id="a program"),
        pytest.param("POST", [HOST, (b"origin", b"http://ioc.example.vn")], True, id="our own page"),
        pytest.param("POST", [HOST, (b"origin", b"https://evil.example")], False, id="another site's page"),
        pytest.param("POST", [HOST, (b"origin", b"null")], False, id="a page that hides where it is from"),
        pytest.param("POST", [HOST, (b"origin", b"https://[ioc")], False, id="no address"),
        pytest.param("GET", [HOST, (b"origin", b"https://evil.example")], True, id="a look"),
    ],
)
def test_where_nobody_signs_in_other_sites_pages_give_no_commands(
    method: str, headers: Pairs, *, passes: bool
) -> None:
    if passes:
        check_not_foreign(method, headers)
        return
    with pytest.raises(AccessRefused) as caught:
        check_not_foreign(method, headers)
    assert caught.value.reason is AccessReason.CROSS_SITE
