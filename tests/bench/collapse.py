"""From a perf.data file to what a capture tells of it, by the function that it calls: prints counts and what it took, as JSON."""

from __future__ import annotations

import json
import resource
import sys

from ansible_collections.fleet.stall.plugins.module_utils.capture import stacks

# As many in a long recording as in a short one: it is not to take more memory for what is not told of it
STALLS = 5
LENGTH_NS = 100_000_000


def main(path: str, hertz: str, begun_ns: str) -> int:
    """A stall each second from its beginning, on the first CPU."""
    starts = [int(begun_ns) + second * 10**9 for second in range(STALLS)]
    gaps = [{"start_ns": start, "end_ns": start + LENGTH_NS, "cpu": 0} for start in starts]
    found = stacks.read([path], gaps, 10**9 // int(hertz), {0})
    assert not found.problems, found.problems
    folded = {f"folded_{where}": sum(found.folded[where].values()) for where in ("gaps", "quiet")}
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"runs": len(found.runs), "holes": len(found.holes or []), **folded, "rss_kb": usage.ru_maxrss}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
