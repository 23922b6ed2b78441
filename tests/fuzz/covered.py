"""What a fuzz target reaches of the files it is for: ``python -m tests.fuzz.covered TARGET INPUTS FILE...``.

Reads ``llvm-cov export -summary-only`` from stdin; ``make fuzz-coverage`` runs it for each target.
"""

from __future__ import annotations

import json
import os
import sys


def main(target: str, inputs: str, *files: str) -> None:
    found = {}
    for file in json.load(sys.stdin)["data"][0]["files"]:
        found[os.path.relpath(os.path.normpath(file["filename"]))] = file["summary"]["lines"]
    total = covered = 0
    for name in files:
        lines = found[name]
        total, covered = total + lines["count"], covered + lines["covered"]
        missed = lines["count"] - lines["covered"]
        short = name.removeprefix("csrc/")
        print(f"{target:9} {inputs:>7}  {short:24} {lines['count']:6} {missed:6} {lines['percent']:5.1f}")
    if len(files) > 1:
        print(f"{target:9} {inputs:>7}  {'together':24} {total:6} {total - covered:6} {100 * covered / total:5.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
