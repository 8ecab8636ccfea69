"""Which areas' events and cases belong into the list of an area?"""

from collections.abc import Collection

from schemas.area import AreaTree
from schemas.event import AreaId


def descendants(tree: AreaTree, areas: Collection[AreaId]) -> list[AreaId] | None:
    """These areas and all that lie or may lie in them; None when that is everything, an unknown area's events too."""
    if tree.root.id in areas:
        return None
    asked = set(areas)
    return [area.id for area in tree if not asked.isdisjoint(tree.touched_by(area.id))]
