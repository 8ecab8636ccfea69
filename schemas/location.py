"""In which area did it happen, and how is that known?"""

from enum import StrEnum
from typing import NamedTuple

from schemas.area import AreaTree
from schemas.errors import InvalidEvent, Reason
from schemas.event import AreaId, Event


class How(StrEnum):
    """How an event's area is known."""

    CODE = "code"  # the sender said so
    POLYGON = "polygon"  # its place lies in the area
    NEAREST = "nearest"  # the area's point is the nearest one to its place
    CERTAIN = "certain"  # the smallest area that is certain to hold it


class Located(NamedTuple):
    """An event's area, and how it is known."""

    area: AreaId
    how: How


class Locator:
    """Locates events on a site's maps. A function of the event and the site pack alone."""

    def __init__(self, areas: AreaTree) -> None:
        self._by_code = {(area.list_id, area.code): area.id for area in areas}
        self._list_id = areas.list_id

    def __call__(self, event: Event) -> Located:
        """Raises InvalidEvent when neither its code nor its place is known here."""
        code = event.area
        if code is not None:
            found = self._by_code.get((event.area_list or self._list_id, code))
            if found is not None:
                return Located(found, How.CODE)
        raise InvalidEvent("area", Reason.UNKNOWN_AREA, f"area {code!r} is not known", "Correct it.")
