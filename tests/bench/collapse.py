"""From a perf.data file to the runs of each CPU in time order: prints how many there are and what it took, as JSON."""

from __future__ import annotations

import json
import resource
import sys

from ansible_collections.fleet.stall.plugins.module_utils.profile import kallsyms, perfdata, runs, sample


def main(path: str, hertz: str) -> int:
    counts = sample.Counts()
    with open(path, "rb") as stream:
        samples = perfdata.in_time_order(stream, kallsyms.Symbols.load(), counts)
        number = sum(1 for _ in runs.stream(samples, 1000000000 // int(hertz)))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"runs": number, "samples": counts.samples, "rss_kb": usage.ru_maxrss}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
