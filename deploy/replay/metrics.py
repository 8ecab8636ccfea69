"""What does a replay say of itself?"""

from prometheus_client import Counter, start_http_server

from schemas.errors import OperatorError

METRICS_HOST = "127.0.0.1"

SENT = Counter(
    "ioc_feed_events_sent_total", "Events put into requests; one that is sent again counts again.", ["feed"]
)
ACCEPTED = Counter("ioc_feed_events_accepted_total", "Events that the centre has taken.", ["feed"])
REJECTED = Counter("ioc_feed_events_rejected_total", "Events that the centre has refused.", ["feed"])
RETRIES = Counter("ioc_feed_retries_total", "Requests without an answer that lasts, to be sent again.", ["feed"])


def serve_metrics(port: int) -> None:
    """Serves /metrics from a thread until the process ends. Raises OperatorError when the port is taken."""
    try:
        start_http_server(port, addr=METRICS_HOST)
    except OSError as error:
        raise OperatorError(
            f"IOC_METRICS_PORT={port}: that port cannot be listened on ({error.strerror}).",
            "Set another, or unset it.",
        ) from error
