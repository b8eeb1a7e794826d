"""Numbers for people and for programs: tables, ratios, files of results."""

import datetime
import json
import math
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench/results"


def paired_ratio(over, under):
    """The median of the ratios of samples taken beside each other, which the host's drifting speed does not touch."""
    return median([a / b for a, b in zip(over, under)])


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def spread(values):
    """How far apart the samples are, as a part of their median."""
    return (max(values) - min(values)) / median(values)


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def number(value):
    """Three digits that count; None is what could not be measured."""
    if value is None:
        return "-"
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def nanoseconds(value):
    """The same, but a millisecond and more as such."""
    return number(value) if value is None or value < 1e6 else f"{number(value / 1e6)} ms"


class Table:
    """Prints each line as soon as it is known. Columns are (heading, width); a negative width is flush left."""

    def __init__(self, *columns):
        self.widths = [width for _, width in columns]
        self.line(*(heading for heading, _ in columns))

    def line(self, *cells):
        padded = [cell.ljust(-width) if width < 0 else cell.rjust(width) for cell, width in zip(cells, self.widths)]
        print("  ".join(padded).rstrip(), flush=True)


def write_json(kind, results, path=None):
    """Returns the path: the given one, or bench/results/DATE-COMMIT-KIND.json, which no two minutes share."""
    now = datetime.datetime.now().astimezone()
    commit = current_commit()
    path = pathlib.Path(path) if path else RESULTS / f"{now:%Y%m%dT%H%M}-{commit}-{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"bench": kind, "date": now.isoformat(timespec="seconds"), "commit": commit, "host": host(), **results}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def check_writable(path):
    """Raises OSError now, not when everything was measured."""
    with open(path, "a", encoding="utf-8"):
        pass


def current_commit():
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def host():
    models = [line.split(":", 1)[1].strip() for line in read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    return {"cpu": models[0] if models else "unknown", "cpus": os.cpu_count(), "linux": os.uname().release, "load": os.getloadavg()}


def read(path):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
