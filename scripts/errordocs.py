"""Write docs/errors.md from the error list.

python -m scripts.errordocs docs/errors.md
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from otastream.errors import Code

# What to do about it, by who must act and, where there is more to say, by code.
ACT: Final = {
    "caller": "Whoever started the program: change the command, the configuration or the input.",
    "package": "Whoever made or carried the package: send it again, or make it again.",
    "trust": "Whoever signs packages and puts keys on boards.",
    "mismatch": "Package and board do not belong together: choose the package that was made for what is on this board.",
    "device": "The board or its media: free space or memory, remount, or replace the flash.",
}
HELP: Final = {
    Code.USAGE: "`--help` lists what the command takes.",
    Code.CONFIG: "The message names the key and the nearest known one.",
    Code.CHANGED: "Pack from a folder that nobody writes to.",
    Code.LOCKED: "Wait for the other one; the lock goes with its process.",
    Code.CANCELLED: "Run the same package again to finish.",
    Code.TRUNCATED: "Send the package again.",
    Code.CORRUPT: "Send the package again.",
    Code.UNSUPPORTED: "Update the applier, or pack without the feature that the message names.",
    Code.LIMIT: "Limits: `docs/SPEC.md` section 8.",
    Code.SCRIPT: "The message gives its exit code. The end script still ran, with `OTA_STATUS=-1`.",
    Code.BEGIN_SCRIPT: "The message gives its exit code. The end script still ran, with `OTA_STATUS=-1`.",
    Code.END_SCRIPT: "The update itself is complete.",
    Code.TARGET: "Nothing was written if this comes from preflight. The message names the target.",
    Code.MISSING: "The message names the target or source. If it is old content that an update in place kept in the "
    "temporary folder, running it again cannot help: take a package with the whole image of that target.",
    Code.RESULT: "Run the same package again; if it comes back, the package was made wrong.",
    Code.SPACE: "The message says how much is needed and how much is there.",
    Code.RAM: "Stop programs, or pack for less memory.",
    Code.VERIFY: "Run the same package again; if it comes back, the medium is worn out.",
    Code.INTERNAL: "With the message and, if possible, the package.",
}


def page() -> str:
    """The whole page as Markdown."""
    lines = [
        "# Errors and exit codes",
        "",
        "Every failure has a name, a number and somebody who must act. The number is the exit code of every program of",
        "this project, in Python and in C; 0 is success and 1 is never used. Numbers are part of the interface: they",
        "are added to, never changed. This page is written by `make docs` from the error list.",
    ]
    for who, act in ACT.items():
        lines += [
            "",
            f"## {who}",
            "",
            act,
            "",
            "| exit code | name | meaning | what helps |",
            "| ---: | --- | --- | --- |",
        ]
        lines += [f"| {c.value} | `{c.name}` | {c.text} | {HELP.get(c, '')} |" for c in Code if c.who == who]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
