#!/usr/bin/env python3
"""Dynamic inventory of the lab that was raised last in this checkout (`make lab-up`)."""

import json
import os
import sys

CURRENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".lab", "current")


def main():
    if "--host" in sys.argv:
        print(json.dumps({}))
        return 0
    try:
        with open(os.path.join(CURRENT, "inventory.json")) as listing:
            print(listing.read())
    except FileNotFoundError:
        print("no lab is up: run `make lab-up` (as root)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
