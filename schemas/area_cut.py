"""Which part of a country's tables does one province need?

Its own areas, the areas of earlier lists that lie in them or share ground with them, the links between all these, and
their boundaries. What comes out are files again, as if somebody had written them for this province alone.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas.area import AreaTree, Zone
from schemas.area_table import AREAS_FILE, LINEAGE_FILE, parse_area_tree
from schemas.boundary import BOUNDARIES_FILE
from schemas.errors import SiteError
from schemas.event import AreaCode, AreaId

_INHERITED = ("list", "valid_from", "valid_to")


def cut_areas(pack: Mapping[str, str], list_id: str, zone: Zone, root: AreaCode, where: str) -> dict[str, str]:
    """The texts of the area files for the area that `list_id`, the present list, calls `root`.

    An earlier area that lies partly elsewhere is left out, unless it is among the smallest: what is said of a whole
    old district cannot be told apart by those who see a part of it. Raises SiteError, at `where` for an unknown root.
    """
    tree = parse_area_tree(pack, list_id, zone)
    top = tree.by_code(list_id, root)
    if top is None:
        fix = f"Use a code of list {list_id!r}."
        raise SiteError(where, "areas", f"area {root!r} is not known", fix)
    links = list(csv.DictReader(io.StringIO(pack.get(LINEAGE_FILE, "old,new,kind\n"))))
    kept = _kept(tree, top.id, {AreaId(link["old"]) for link in links})
    texts = {AREAS_FILE: _areas(pack[AREAS_FILE], tree, kept)}
    if LINEAGE_FILE in pack:
        texts[LINEAGE_FILE] = _csv(("old", "new", "kind"), _links(links, kept, tree.path(top.id)))
    if BOUNDARIES_FILE in pack:
        content: dict[str, Any] = json.loads(pack[BOUNDARIES_FILE])
        content["features"] = [one for one in content["features"] if one["properties"]["id"] in kept]
        texts[BOUNDARIES_FILE] = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return texts


def _kept(tree: AreaTree, top: AreaId, linked: set[AreaId]) -> set[AreaId]:
    cover = tree.cover(top)
    kept = {below.id for whole in cover.whole for below in (tree[whole], *tree.descendants(whole))}
    for area in (*cover.partial, *cover.apart):
        # A link says of these what share they have; of the others above them only their parts did.
        if not linked.isdisjoint(tree.path(area)):
            kept.add(area)
    return kept


def _areas(text: str, tree: AreaTree, kept: set[AreaId]) -> str:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    columns = [*(reader.fieldnames or ()), *(name for name in _INHERITED if name not in (reader.fieldnames or ()))]
    rows: list[dict[str, str]] = []
    for row in reader:
        area = tree[AreaId(row.get("id") or row["code"])]
        if area.id not in kept:
            continue
        if area.parent not in kept:
            # What it took from its parent it now has to say itself.
            row["parent"] = ""
            row["list"] = area.list_id
            row["valid_from"] = area.valid_from.isoformat() if area.valid_from else ""
            row["valid_to"] = area.valid_to.isoformat() if area.valid_to else ""
        rows.append(row)
    return _csv(columns, rows)


def _links(links: Iterable[Mapping[str, str]], kept: set[AreaId], path: Sequence[AreaId]) -> Iterable[dict[str, str]]:
    """The links within what is kept. Of what went elsewhere too, the file says that a part left.

    `path` leads from the root of the part up: what went into an area above it went into it in part.
    """
    left: set[str] = set()
    for link in links:
        if link["old"] not in kept:
            continue
        if link["new"] in kept:
            yield dict(link)
            continue
        if link["new"] in path:
            yield {"old": link["old"], "new": path[0], "kind": "partial"}
        if link["old"] not in left:
            left.add(link["old"])
            yield {"old": link["old"], "new": "", "kind": "partial"}


def _csv(columns: Iterable[str], rows: Iterable[Mapping[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
