"""Is every mistake in `kpis.toml` told with its line, its reason and a way to put it right?"""

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SiteError
from schemas.kpi import Kpi, Measure
from schemas.kpi_table import KPIS_MAX, mistakes, parse_kpis

SITES = Path(__file__).parents[2] / "deploy" / "sites"
DOCUMENT = Path(__file__).parents[2] / "docs" / "kpis.md"

HEAD = """\
# Another indicator stands above, so that lines are not those of the table.
[[kpi]]
id = "cameras"
names = { en = "Cameras" }
unit = "1"
measure = "distinct"
event = "ioc.camera.detection.v1"
of = "camera"

[[kpi]]
id = "some.share"
names = { en = "Share" }
unit = "1"
measure = "in_time"
event = "ioc.dossier.closed.v1"
due = "due_at"

[[kpi]]
id = "closed"
names = { en = "Closed" }
unit = "1"
measure = "count"
event = "ioc.dossier.closed.v1"

"""

MARK = "#!"
"""Marks the line that a case expects to be told."""


def told(body: str, *, names: bool = True, languages: tuple[str, ...] = ("en",)) -> list[SiteError]:
    """The mistakes of a file with one more KPI, `k`."""
    common = 'id = "k"\nunit = "1"\n' + ('names = { en = "K" }\n' if names else "")
    return mistakes(f"{HEAD}[[kpi]] {'#!' if MARK not in body else ''}\n{common}{body}", languages)


OBSERVED = 'event = "ioc.indicator.observed.v1"\n'
COUNT = 'measure = "count"\nevent = "ioc.dossier.closed.v1"\n'
MEAN = 'measure = "mean"\nevent = "ioc.dossier.rated.v1"\nvalue = "score"\n'
RATIO = 'measure = "ratio"\nnumerator = "cameras"\ndenominator = "some.share"\n'

