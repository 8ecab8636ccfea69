"""How is a local service started, hurt and stopped, whatever it is?"""

import time
from abc import ABC, abstractmethod

from deploy.local.child import Child
from deploy.local.errors import ServiceError

START_TIMEOUT_S = 60.0
STOP_GRACE_S = 8.0
POLL_S = 0.05


class LocalService(ABC):
    """One server process on this machine.

    `stop`, `kill`, `pause` and `start` may follow each other in any order; the address stays.
    """

    title: str

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.child: Child | None = None

    @property
    @abstractmethod
    def address(self) -> str:
        """Where clients find it."""

    @abstractmethod
    def launch(self) -> None:
        """Starts it without waiting, making what is missing. Raises OperatorError."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the process that we started answers."""

    def start(self) -> None:
        """Starts it and returns when it answers. Raises OperatorError."""
        self.launch()
        self.wait_ready()

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Returns when it answers. Raises ServiceError."""
        assert self.child is not None
        deadline_s = time.monotonic() + timeout_s
        while not self.is_ready():
            if self.child.exit_code() is not None:
                raise ServiceError(f"{self.title} ended at its start.", self._last_words())
            if time.monotonic() > deadline_s:
                raise ServiceError(f"{self.title} did not get ready in {timeout_s:.0f} s.", self._last_words())
            time.sleep(POLL_S)

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Shuts it down cleanly, or kills it after `grace_s`."""
        if self.child is not None:
            self.child.stop(grace_s)

    def kill(self) -> None:
        """Kills it and all that belongs to it at once, as a crash would."""
        if self.child is not None:
            self.child.kill()

    def pause(self) -> None:
        """Freezes it until `resume`."""
        assert self.child is not None
        self.child.pause()

    def resume(self) -> None:
        """Lets it go on after `pause`."""
        assert self.child is not None
        self.child.resume()

    def _last_words(self) -> str:
        assert self.child is not None
        return "It last said: " + " / ".join(self.child.tail()[-5:])
