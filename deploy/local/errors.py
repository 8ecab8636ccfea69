"""What does a person see when something foreseeable is wrong? One line, with what to do about it."""

from schemas.errors import OperatorError


class LocalServicesError(OperatorError):
    """This machine cannot carry the embedded Kafka and PostgreSQL, so addresses have to come from outside."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The local services cannot be had here: {why}.",
            "Start deploy/compose/compose.yaml (or your own) and set IOC_KAFKA and IOC_DATABASE_URL.",
        )


class DownloadError(OperatorError):
    """A registry did not give a file within the bounded tries, or gave another one than the lock names."""


class ServiceError(OperatorError):
    """A local service ended, or did not answer in time. The remedy carries its last log lines."""
