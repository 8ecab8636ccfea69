"""What does the environment say? This is the only place where it is read.

A wrong value raises SettingError: the variable's name, what is wrong with it, and what would be right.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import msgspec

from deploy.local.errors import OperatorError

PACKAGED_SITE = Path(__file__).parent / "sites" / "boston"
WORKERS_MAX = 64
PORT_MAX = 65_535
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingError(OperatorError):
    """An environment variable holds what it cannot hold."""

    def __init__(self, variable: str, value: str, reason: str, fix: str) -> None:
        super().__init__(f"{variable}={value!r} {reason}.", fix)
        self.variable = variable


class Settings(msgspec.Struct, frozen=True):
    """All that a process of the centre is told from outside. `None` for an address means: run it locally.

    `url` is a centre elsewhere that events are sent to; `None` means the one on the data folder. `public_url` is the
    origin by which people reach the web process; `oidc_issuer` who signs them in, `None` for the centre's own issuer.
    `personal_keys` is the file of keys for personal data, `None` for the centre's own below the data folder.
    `secrets` holds the variables that channels name (`IOC_SECRET_…`).
    """

    data_dir: Path
    cache_dir: Path
    kafka: str | None
    database_url: str | None
    url: str | None
    site: Path
    host: str
    port: int | None
    workers: int
    worker: int
    metrics_port: int
    log_level: str
    topic_prefix: str
    public_url: str | None = None
    oidc_issuer: str | None = None
    oidc_client_id: str = "ioc-board"
    oidc_client_secret: str | None = None
    personal_keys: Path | None = None
    secrets: Mapping[str, str] = {}

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Reads the IOC_ variables; an empty one counts as unset. Raises SettingError."""

        def text(name: str, default: str = "") -> str:
            return environ.get(name, "").strip() or default

        return cls(
            data_dir=Path(text("IOC_DATA", ".ioc")).expanduser().absolute(),
            cache_dir=_cache_dir(text),
            kafka=_kafka(text("IOC_KAFKA")),
            database_url=_database_url(text("IOC_DATABASE_URL")),
            url=_url(text("IOC_URL")),
            site=_site(text("IOC_SITE")),
            host=text("IOC_HOST", "127.0.0.1"),
            port=_port(port) if (port := text("IOC_PORT")) else None,
            workers=_whole("IOC_WORKERS", text("IOC_WORKERS", "2"), 1, WORKERS_MAX),
            worker=_whole("IOC_WORKER", text("IOC_WORKER", "0"), 0, WORKERS_MAX - 1),
            metrics_port=_whole("IOC_METRICS_PORT", text("IOC_METRICS_PORT", "0"), 0, PORT_MAX),
            log_level=_log_level(text("IOC_LOG_LEVEL", "INFO")),
            topic_prefix=text("IOC_TOPIC_PREFIX", "ioc."),
            public_url=_web_address("IOC_PUBLIC_URL", text("IOC_PUBLIC_URL"), "https://ioc.example.vn"),
            oidc_issuer=_web_address("IOC_OIDC_ISSUER", text("IOC_OIDC_ISSUER"), "https://id.example.vn/realms/ioc"),
            oidc_client_id=text("IOC_OIDC_CLIENT_ID", "ioc-board"),
            oidc_client_secret=text("IOC_OIDC_CLIENT_SECRET") or None,
            personal_keys=Path(keys).expanduser().absolute() if (keys := text("IOC_PERSONAL_KEYS")) else None,
            secrets={name: value for name, value in environ.items() if name.startswith("IOC_SECRET_") and value},
        )

    def addresses(self) -> tuple[str, str]:
        """Where Kafka and the database are. Raises OperatorError when the environment does not say."""
        if self.kafka is None or self.database_url is None:
            raise OperatorError(
                "This process does not know where Kafka and the database are.",
                "Set IOC_KAFKA and IOC_DATABASE_URL, or let `ioc up` run it.",
            )
        return self.kafka, self.database_url


def _cache_dir(text: Callable[..., str]) -> Path:
    if chosen := text("IOC_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = text("XDG_CACHE_HOME")
    # The XDG base directory specification says to ignore a relative one.
    root = Path(base) if base.startswith("/") else Path(text("HOME", "~")).expanduser() / ".cache"
    return root / "ioc-streaming"


def _whole(name: str, value: str, lowest: int, highest: int) -> int:
    fix = f"Set a whole number from {lowest} to {highest}, or unset it."
    if not value.isascii() or not value.isdecimal():
        raise SettingError(name, value, "is not a whole number", fix)
    if not lowest <= int(value) <= highest:
        raise SettingError(name, value, "is out of range", fix)
    return int(value)


def _port(value: str) -> int:
    return _whole("IOC_PORT", value, 1, PORT_MAX)


def _kafka(value: str) -> str | None:
    for server in value.split(",") if value else ():
        host, colon, port = server.strip().rpartition(":")
        if not colon or not host or not port.isdecimal() or not 1 <= int(port) <= PORT_MAX:
            raise SettingError(
                "IOC_KAFKA",
                value,
                "is not a list of bootstrap servers",
                "Set host:port, several with commas between, such as 127.0.0.1:9092.",
            )
    return value or None


def _database_url(value: str) -> str | None:
    if not value:
        return None
    try:
        parts = urlsplit(value)
        fits = parts.scheme in {"postgresql", "postgres"} and len(parts.path) > 1 and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        # The value may hold a password, so it is not shown.
        raise SettingError(
            "IOC_DATABASE_URL",
            "…",
            "is not the address of a PostgreSQL database",
            "Set postgresql://user:password@host:5432/database.",
        )
    return value


def _url(value: str) -> str | None:
    if value and _http_parts(value) is None:
        raise SettingError(
            "IOC_URL", value, "is not the address of a centre", "Set one such as http://127.0.0.1:8080."
        )
    return value or None


def _web_address(name: str, value: str, example: str) -> str | None:
    """An http address; that of people without a slash at the end, that of an issuer letter by letter as it is."""
    if not value:
        return None
    parts = _http_parts(value)
    if parts is None or parts.query or parts.fragment or (name == "IOC_PUBLIC_URL" and parts.path.strip("/")):
        raise SettingError(name, value, "is not such an address", f"Set one such as {example}.")
    return value.rstrip("/") if name == "IOC_PUBLIC_URL" else value


def _http_parts(value: str) -> SplitResult | None:
    """What an http address is made of; None for what is none."""
    try:
        parts = urlsplit(value)
        return parts if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def _site(value: str) -> Path:
    if not value:
        return PACKAGED_SITE
    path = Path(value).expanduser().absolute()
    if not path.is_dir():
        raise SettingError("IOC_SITE", value, "is not a folder", "Set the folder of a site pack.")
    return path


def _log_level(value: str) -> str:
    level = value.upper()
    if level not in LOG_LEVELS:
        raise SettingError("IOC_LOG_LEVEL", value, "is not a log level", f"Set one of {', '.join(LOG_LEVELS)}.")
    return level
