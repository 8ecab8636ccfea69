"""Which statements keep what alert rules hold?"""

from importlib.resources import files

from schemas.statements import parse_statements

SQL = parse_statements((files("streams.alerts") / "alerts.sql").read_text())
