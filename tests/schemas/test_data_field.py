"""Is every field of every event of a kind that the catalogue's checks know?"""

import pytest

from schemas.data_field import ENVELOPE_FIELDS, DataField, Kind, data_fields
from schemas.event import EVENT_TYPES


@pytest.mark.parametrize("event", EVENT_TYPES)
def test_no_data_hides_a_field_of_the_envelope(event: str) -> None:
    fields = data_fields(event)
    # Of a command nothing is measured but that it was given.
    assert fields or event == "ioc.case.command.v1"
    assert not fields.keys() & ENVELOPE_FIELDS.keys()


@pytest.mark.parametrize(
    ("event", "name", "field"),
    [
        pytest.param("ioc.feedback.received.v1", "category", DataField(kind=Kind.WORD), id="a label"),
        pytest.param("ioc.feedback.received.v1", "agency", DataField(kind=Kind.WORD), id="one that may be absent"),
        pytest.param("ioc.feedback.received.v1", "title", DataField(kind=Kind.TEXT), id="a long text"),
        pytest.param("ioc.feedback.received.v1", "due_at", DataField(kind=Kind.INSTANT), id="an instant"),
        pytest.param("ioc.dossier.received.v1", "complete", DataField(kind=Kind.FLAG), id="a flag"),
        pytest.param(
            "ioc.dossier.received.v1",
            "channel",
            DataField(kind=Kind.WORD, words=("desk", "online", "post")),
            id="one of a few words",
        ),
        pytest.param("ioc.dossier.rated.v1", "score", DataField(kind=Kind.NUMBER, non_negative=True), id="1 to 5"),
        pytest.param("ioc.camera.detection.v1", "score", DataField(kind=Kind.NUMBER, non_negative=True), id="0 to 1"),
        pytest.param("ioc.service.metric.v1", "value", DataField(kind=Kind.NUMBER), id="any number"),
        pytest.param("ioc.indicator.observed.v1", "period", DataField(kind=Kind.WORD), id="a period"),
    ],
)
def test_what_a_field_holds(event: str, name: str, field: DataField) -> None:
    assert data_fields(event)[name] == field
