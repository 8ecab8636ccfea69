"""How soon may somebody try a password again?

After some failures each further one doubles the wait. Failures are counted by person and by network address, so that
neither many names from one place nor one name from many gets through quickly. `now_s` is any steady clock's.
"""

from collections import OrderedDict

from msgspec import Struct

PERSON_FREE = 5
ADDRESS_FREE = 20
WAIT_MAX_S = 60.0
"""The longest wait: whoever guesses at somebody's password must not keep that person out for long."""

FORGET_S = 900.0
"""Failures are forgotten after this long without another one."""

KEYS_MAX = 10_000
"""Persons and addresses remembered; beyond it the one that failed longest ago is forgotten."""


class _Failures(Struct):
    count: int = 0
    last_s: float = 0.0
    free_at_s: float = 0.0


class Throttle:
    """Failures of the last quarter of an hour."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def wait_s(self, person: str, address: str, now_s: float) -> float:
        """How long until the next attempt; 0 when it may be now."""
        return max(0.0, *(self._found(key, now_s).free_at_s - now_s for key, _ in _keys(person, address)))

    def failed(self, person: str, address: str, now_s: float) -> None:
        """Counts an attempt, before it is known to be right: attempts at the same time are all counted."""
        for key, free in _keys(person, address):
            found = self._found(key, now_s)
            found.count += 1
            found.last_s = now_s
            if found.count > free:
                found.free_at_s = now_s + min(WAIT_MAX_S, 2.0 ** min(found.count - free - 1, 10))
            self._failures[key] = found
            self._failures.move_to_end(key)
        while len(self._failures) > KEYS_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, person: str, address: str) -> None:
        """Forgets the person's failures. Of the address only this attempt: one's own password frees no guessing."""
        (person_key, _), (address_key, _) = _keys(person, address)
        self._failures.pop(person_key, None)
        found = self._failures.get(address_key)
        if found is not None:
            found.count -= 1

    def _found(self, key: str, now_s: float) -> _Failures:
        found = self._failures.get(key)
        return _Failures() if found is None or now_s - found.last_s > FORGET_S else found


def _keys(person: str, address: str) -> tuple[tuple[str, int], tuple[str, int]]:
    return (f"person {person.casefold()}", PERSON_FREE), (f"address {address}", ADDRESS_FREE)