CASES = [
    # keys
    pytest.param(COUNT + 'dimension = ["agency"] #!', "`dimension` is not a key", "'dimensions'", id="an old key"),
    pytest.param(COUNT + "zzz = 1 #!", "`zzz` is not a key", "Use one of: id, names", id="a key like no other"),
    pytest.param('event = "ioc.dossier.closed.v1"', "`measure` is missing", "Add it", id="no measure"),
    pytest.param('measure = "totals" #!', "'totals' is not known", "Use one of: count, sum", id="no such measure"),
    pytest.param('measure = "summ" #!', "'summ' is not known", "Did you mean 'sum'", id="nearly a measure"),
    pytest.param(COUNT + 'freshness_s = "1" #!', "expected `int`, got `str`", "kind", id="text for a number"),
    pytest.param(COUNT + "freshness_s = 0 #!", "not above 0", "seconds", id="never fresh"),
    pytest.param(COUNT + 'direction = "up" #!', "'up' is not known", "higher, lower", id="no such direction"),
    pytest.param(MEAN + "pillar = 3 #!", "`pillar`: expected", "kind", id="a number for a text"),
    # what measures need, and what they have no use for
    pytest.param('measure = "count"', "measure count needs `event`", "Add", id="no event"),
    pytest.param(COUNT + 'period = "month" #!', "is about a moment", "Leave it out", id="a period of a moment"),
    pytest.param(OBSERVED + 'measure = "count"', "needs `period`", '"month"', id="reports of any length"),
    pytest.param(
        OBSERVED + 'measure = "count"\nperiod = "week" #!', "'week' is not known", "month", id="no such length"
    ),
    *(
        pytest.param(
            OBSERVED + f'period = "month"\nvalue = "value"\n{more}\nmeasure = "{measure}" #!',
            "counts a period again",
            "latest",
            id=f"a {measure} of reports",
        )
        for measure, more in (("sum", ""), ("mean", ""), ("max", ""), ("percentile", "q = 0.5"))
    ),
    pytest.param(COUNT + 'value = "procedure" #!', "no use for `value`", "Leave it out", id="a count of a value"),
    pytest.param(COUNT + "q = 0.5 #!", "no use for `q`", "Leave it out", id="a quantile of a count"),
    pytest.param(COUNT + "lookback_days = 7 #!", "no use for `lookback_days`", "Leave", id="a count that looks back"),
    pytest.param(COUNT + 'across = "sum" #!', "no use for `across`", "Leave", id="a count across"),
    pytest.param(
        'measure = "sum"\nevent = "ioc.dossier.rated.v1"',
        "sum needs `value` or `since`",
        "`since`",
        id="nothing to sum",
    ),
    pytest.param(
        'measure = "percentile"\nevent = "ioc.dossier.rated.v1"\nvalue = "score"', "needs `q`", "Add", id="which one?"
    ),
    pytest.param(
        'measure = "percentile"\nevent = "ioc.dossier.rated.v1"\nvalue = "score"\nq = 95 #!',
        "`q` is 95",
        "0.95",
        id="q in per cent",
    ),
    pytest.param(
        'measure = "within"\nevent = "ioc.feedback.answered.v1"\nsince = "opened_at"',
        "`within_s`",
        "Add",
        id="in what?",
    ),
    pytest.param(
        'measure = "within"\nevent = "ioc.feedback.answered.v1"\nsince = "opened_at"\nwithin_s = -1 #!',
        "not above 0",
        "seconds",
        id="in less than no time",
    ),
    pytest.param('measure = "in_time"\nevent = "ioc.dossier.closed.v1"', "needs `due`", "Add", id="no due"),
    pytest.param(
        'measure = "distinct"\nevent = "ioc.camera.detection.v1"', "needs `of`", "Add", id="different what?"
    ),
    pytest.param('measure = "ratio"\nnumerator = "cameras"', "needs `denominator`", "Add", id="half a ratio"),
    pytest.param(RATIO + 'event = "ioc.dossier.closed.v1" #!', "no use for `event`", "Leave", id="a ratio of events"),
    pytest.param(RATIO + "per = 0 #!", "`per` is not above 0", "1000", id="per nothing"),
    pytest.param('measure = "balance"\nplus = "closed"', "needs `minus`", "Add", id="half a balance"),
    pytest.param('measure = "silent"', "needs `of`", "Add", id="who is silent?"),
    pytest.param(
        'measure = "silent"\nof = "cameras"\nlookback_days = 401 #!',
        "`lookback_days` is 401",
        "400",
        id="too far back",
    ),
    # events and their fields
    pytest.param(
        'measure = "count"\nevent = "ioc.dossier.close.v1" #!', "not known", "'ioc.dossier.closed.v1'", id="an event"
    ),
    pytest.param(
        'measure = "sum"\nevent = "ioc.dossier.rated.v1"\nvalue = "scores" #!', "'scores'", "'score'", id="a field"
    ),
    pytest.param(
        'measure = "sum"\nevent = "ioc.dossier.rated.v1"\nvalue = "agency" #!',
        "holds a short word and not a number",
        "score",
        id="value is a text",
    ),
    pytest.param(
        'measure = "mean"\nevent = "ioc.feedback.closed.v1"\nsince = "category" #!',
        "not an instant",
        "opened_at, due_at",
        id="since is a text",
    ),
    pytest.param(
        'measure = "in_time"\nevent = "ioc.dossier.rated.v1"\ndue = "score" #!',
        "holds a number",
        "No field",
        id="due",
    ),
    pytest.param(
        'measure = "distinct"\nevent = "ioc.feedback.received.v1"\nof = "text" #!',
        "holds a text",
        "category",
        id="of",
    ),
    pytest.param(COUNT + 'dimensions = ["due_at"] #!', "holds an instant and not a short word", "agency", id="split"),
    pytest.param(COUNT + 'dimensions = ["complete"] #!', "does not have", "Use one of", id="an unknown dimension"),
    pytest.param(
        COUNT + 'dimensions = [\n"agency",\n"channel",\n"agenzy", #!\n]', "'agenzy'", "'agency'", id="one of several"
    ),
    pytest.param(COUNT + 'dimensions = ["agency", "agency"] #!', "named twice", "once", id="a dimension twice"),
    pytest.param(
        COUNT + 'dimensions = ["agency", "channel", "payment", "result"] #!', "4 dimensions", "3", id="too many"
    ),
    # filters
    pytest.param(COUNT + 'where = { chanel = "x" } #!', "'chanel'", "'channel'", id="filter: no such field"),
    pytest.param(COUNT + 'where = { channel = "phone" } #!', "never holds 'phone'", "online", id="filter: a word"),
    pytest.param(
        COUNT + 'where = { channel = ["desk", "onlin"] } #!',
        "never holds 'onlin'",
        "'online'",
        id="filter: one of words",
    ),
    pytest.param(
        COUNT + "[kpi.where]\nchannel.is_not = 'fax' #!", "never holds 'fax'", "online", id="filter: is not a word"
    ),
    pytest.param(COUNT + "where = { result_digitised = 1 } #!", "true or false", "true", id="filter: 1 for true"),
    pytest.param(COUNT + "where = { agency = true } #!", "compared with true", "text", id="filter: true for a text"),
    pytest.param(MEAN + 'where = { score = "4" } #!', "holds a number", "at_least", id="filter: a text for a number"),
    pytest.param(MEAN + "where = { score = true } #!", "holds a number", "at_least", id="filter: true for a number"),
    pytest.param(
        COUNT + "where = { agency = { at_least = 4 } } #!", "compares numbers", "text", id="filter: a limit of a text"
    ),
    pytest.param(
        MEAN + 'where = { score = { starts_with = "4" } } #!', "looks at texts", "number", id="filter: starts"
    ),
    pytest.param(COUNT + 'where = { due_at = "2026" } #!', "holds an instant", "given", id="filter: an instant"),
    pytest.param(COUNT + "where = { agency = {} } #!", "asks nothing", "given", id="filter: no test"),
    pytest.param(COUNT + "where = { agency = [] } #!", "no value", "Give one", id="filter: no words"),
    pytest.param(
        COUNT + "where = { agency = { at_leest = 4 } } #!",
        "`at_leest` is not a key",
        "'at_least'",
        id="filter: a test",
    ),
    pytest.param(
        COUNT + "[kpi.where]\nagency = 'a'\nchannel = [['desk']] #!", "'channel'", "kind", id="filter: lists of lists"
    ),
    pytest.param(COUNT + "where = [] #!", "array is empty", "Leave", id="filter: an empty array"),
    pytest.param(COUNT + "where = [{ agency = 'a' }, {}] #!", "every event", "Leave", id="filter: an empty table"),
    pytest.param(
        COUNT + "where = [ # either\n{ agency = 'a' }, # or\n{ agenci = 'b' }] #!",
        "'agenci'",
        "'agency'",
        id="filter: or",
    ),
    pytest.param(COUNT + "where = 3 #!", "`where`: expected", "kind", id="filter: no table"),
    pytest.param(COUNT + "where = { subject = 4 } #!", "'subject' holds a text", "text", id="filter: the envelope"),
    # references
    pytest.param(RATIO + "per = 1\n" + "", None, None, id="a ratio of two that are there"),
    pytest.param(
        'measure = "ratio"\nnumerator = "cameras"\ndenominator = "camera" #!',
        "'camera', which is not",
        "'cameras'",
        id="id",
    ),
    pytest.param(
        'measure = "ratio"\nnumerator = "k" #!\ndenominator = "cameras"',
        "circle: k → k",
        "feed",
        id="a ratio of itself",
    ),
    pytest.param(
        'measure = "balance"\nplus = "cameras" #!\nminus = "closed"',
        "which is a distinct, and not a count",
        "a sum",
        id="a balance of different ones",
    ),
    pytest.param(
        'measure = "balance"\nplus = "closed"\nminus = "k" #!', "circle: k → k", "feed", id="a balance of itself"
    ),
    pytest.param('measure = "silent"\nof = "some.share" #!', "not a distinct", "distinct", id="silent shares"),
    pytest.param(
        'measure = "ratio"\ndenominator = "cameras"\n[kpi.numerator]\nmeasure = "count"\nevent = "x" #!',
        "'x' is not known",
        "ioc.dossier",
        id="an operand's event",
    ),
    pytest.param(
        'measure = "ratio"\ndenominator = "cameras"\n[kpi.numerator]\nmeasure = "balance" #!\nevent = "x"',
        "cannot be a balance",
        "Make it a KPI",
        id="a derived operand",
    ),
    pytest.param(
        'measure = "ratio"\ndenominator = "cameras"\n[kpi.numerator] #!\nmeasure = "sum"\n'
        'event = "ioc.dossier.rated.v1"',
        "sum needs `value`",
        "`since`",
        id="an operand without a value",
    ),
    pytest.param(
        'measure = "ratio"\ndenominator = "cameras"\n[kpi.numerator]\nmeasure = "count"\n'
        'event = "ioc.dossier.closed.v1"\nwhere.chanel = "desk" #!',
        "'chanel'",
        "'channel'",
        id="an operand's filter",
    ),
    pytest.param(
        'measure = "ratio"\ndenominator = "cameras"\n[kpi.numerator]\nmeasure = "count"\n'
        'event = "ioc.dossier.closed.v1"\nid = "x" #!',
        "`id` is not a key",
        "Use one of",
        id="an operand's id",
    ),
    # goals
    pytest.param(COUNT + "thresholds = { warning = 1, bad = 2 } #!", "not the direction", "higher", id="which way?"),
    pytest.param(COUNT + "[[kpi.target]] #!\nvalue = 1", "not the direction", "higher", id="a target which way?"),
    pytest.param(
        COUNT + 'direction = "higher"\nthresholds = { warning = 1, bad = 2 } #!',
        "above",
        "Swap",
        id="thresholds, higher",
    ),
    pytest.param(
        COUNT + 'direction = "lower"\nthresholds = { warning = 2, bad = 2 } #!',
        "below",
        "Swap",
        id="thresholds, lower",
    ),
    pytest.param(COUNT + "thresholds = { warning = 1, badd = 2 } #!", "`badd`", "'bad'", id="a threshold's key"),
    pytest.param(COUNT + "thresholds = { warning = 1, bad = nan } #!", "nan", "finite", id="not a number"),
    pytest.param(
        COUNT + 'direction = "lower"\n[[kpi.target]]\nvalue = inf #!', "inf", "finite", id="as much as one likes"
    ),
    pytest.param(
        COUNT + 'direction = "lower"\n[[kpi.target]]\nvalue = 1\n[[kpi.target]]\nvalue = 2\nsince = 1 #!',
        "`since` is not a key",
        "value, area",
        id="a target's key",
    ),
    pytest.param(
        COUNT + 'direction = "lower"\n[[kpi.target]]\nvalue = 1\nstart = 2026-01-01\nend = 2026-01-01 #!',
        "not after its start",
        "first day",
        id="an empty period",
    ),
    pytest.param(
        COUNT
        + 'direction = "lower"\n[[kpi.target]]\nvalue = 1\narea = "1"\n[[kpi.target]] #!\nvalue = 2\narea = "1"',
        "an earlier target",
        "Leave",
        id="two targets of one scope",
    ),
    pytest.param(
        COUNT + 'direction = "lower"\n[[kpi.target]]\nvalue = 1\nstart = 2026-01-01T00:00:00 #!',
        "expected `date | null`",
        "kind",
        id="a target's time of day",
    ),
]


