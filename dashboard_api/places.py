"""Is there room for one more live client?"""

from dashboard_api import metrics
from dashboard_api.refusal import RefusalReason, Refused


class Places:
    """Counts the live clients of one process, by whatever way they come."""

    def __init__(self, clients_max: int) -> None:
        self._clients_max = clients_max
        self._taken = 0

    def take(self) -> bool:
        """Takes a place, to be given back; False where there is none."""
        if self._taken >= self._clients_max:
            metrics.REFUSED_CLIENTS.labels("clients_max").inc()
            return False
        self._taken += 1
        metrics.CLIENTS.inc()
        return True

    def give_back(self) -> None:
        """The client is gone."""
        self._taken -= 1
        metrics.CLIENTS.dec()


def no_place() -> Refused:
    """What a request is answered with where there is no place."""
    fix = "Try again later, with your position."
    return Refused("$", RefusalReason.TOO_MANY, "too many live clients", fix, status=503)
