"""Where is the dashboard's SQL?"""

from importlib.resources import files

from schemas.statements import parse_statements


def load_statements(concept: str) -> dict[str, str]:
    """The statements of `<concept>.sql`."""
    return parse_statements((files("dashboard_api") / f"{concept}.sql").read_text())
