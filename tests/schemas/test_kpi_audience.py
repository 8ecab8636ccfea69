"""Are complaints about officials counted for supervising agencies alone, whatever an indicator is made of?"""

from typing import Any

import pytest

from schemas.errors import SiteError
from schemas.event import AnyEvent
from schemas.kpi import Catalogue, filter_of
from schemas.kpi_table import mistakes, parse_kpis
from schemas.site import Pack, parse_catalogue, parse_site
from streams.core.batch import Arrival
from streams.versions import compiled
from tests.streams import world

CASES_TOML = """
other = "other"
category = [
    { id = "road", names = { en = "Road" } },
    { id = "attitude", names = { en = "Attitude" }, kind = "conduct", agency = "inspectorate" },
    { id = "bribe", names = { en = "Bribe" }, kind = "conduct", agency = "inspectorate" },
    { id = "other", names = { en = "Other" } },
]
"""

AGENCIES_TOML = """
[[agency]]
id = "inspectorate"
names = { en = "Inspectorate" }
supervisor = "committee"

[[agency]]
id = "committee"
names = { en = "People's committee" }
supervisor = "inspectorate"
"""

KPIS_TOML = "\n".join(
    f"""
[[kpi]]
id = "{audience}.{name}"
names = {{ en = "{name}" }}
unit = "1"
audience = "{audience}"
{rest}
"""
    for audience in ("all", "supervision")
    for name, rest in {
        "received": 'measure = "count"\nevent = "ioc.feedback.received.v1"\ndimensions = ["category"]',
        "phone": 'measure = "count"\nevent = "ioc.feedback.received.v1"\n'
        'where = [{ channel = "phone" }, { category = ["road", "bribe"] }]',
        "steps": 'measure = "count"\nevent = "ioc.case.step.v1"\nwhere = { step = "opened" }',
        "share": 'measure = "ratio"\n'
        'numerator = { measure = "count", event = "ioc.feedback.closed.v1", where = { channel = "phone" } }\n'
        'denominator = { measure = "count", event = "ioc.feedback.closed.v1" }',
    }.items()
)
PACK: Pack = {
    **world.PACK,
    "kpis.toml": KPIS_TOML,
    "cases.toml": CASES_TOML,
    "agencies.toml": AGENCIES_TOML,
}
CATALOGUE = parse_kpis(KPIS_TOML, conduct=("attitude", "bribe"))


def counted(catalogue: Catalogue, *events: AnyEvent) -> dict[str, int]:
    """How many of the events each base counts."""
    found: dict[str, int] = {}
    for base in catalogue.bases:
        filter_ = filter_of(base)
        for event in events:
            if event.__struct_config__.tag != base.event:
                continue
            values = [getattr(event.data, name, None) for name in filter_.fields]
            found[base.id] = found.get(base.id, 0) + filter_.accepts(values)
    return found


def feedback(type_: str, category: str, channel: str = "app") -> AnyEvent:
    """A report, or what became of it."""
    return world.event(type_, data={"category": category, "channel": channel})


def step(kind: str, category: str) -> AnyEvent:
    """A case was opened."""
    data = {"case": "c", "step": "opened", "kind": kind, "category": category, "severity": "minor"}
    return world.event("ioc.case.step.v1", data=data)


@pytest.mark.parametrize(
    ("event", "base", "is_conduct"),
    [
        pytest.param(feedback("ioc.feedback.received.v1", "road"), "received", False, id="a report"),
        pytest.param(feedback("ioc.feedback.received.v1", "attitude"), "received", True, id="a complaint"),
        pytest.param(feedback("ioc.feedback.received.v1", "unheard of"), "received", False, id="not declared"),
        pytest.param(feedback("ioc.feedback.received.v1", "road"), "phone", False, id="one of two tables"),
        pytest.param(feedback("ioc.feedback.received.v1", "bribe"), "phone", True, id="a complaint by one table"),
        pytest.param(
            feedback("ioc.feedback.received.v1", "attitude", "phone"), "phone", True, id="a complaint by the other"
        ),
        pytest.param(feedback("ioc.feedback.closed.v1", "bribe"), "share/denominator", True, id="a part of a ratio"),
        pytest.param(feedback("ioc.feedback.closed.v1", "road", "phone"), "share/numerator", False, id="the other"),
        pytest.param(step("service", "road"), "steps", False, id="a step"),
        pytest.param(step("conduct", "attitude"), "steps", True, id="a step of a complaint"),
        pytest.param(step("conduct", "road"), "steps", True, id="a step of what was a complaint by its kind"),
    ],
)
def test_what_is_about_an_official_is_counted_for_supervision_alone(
    event: AnyEvent, base: str, is_conduct: bool
) -> None:
    found = counted(CATALOGUE, event)
    assert found[f"supervision.{base}"] == is_conduct
    assert found[f"all.{base}"] == (not is_conduct)


def test_a_site_without_such_complaints_looks_at_nothing_more() -> None:
    plain = parse_kpis(KPIS_TOML)
    assert filter_of(plain.base("all.received")).fields == ()
    assert filter_of(plain.base("all.steps")).fields == ("step",)
    assert counted(plain, feedback("ioc.feedback.received.v1", "bribe"))["supervision.received"] == 0


def test_the_categories_come_from_the_pack() -> None:
    site = parse_site(PACK)
    assert {base.conduct for base in site.kpis.bases} == {("attitude", "bribe")}
    # Whoever compares what an indicator meant by two versions of a pack reads the catalogue alone.
    assert {base.id: base for base in parse_catalogue(PACK).bases} == {base.id: base for base in site.kpis.bases}


def test_a_fold_keeps_them_apart() -> None:
    site = parse_site(PACK)
    reports: list[Arrival] = [
        world.arrival(world.raw("ioc.feedback.received.v1", id=str(number), data={"category": category}))
        for number, category in enumerate(["road", "bribe", "road", "attitude", "bribe"])
    ]
    cells = compiled(1, site).fold(reports).cells
    found: dict[tuple[str, Any], int] = {}
    for tier in cells.values():
        for (base, area, dim, _, _), cell in tier.items():
            if area == site.areas.root.id and base.endswith("received"):
                found[base, dim] = max(found.get((base, dim), 0), cell[0])
    assert found == {
        ("all.received", "road"): 2,
        ("supervision.received", "attitude"): 1,
        ("supervision.received", "bribe"): 2,
    }


@pytest.mark.parametrize(
    ("kpi", "reason"),
    [
        pytest.param(
            'audience = "supervision"\nmeasure = "sum"\nvalue = "count"\nevent = "ioc.camera.detection.v1"',
            "the audience is supervision, but ioc.camera.detection.v1 has no category",
            id="no category",
        ),
        pytest.param(
            'audience = "everyone"\nmeasure = "count"\nevent = "ioc.feedback.received.v1"',
            "audience",
            id="not an audience",
        ),
    ],
)
def test_a_wrong_audience_is_refused(kpi: str, reason: str) -> None:
    (error,) = mistakes(f'[[kpi]]\nid = "k"\nnames = {{ en = "K" }}\nunit = "1"\n{kpi}')
    assert isinstance(error, SiteError)
    assert reason in str(error)
    assert error.position.startswith("line ")


def test_a_share_is_not_said_to_be_part_of_what_others_are_told() -> None:
    assert CATALOGUE.base("all.received").audience == "all"
    assert CATALOGUE.base("supervision.share/numerator").audience == "supervision"
