"""How is SQL named?

A `.sql` file holds the statements of one concept. A line `-- name --` begins one; the comment lines after it say what
it guarantees. Statements that are alike for minutes, hours and days name the table `kpi_tier`.
"""

import re
from collections.abc import Sequence

from schemas.window import Tier

_PARAMETER = re.compile(r"\$(\d+)")

_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)


def parse_statements(text: str) -> dict[str, str]:
    """The statements of a file by name. What stands before the first name is the file's own comment."""
    _, *parts = _NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def for_tier(statement: str, tier: Tier) -> str:
    """The statement on the table of one tier; the three tables have the same columns."""
    return statement.replace("kpi_tier", f"kpi_{tier.value}")


def together(statements: Sequence[str]) -> str:
    """Several statements as one, which takes the parameters of all in their order; the last gives the rows.

    They see one moment, and no two may change the same row. On small batches it is the round trips that cost.
    """
    parts: list[str] = []
    shift = 0
    for statement in statements:
        by = shift
        parts.append(_PARAMETER.sub(lambda found, by=by: f"${int(found[1]) + by}", statement.rstrip().rstrip(";")))
        shift += max((int(number) for number in _PARAMETER.findall(statement)), default=0)
    *others, last = parts
    return f"WITH {', '.join(f'part_{at} AS ({one})' for at, one in enumerate(others))} {last}"
