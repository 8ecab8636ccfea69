"""What is made of the site pack in force?"""

from collections.abc import Callable
from typing import Generic, TypeVar

from schemas.site import Site

T = TypeVar("T")


class Present(Generic[T]):
    """Holds what `make` makes of a site pack, and makes it anew only when another pack is in force."""

    def __init__(self, current_site: Callable[[], Site], make: Callable[[Site], T]) -> None:
        self._current_site = current_site
        self._make = make
        self._site = current_site()
        self._made = make(self._site)

    def __call__(self) -> T:
        """The one for the site pack in force."""
        site = self._current_site()
        if self._site is not site:
            self._made = self._make(site)
            self._site = site
        return self._made
