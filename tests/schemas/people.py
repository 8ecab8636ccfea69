"""A small `people.toml`, to be changed by tests, and a pack that it fits."""

from schemas.site import Site, parse_site
from tests.schemas.case_pack import FILES

PEOPLE = """
[[person]]
id = "an.operator"
name = "Nguyễn Thị An"
roles = ["operator", "dispatcher"]
areas = ["00"]
agency = "province"
agencies = ["*"]
language = "vi"

[[person]]
id = "binh.roads"
name = "Trần Văn Bình"
roles = ["operator"]
areas = ["01"]
agency = "roads"

[[person]]
id = "chi.unit"
name = "Lê Chi"
roles = ["unit"]
areas = ["01"]
unit = "a"
quiet_from = 22:00:00
quiet_to = 06:00:00
"""


def people_pack(people: str = PEOPLE) -> dict[str, str]:
    """A pack in which these people, and agencies and units, are declared."""
    # Its dispatch names people of its own.
    return {name: text for name, text in FILES.items() if name != "dispatch.toml"} | {"people.toml": people}


def people_site(people: str = PEOPLE) -> Site:
    """The pack, read."""
    return parse_site(people_pack(people))