@pytest.mark.parametrize(("body", "reason", "fix"), CASES)
def test_a_mistake_is_told_once_with_its_line(body: str, reason: str | None, fix: str | None) -> None:
    found = told(body)
    if reason is None or fix is None:
        assert found == []
        return
    text = (
        f"{HEAD}[[kpi]] {'#!' if MARK not in body else ''}\n" + 'id = "k"\nunit = "1"\nnames = { en = "K" }\n' + body
    )
    line = next(number for number, written in enumerate(text.split("\n"), start=1) if MARK in written)
    at_line = [mistake for mistake in found if mistake.position == f"line {line}, kpi 'k'"]
    assert [mistake.file for mistake in at_line] == ["kpis.toml"], [str(mistake) for mistake in found]
    assert reason in at_line[0].reason
    assert fix in at_line[0].fix
    assert re.fullmatch(r"kpis\.toml: line \d+, kpi 'k': [^\n]+[^.]\. [^\n]+[.?]", str(at_line[0]))
    assert at_line == found


def test_a_value_and_a_time_cannot_both_be_measured() -> None:
    found = told('measure = "mean"\nevent = "ioc.feedback.closed.v1"\nsince = "opened_at"\nvalue = "category"')
    assert [mistake.reason for mistake in found] == [
        "`value` and `since` are both given",
        "`value` names 'category', which holds a short word and not a number",
    ]


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        pytest.param("\n[[kpi]", "line 2", "Expected", id="no TOML"),
        pytest.param('[[kpi]]\nid = "', "line 2", "string", id="no end"),
        pytest.param("\n\nkpi = 1", "line 3", "not an array of tables", id="kpi is no array"),
        pytest.param("[kpi]\nid = 1", "line 1", "not an array of tables", id="kpi is a table"),
        pytest.param("kpi = [\n1]", "line 2, kpi 1", "not a table", id="a kpi is no table"),
        pytest.param("[[kpi]]\n\n\n[[kpis]]", "line 1, kpi 1", "`id` is missing", id="an empty table comes first"),
        pytest.param("\n[[kpis]]\nid = 1", "line 2", "'kpis' is not a key", id="another table"),
        pytest.param("[[kpi]]\nid = 7", "line 2, kpi 1", "`id`: expected `str`", id="an id that is a number"),
    ],
)
def test_a_mistake_of_the_file(text: str, position: str, reason: str) -> None:
    first = mistakes(text)[0]
    assert (first.file, first.position) == ("kpis.toml", position)
    assert reason in first.reason
    with pytest.raises(SiteError) as caught:
        parse_kpis(text)
    assert str(caught.value) == str(first)


