"""Rows that two guests are asked for in turn: each sample is a number, and which is better is known of the row."""

import dataclasses
import fnmatch
import time

import engines
import report
from debian_guests import Failure, Guests

SKERRY, TCG = "skerry", "tcg"


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    unit: str
    more_is_better: bool
    sample: object  # (guests, name of the engine) -> a number

    def gain(self, skerry, tcg):
        """How many times as good as TCG: of samples taken beside each other."""
        return report.paired_ratio(skerry, tcg) if self.more_is_better else report.paired_ratio(tcg, skerry)


def run(kind, rows, options, settle=0):
    """Measures those of the rows that were asked for, in both guests after `settle` seconds; the result is an exit status."""
    wanted = [row for row in rows if any(fnmatch.fnmatchcase(row.name, pattern) for pattern in options.rows)]
    if not wanted:
        raise engines.CannotMeasure("no row has such a name", f"These are there: {', '.join(row.name for row in rows)}")
    with Guests(options) as guests:
        if settle:
            print(f"waiting {settle:g} s for both to come to rest", flush=True)
            time.sleep(settle)
        return _finish(kind, guests, _measure(wanted, guests, options.rounds), options)


def _measure(rows, guests, rounds):
    """Prints each row as it comes; returns what goes to the JSON."""
    print()
    table = report.Table(("row", -18), ("unit", -8), ("skerry", 10), ("tcg", 10), ("times as good", 13), ("spread", 6))
    results = []
    for row in rows:
        samples, failed = {SKERRY: [], TCG: []}, {}
        for _ in range(rounds):
            for name in (SKERRY, TCG):
                try:
                    if name not in failed:
                        samples[name].append(row.sample(guests, name))
                except Failure as problem:
                    failed[name] = str(problem)
        gain = row.gain(samples[SKERRY], samples[TCG]) if not failed else None
        medians = {name: report.median(taken) if taken else None for name, taken in samples.items()}
        spread = max((report.spread(taken) for taken in samples.values() if taken), default=0)
        table.line(row.name, row.unit, report.number(medians[SKERRY]), report.number(medians[TCG]), report.number(gain), f"{spread:.0%}")
        for name, problem in failed.items():
            print(f"  {name} failed: {problem}", flush=True)
        results.append({"name": row.name, "unit": row.unit, "more_is_better": row.more_is_better, "samples": samples, "median": medians,
                        "gain": gain, "failed": failed})
    gains = [result["gain"] for result in results if result["gain"]]
    mean = report.geometric_mean(gains)
    print(f"\ngeometric mean: {report.number(mean)} times as good as TCG; the worst row: {report.number(min(gains, default=None))}")
    return {"rows": results, "mean": mean}


def _finish(kind, guests, results, options):
    commands = {engine.name: {"version": engine.version, "command": guests.commands[engine.name]} for engine in guests.engines}
    settings = {"cpus": options.cpus, "seconds": options.seconds, "rounds": options.rounds}
    path = report.write_json(kind, {"settings": settings, "engines": commands, **results}, options.json)
    print(f"written to {path}")
    return 1 if any(row["failed"] for row in results["rows"]) else 0
