"""How is an area named?"""

from typing import NewType

AreaCode = NewType("AreaCode", str)
"""A code in an area code list. Codes are strings with leading zeros; a code means nothing without its list."""

AreaId = NewType("AreaId", str)
"""The centre's own name of one version of an area. Codes are reused when a map is redrawn; this never is."""
