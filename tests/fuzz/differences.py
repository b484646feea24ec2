#!/usr/bin/env python3
"""Prints docs/differences.md from differences.json, or checks that it is current.

usage: differences.py FILE | differences.py --check FILE"""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
COLUMNS = ("operation", "condition", "ours", "kernel", "reason", "fuzzer")
TITLES = ("Operation", "Condition", "fuss", "Kernel overlayfs", "Reason", "In the fuzzer")


def render():
    with open(os.path.join(HERE, "differences.json")) as f:
        entries = json.load(f)["differences"]
    seen = set()
    out = [
        "# Differences from kernel overlayfs, on purpose",
        "",
        "Printed from `tests/fuzz/differences.json` by `make differences`; edit that file. The"
        " differential",
        "fuzzer (`make fuzz`) reads the same list: whatever is not in it is a failure.",
        "",
        "| " + " | ".join(TITLES) + " |",
        "|" + " --- |" * len(TITLES),
    ]
    for entry in entries:
        missing = [c for c in COLUMNS + ("id",) if not entry.get(c)]
        if missing or entry["id"] in seen:
            sys.exit("differences.json: entry %r: missing %s or not unique" % (
                entry.get("id"), missing))
        seen.add(entry["id"])
        cells = [str(entry[c]).replace("|", "\\|") for c in COLUMNS]
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"


def main(argv):
    if len(argv) == 2 and argv[0] == "--check":
        try:
            with open(argv[1]) as f:
                current = f.read() == render()
        except FileNotFoundError:
            current = False
        if not current:
            sys.exit("%s is not current: run make differences" % argv[1])
    elif len(argv) == 1:
        text = render()
        with open(argv[0], "w") as f:
            f.write(text)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
