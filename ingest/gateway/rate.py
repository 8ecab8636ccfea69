"""May this address send more now?

For what anybody may send without a sign-in. Each address has a bucket of tokens that fills up steadily; where there
are too many addresses, the one that was heard least recently is forgotten.
"""

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import Scope

ADDRESSES_MAX = 20_000
"""Addresses that are remembered. A further one takes the place of the one that was heard least recently."""

_IPV6_NETWORK_BITS = 64
"""What one household or one server gets of IPv6: its addresses are one sender."""

_SLACK_S = 1e-6
"""Sums of fractions are not exact: a token that will be there so soon is there."""


class RateLimit:
    """Lets each address send `burst` at once, and `per_minute` in the long run."""

    def __init__(
        self, per_minute: float, burst: int, clock_s: Callable[[], float], addresses_max: int = ADDRESSES_MAX
    ) -> None:
        """`clock_s` never goes back."""
        self._token_s = 60 / per_minute
        self._burst_s = burst * self._token_s
        self._clock_s = clock_s
        self._addresses_max = addresses_max
        self._full_at_s: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at_s)

    def wait_s(self, address: str) -> int:
        """Takes a token and returns 0; or, when there is none, the whole seconds until there is one."""
        now_s = self._clock_s()
        # A bucket is known by the moment at which it will be full.
        full_at_s = max(self._full_at_s.get(address, now_s), now_s) + self._token_s
        missing_s = full_at_s - now_s - self._burst_s
        if missing_s > _SLACK_S:
            return math.ceil(missing_s)
        self._full_at_s[address] = full_at_s
        self._full_at_s.move_to_end(address)
        if len(self._full_at_s) > self._addresses_max:
            self._full_at_s.popitem(last=False)
        return 0


def address_of(scope: Scope) -> str:
    """Who sends a request, as far as its address tells: of IPv6 the network."""
    client = scope.get("client")
    host = str(client[0]) if client else ""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), _IPV6_NETWORK_BITS), strict=False))