@pytest.mark.parametrize("id_", ["", "A", "a/b", "a b", "số", ".a", "a-b", "a" * 65, "a\n"])
def test_ids_that_are_refused(id_: str) -> None:
    text = f'[[kpi]]\nid = {id_!r}\nnames = {{ en = "K" }}\nunit = "1"\n{COUNT}'.replace("'", '"')
    assert [(m.position.split(",")[0], m.reason) for m in mistakes(text)] == [
        ("line 2", f"the id {id_!r} is not of the form that ids have")
    ]


@pytest.mark.parametrize(
    "names",
    [
        pytest.param("names = { vi = 'K' } #!", id="one is missing"),
        pytest.param("names = { vi = 'K', en = ' ' } #!", id="one is blank"),
        pytest.param("[kpi.names] #!\nvi = 'K'", id="in a table of their own"),
    ],
)
def test_names_are_wanted_in_every_language(names: str) -> None:
    found = told(COUNT + names, names=False, languages=("en",))
    assert [mistake.reason for mistake in found] == ["there is no name in 'en'"]


def test_an_id_is_used_once() -> None:
    one = f'[[kpi]]\nid = "k"\nnames = {{ en = "K" }}\nunit = "1"\n{COUNT}'
    assert [str(mistake) for mistake in mistakes(one + one)] == [
        "kpis.toml: line 8, kpi 'k': the id is used twice, first on line 2. Change one."
    ]


