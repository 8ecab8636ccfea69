"""Are the alert rules of the packs that we ship sound, and can each be said in every language of its pack?"""

from pathlib import Path

import pytest

import deploy
from deploy.site import load_site
from schemas.alert import Kind
from streams.core.alert import AlertStep, OpenAlert, Verdict
from streams.core.alert_message import event_of

PACKS = Path(deploy.__file__).parent / "sites"


@pytest.mark.parametrize("name", ["boston", "vietnam"])
def test_rules_of_a_pack(name: str) -> None:
    site = load_site(PACKS / name)
    assert {rule.rule.kind for rule in site.alerts} == set(Kind)
    assert site.cases is not None
    for rule in site.alerts:
        assert rule.rule.agency is None or rule.rule.agency in site.agencies
        assert site.cases.of(rule.rule.category).kind == "alert"
        by = "thing" if rule.rule.by else ""
        alert = OpenAlert(group="g", area=rule.areas[0], by=by, started_s=0, members=())
        event = event_of(site, rule, AlertStep("opened", alert, 0, {}, Verdict.FIRE))
        area = site.areas[rule.areas[0]].names
        first, *others = site.header.languages
        assert area[first] in event.data.title or by in event.data.title
        assert len((event.data.text or "").splitlines()) == len(others)
        assert "{" not in event.data.title + (event.data.text or "")


def test_a_reading_that_is_not_known_can_be_told() -> None:
    site = load_site(PACKS / "boston")
    rule = site.alerts[0]
    alert = OpenAlert(group="g", area=rule.top, by="web", started_s=0, members=())
    step = AlertStep("ended", alert, 60, {}, Verdict.RESOLVE_UNKNOWN)
    assert (event_of(site, rule, step).data.text or "").endswith("Không còn số liệu.")
