"""Do the city's own records come out as the city counted them?

The label `ontime` is the city's: OVERDUE exactly when a case was closed after its target. It is compared with what
the decoded event says, after local times became instants.
"""

import csv
import gzip
from collections import Counter
from pathlib import Path

import pytest

from deploy.replay.recorded_file import Recorded, Unmapped, choose_mapping, load_mappings, read_recording
from deploy.site import load_site
from schemas.event import FeedbackClosed, FeedbackReceived

ROOT = Path(__file__).parents[2]
SITE = ROOT / "deploy" / "sites" / "boston"
WHOLE = ROOT.parent / "shared" / "data" / "citizen311" / "boston_311_2011H2_sla.csv.gz"
EXTRACT = SITE / "demo" / "boston_311.csv.gz"

# Of all 58,251 cases: (in time, late) of the 43,664 closed ones with a target and a label, by department.
LABELLED = {
    "BPS_": (0, 1),
    "BTDT": (3330, 735),
    "BWSC": (13, 21),
    "DISB": (1, 4),
    "INFO": (542, 123),
    "ISD": (3271, 2912),
    "PARK": (3471, 1010),
    "PROP": (1088, 15),
    "PWDx": (23875, 3252),
}
# The same of the 157 that are closed and have a target, but no label: each of them is late.
UNLABELLED = {"BTDT": (0, 3), "INFO": (0, 1), "PARK": (0, 100), "PWDx": (0, 53)}


class Verdicts:
    """What a file says: the events, and for each department (in time, late) by the label and by the event."""

    def __init__(self, file: Path) -> None:
        site = load_site(SITE)
        rows = list(read_recording(file, choose_mapping(file, load_mappings(SITE, site))))
        self.unmapped = [row for row in rows if isinstance(row, Unmapped)]
        self.events = [row.event for row in rows if isinstance(row, Recorded)]
        self.areas = {event.area for event in self.events}
        with gzip.open(file, "rt", newline="") as text:
            self.cases = {row["case_enquiry_id"]: row for row in csv.DictReader(text)}
        self.mismatches = 0
        self.labelled: Counter[tuple[str, bool]] = Counter()
        self.unlabelled: Counter[tuple[str, bool]] = Counter()
        self.without_target = 0
        for event in self.events:
            if isinstance(event, FeedbackClosed):
                self._judge(event)

    def _judge(self, event: FeedbackClosed) -> None:
        assert event.subject is not None
        assert event.data.agency is not None
        if event.data.due_at is None:
            self.without_target += 1
            return
        in_time = event.time <= event.data.due_at
        label = self.cases[event.subject]["ontime"]
        if not label:
            self.unlabelled[event.data.agency, in_time] += 1
            return
        self.labelled[event.data.agency, in_time] += 1
        self.mismatches += in_time != (label == "ONTIME")


def by_agency(counts: Counter[tuple[str, bool]]) -> dict[str, tuple[int, int]]:
    """(in time, late) of each department."""
    return {agency: (counts[agency, True], counts[agency, False]) for agency in sorted({a for a, _ in counts})}


def test_the_whole_half_year() -> None:
    if not WHOLE.exists():
        pytest.skip(f"{WHOLE} is not here: the city's WHOLE FILE WAS NOT COMPARED, only the extract is")
    found = Verdicts(WHOLE)
    assert found.unmapped == []
    assert len(found.cases) == 58_251
    kinds = Counter(type(event) for event in found.events)
    assert kinds == {FeedbackReceived: 58_251, FeedbackClosed: 54_570}
    assert len({event.id for event in found.events}) == 112_821
    assert found.mismatches == 0
    assert by_agency(found.labelled) == LABELLED
    assert sum(found.labelled.values()) == 43_664
    assert by_agency(found.unlabelled) == UNLABELLED
    assert sum(found.unlabelled.values()) == 157
    assert found.without_target == 54_570 - 43_664 - 157
    assert len(found.areas) == 23


def test_the_extract_that_the_project_carries() -> None:
    found = Verdicts(EXTRACT)
    assert found.unmapped == []
    assert len(found.cases) == 8_125
    assert len(found.events) == 15_850
    assert found.mismatches == 0
    assert sum(found.labelled.values()) == 6_749
    assert sum(late for _, late in by_agency(found.labelled).values()) == 1_745


def test_no_text_that_a_person_typed_is_carried() -> None:
    with gzip.open(EXTRACT, "rt", newline="") as text:
        columns = set(next(csv.reader(text)))
    assert not columns & {"closure_reason", "case_title", "location", "location_street_name", "location_zipcode"}


def test_the_demo_is_small() -> None:
    assert sum(file.stat().st_size for file in (SITE / "demo").iterdir() if file.is_file()) <= 1_000_000
