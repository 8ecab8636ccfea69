"""How were the demo's files made from the originals?

    python deploy/sites/boston/demo/derive.py ORIGINALS

ORIGINALS is a folder with `citizen311/` and `metrics/nab/` as README.md beside this file describes them. Rows and
columns are left out, never changed, and the output is the same each time, byte for byte.
"""

import csv
import gzip
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parent

CASES = "citizen311/boston_311_2011H2_sla.csv.gz"
# Three whole weeks, Monday to Sunday, with the hurricane of 28 August 2011 in them.
CASES_FROM, CASES_BEFORE = "2011-08-22", "2011-09-12"
# Neither addresses nor texts that people typed.
CASE_COLUMNS = (
    *("case_enquiry_id", "open_dt", "target_dt", "closed_dt", "ontime", "reason", "type", "department"),
    *("neighborhood", "latitude", "longitude", "source"),
)

CLOUDWATCH = (
    ("realAWSCloudwatch/elb_request_count_8c0756.csv", "elb-8c0756", "request_count", "1"),
    ("realAWSCloudwatch/ec2_cpu_utilization_825cc2.csv", "ec2-825cc2", "cpu_utilization", "%"),
    ("realAWSCloudwatch/rds_cpu_utilization_e47b3b.csv", "rds-e47b3b", "cpu_utilization", "%"),
    ("realAWSCloudwatch/ec2_network_in_257a54.csv", "ec2-257a54", "network_in", "By"),
)
TRAFFIC = (
    ("realTraffic/speed_6005.csv", "road-6005", "speed", "[mi_i]/h"),
    ("realTraffic/speed_t4013.csv", "road-t4013", "speed", "[mi_i]/h"),
    ("realTraffic/occupancy_6005.csv", "road-6005", "occupancy", "%"),
    ("realTraffic/occupancy_t4013.csv", "road-t4013", "occupancy", "%"),
    ("realTraffic/TravelTime_387.csv", "route-387", "travel_time", "s"),
    ("realTraffic/TravelTime_451.csv", "route-451", "travel_time", "s"),
)
TRAFFIC_FROM = "2015-09-01"  # two of the series begin long before the others


def main(originals: Path) -> None:
    """Writes the three files beside this one."""
    write(HERE / "boston_311.csv.gz", CASE_COLUMNS, cases(originals / CASES))
    nab = originals / "metrics" / "nab"
    write(
        HERE / "cloudwatch.csv.gz",
        ("sampled_at", "service", "metric", "unit", "value"),
        sorted(row for series in CLOUDWATCH for row in samples(nab, *series)),
    )
    write(
        HERE / "traffic.csv.gz",
        ("sampled_at", "sensor", "metric", "unit", "value"),
        sorted(row for series in TRAFFIC for row in samples(nab, *series) if row[0] >= TRAFFIC_FROM),
    )


def cases(original: Path) -> Iterator[tuple[str, ...]]:
    """The cases opened in the three weeks, in the original's order."""
    with gzip.open(original, "rt", encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            if CASES_FROM <= row["open_dt"] < CASES_BEFORE:
                yield tuple(row[column] for column in CASE_COLUMNS)


def samples(folder: Path, file: str, name: str, metric: str, unit: str) -> Iterator[tuple[str, ...]]:
    """The samples of one series, with the series' name, metric and unit beside each."""
    with (folder / file).open(encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            yield row["timestamp"], name, metric, unit, row["value"]


def write(file: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes a gzipped table whose bytes depend on its content alone."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    file.write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0))
    print(f"{file.name}: {text.getvalue().count(chr(10)) - 1} rows, {file.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