def ratio(id_: str, numerator: str, denominator: str) -> str:
    """A ratio of others."""
    return (
        f'[[kpi]]\nid = "{id_}"\nnames = {{ en = "R" }}\nunit = "1"\nmeasure = "ratio"\n'
        f'numerator = "{numerator}"\ndenominator = "{denominator}"\n'
    )


def test_circles_and_ratios_of_ratios() -> None:
    text = HEAD + ratio("a", "b", "cameras") + ratio("b", "cameras", "c") + ratio("c", "a", "cameras")
    text += ratio("d", "e", "cameras") + ratio("e", "cameras", "some.share")
    assert [mistake.reason for mistake in mistakes(text, ["en"])] == [
        "`numerator` goes round in a circle: a → b → c → a",
        "`denominator` goes round in a circle: b → c → a → b",
        "`numerator` goes round in a circle: c → a → b → c",
        "`numerator` names 'e', which is a ratio: a ratio of ratios does not add up over areas",
    ]


def test_every_kpi_with_a_mistake_is_told_in_the_order_of_the_file() -> None:
    bad = [f'[[kpi]]\nid = "k{n}"\nnames = {{ en = "K" }}\nunit = "1"\nmeasure = "nix{n}"\n' for n in range(20)]
    found = mistakes(HEAD + "".join(bad) + ratio("r", "k3", "gone"), ["en"])
    assert [mistake.position.split("'")[1] for mistake in found] == [*(f"k{n}" for n in range(20)), "r"]
    # What names one that is there but wrong is not wrong itself.
    assert found[-1].reason.startswith("`denominator` names 'gone'")


def test_a_catalogue_that_is_too_large_is_refused() -> None:
    one = '[[kpi]]\nid = "k{}"\nnames = {{ en = "K" }}\nunit = "1"\n' + COUNT
    full = "".join(one.format(n) for n in range(KPIS_MAX))
    assert len(parse_kpis(full).kpis) == KPIS_MAX
    found = mistakes(full + one.format("x"))
    assert [(m.position, m.reason) for m in found] == [(f"line {6 * KPIS_MAX + 1}, kpi 501", "there are 501 KPIs")]


KEYS = [field.name for field in msgspec.structs.fields(Kpi)]
SCALARS = [
    *(f'"{word}"' for word in ("k0", "k1", "ratio", "sum", "score", "agency", "due_at", "higher", "x\\n]", *Measure)),
    *("0", "1", "-1", "0.5", "nan", "inf", "true", "false", "2026-01-01", "2026-01-01T00:00:00Z", "1" + "0" * 400),
]


