"""How is `series.json.xz` made? From a copy of the Numenta Anomaly Benchmark: `python derive.py NAB_FOLDER`.

Of each file: when it begins, the seconds from each point to the next, the values to five digits, and the labelled
windows, all in the file's own time.
"""

import csv
import json
import lzma
import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def main() -> None:
    """Writes the file."""
    folder = Path(sys.argv[1])
    windows: dict[str, list[list[str]]] = json.loads((folder / "labels" / "combined_windows.json").read_text())
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("real*/*.csv")):
        name = f"{path.parent.name}/{path.name}"
        with path.open(newline="") as file:
            rows = [(datetime.fromisoformat(time), float(value)) for time, value in list(csv.reader(file))[1:]]
        times = [time for time, _ in rows]
        found[name] = {
            "begin": times[0].isoformat(),
            "gaps_s": [int((b - a).total_seconds()) for a, b in pairwise(times)],
            "values": [float(f"{value:.5g}") for _, value in rows],
            "windows": windows[name],
        }
    raw = json.dumps(found, separators=(",", ":")).encode()
    (HERE / "series.json.xz").write_bytes(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main()
