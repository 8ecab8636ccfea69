"""Stands in for the centre's programs: takes the same arguments and environment, and does next to nothing."""

import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class Ready(BaseHTTPRequestHandler):
    """Answers every GET with 200, as `/readyz` of a ready centre does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


def main(arguments: list[str]) -> None:
    """Does what `ioc` does with these arguments, as far as a supervisor can tell."""
    assert os.environ["IOC_KAFKA"]
    assert os.environ["IOC_DATABASE_URL"].startswith("postgresql://")
    print(" ".join(arguments), flush=True)
    match arguments:
        case ["migrate"]:
            return
        case ["run", "web"]:
            HTTPServer((os.environ["IOC_HOST"], int(os.environ["IOC_PORT"])), Ready).serve_forever()
        case ["run", "streams" | "outbound"]:
            HTTPServer(("127.0.0.1", int(os.environ["IOC_METRICS_PORT"])), Ready).serve_forever()
        case _:
            time.sleep(600)


if __name__ == "__main__":
    main(sys.argv[1:])