def written(value: object) -> str:
    """As TOML. Texts are TOML already."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {written(below)}" for key, below in value.items()) + "}"
    return "[" + ", ".join(map(written, value)) + "]" if isinstance(value, list) else str(value)


anything = st.recursive(
    st.sampled_from(SCALARS),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from([*KEYS, "is_not", "at_least", "warning", "bad", "score"]), below, max_size=3
        )
    ),
    max_leaves=5,
)
sound = {
    "id": st.sampled_from(['"k0"', '"k1"']),
    "names": st.just('{ en = "K" }'),
    "unit": st.just('"1"'),
    "measure": st.sampled_from([f'"{measure}"' for measure in Measure]),
    "event": st.just('"ioc.dossier.rated.v1"'),
}
others = st.dictionaries(st.sampled_from(KEYS), anything, max_size=4)


@given(st.lists(st.tuples(others, st.fixed_dictionaries(sound)).map(lambda two: two[1] | two[0]), max_size=3))
def test_whatever_the_file_says_is_a_catalogue_or_a_list_of_mistakes(tables: list[dict[str, object]]) -> None:
    text = "".join(
        "[[kpi]]\n" + "".join(f"{key} = {written(value)}\n" for key, value in table.items()) for table in tables
    )
    found = mistakes(text, ["en"], set())
    assert all("\n" not in str(mistake) for mistake in found)
    if found:
        with pytest.raises(SiteError, match=re.escape(str(found[0]))):
            parse_kpis(text, ["en"], set())
    else:
        assert len(parse_kpis(text, ["en"], set()).kpis) == len(tables)


GOOD = """
[[kpi]]
id = "dossiers.on_time"
names = { vi = "Đúng hạn", en = "On time" }
unit = "1"
measure = "in_time"
event = "ioc.dossier.closed.v1"
due = "due_at"
dimensions = ["agency", "channel", "result"]
direction = "higher"
thresholds = { warning = 0.95, bad = 0.9 }
target = [
  { value = 0.98 },
  { value = 0.9, area = "00004", start = 2026-01-01, end = 2027-01-01 },
  { value = 0.95, start = 2026-01-01 },
]
where = [
  { subject = { starts_with = "H" }, channel = ["online", "post"], due_at = { given = true } },
  { source = "one-stop", result = { is_not = "withdrawn" }, result_digitised = true },
]

[[kpi]]
id = "handling.median"
names = { vi = "Trung vị", en = "Median" }
unit = "s"
measure = "percentile"
event = "ioc.feedback.closed.v1"
since = "opened_at"
q = 0.5

[[kpi]]
id = "population"
names = { vi = "Dân số", en = "Population" }
unit = "1"
measure = "latest"
event = "ioc.indicator.observed.v1"
period = "month"
value = "value"
across = "mean"
dimensions = ["period"]
where = { indicator = "population", value = { at_least = 0, less_than = 1e9 } }

[[kpi]]
id = "per_1000"
names = { vi = "Trên 1000 dân", en = "Per 1000" }
unit = "1"
measure = "ratio"
per = 1000
denominator = "population"
[kpi.numerator]
measure = "within"
event = "ioc.feedback.answered.v1"
since = "opened_at"
within_s = 86400
where.channel = "phone"
"""


def test_a_good_catalogue_is_read() -> None:
    catalogue = parse_kpis(GOOD, ["vi", "en"], {"00004"})
    assert [kpi.id for kpi in catalogue.kpis] == ["dossiers.on_time", "handling.median", "population", "per_1000"]
    assert [base.id for base in catalogue.bases_of("per_1000")] == ["per_1000/numerator", "population"]
    assert catalogue.base("per_1000/numerator").measure is Measure.WITHIN
    assert mistakes(GOOD, ["vi", "en"]) == []


def test_the_examples_of_the_documents_have_no_mistake() -> None:
    examples = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    catalogue = parse_kpis("".join(examples), ["vi", "en"])
    # There is one of each measure but `min`, which is told with `max`.
    assert {kpi.measure for kpi in catalogue.kpis} == set(Measure) - {Measure.MIN}


@pytest.mark.parametrize("site", sorted(folder.name for folder in SITES.iterdir() if (folder / "kpis.toml").exists()))
def test_the_shipped_catalogues_have_no_mistake(site: str) -> None:
    assert mistakes((SITES / site / "kpis.toml").read_text(encoding="utf-8"), ["vi", "en"]) == []
