"""Where do processes without a web server of their own show their metrics?"""

from prometheus_client import start_http_server

from schemas.errors import OperatorError

METRICS_HOST = "127.0.0.1"


def serve_metrics(port: int) -> None:
    """Serves /metrics from a thread until the process ends. Raises OperatorError when the port is taken."""
    try:
        start_http_server(port, addr=METRICS_HOST)
    except OSError as error:
        raise OperatorError(
            f"IOC_METRICS_PORT={port}: that port cannot be listened on ({error.strerror}).",
            "Set another, or unset it.",
        ) from error
