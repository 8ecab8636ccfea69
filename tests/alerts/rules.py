"""Which rules do the tests of several workers look at?"""

from tests.alerts.hall import rule

ABOVE_5 = "threshold = { above = 5, margin = 1 }"
EVENTS = 'event = "ioc.feedback.received.v1"\nby = "category"'
MANY = "".join(
    [
        rule(ABOVE_5, "hold_s = 60"),
        rule("threshold = { below = 2 }", id_="few", subject='kpi = "received"\nby = "category"'),
        rule("threshold = { below = 2 }", id_="few-events", subject=EVENTS),
        rule("absence = {}", "over = 2", id_="silent"),
        rule("change = { above = 1, below = -1, steps = 3 }", id_="change", subject='kpi = "response"'),
        rule(
            'deviation = { above = 2, below = -2, past = "recent", count = 6, values_min = 2 }',
            "clear_s = 60",
            id_="odd",
        ),
    ]
)
