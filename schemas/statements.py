"""How is SQL named?

A `.sql` file holds the statements of one concept. A line `-- name --` begins one; the comment lines after it say what
it guarantees. Statements that are alike for minutes, hours and days name the table `kpi_tier`.
"""

import re

from schemas.window import Tier

_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)


def parse_statements(text: str) -> dict[str, str]:
    """The statements of a file by name. What stands before the first name is the file's own comment."""
    _, *parts = _NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def for_tier(statement: str, tier: Tier) -> str:
    """The statement on the table of one tier; the three tables have the same columns."""
    return statement.replace("kpi_tier", f"kpi_{tier.value}")
