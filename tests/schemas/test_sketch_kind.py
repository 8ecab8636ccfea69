"""Does an id keep what its sketches hold?"""

import pytest

from schemas.errors import SiteError
from schemas.kpi_table import parse_kpis
from schemas.sketch_kind import check_kinds

CLOSED = 'event = "ioc.feedback.closed.v1"'
COUNT = f'{CLOSED}\nmeasure = "count"'
MEAN = f'{CLOSED}\nmeasure = "mean"\nsince = "opened_at"'
PERCENTILE = f'{CLOSED}\nmeasure = "percentile"\nq = 0.5\nsince = "opened_at"'
DISTINCT = f'{CLOSED}\nmeasure = "distinct"\nof = "agency"'


def ratio(measure: str) -> str:
    """Of whatever is measured so to all."""
    numerator = measure.replace("\n", ", ")
    return f'measure = "ratio"\nnumerator = {{ {numerator} }}\ndenominator = {{ {COUNT.replace(chr(10), ", ")} }}'


def catalogue(measure: str, id_: str = "k") -> str:
    """A catalogue of one indicator."""
    return f'[[kpi]]\nid = "{id_}"\nnames = {{ en = "K" }}\nunit = "1"\n{measure}\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(PERCENTILE, DISTINCT, id="a histogram becomes different ones"),
        pytest.param(DISTINCT, PERCENTILE, id="different ones become a histogram"),
        pytest.param(COUNT, DISTINCT, id="a sum becomes different ones"),
        pytest.param(PERCENTILE, MEAN, id="a histogram becomes a sum"),
        pytest.param(ratio(COUNT), ratio(DISTINCT), id="a part of a ratio"),
    ],
)
def test_another_kind_is_refused(before: str, after: str) -> None:
    with pytest.raises(SiteError, match=r"kpis\.toml: kpi 'k(/numerator)?': under this id .* Give .* a new id"):
        check_kinds(parse_kpis(catalogue(after)), [catalogue(MEAN, "other"), catalogue(before), ""])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(COUNT, MEAN, id="sums of another meaning"),
        pytest.param(PERCENTILE, PERCENTILE.replace("0.5", "0.9"), id="another percentile"),
        pytest.param(DISTINCT, ratio(COUNT), id="a ratio stores under its parts' ids"),
        pytest.param(ratio(DISTINCT), COUNT, id="parts that are there no more"),
    ],
)
def test_the_same_kind_goes_on(before: str, after: str) -> None:
    check_kinds(parse_kpis(catalogue(after)), [catalogue(before)])
    check_kinds(parse_kpis(catalogue(after)), [])
