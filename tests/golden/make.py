"""Write the golden packages: ``python -m golden.make`` in the folder tests.

``good/`` must be accepted by every reader, ``bad/`` refused with the error that the name begins with. ``index.json``
says the same for programs: {file: {"error": code name or null, "sha256": of the file, "records": number of records}};
"payload" marks errors that show only when a payload is decoded, "compressed" the files whose bytes depend on the
version of a compression library.
"""

from __future__ import annotations

import hashlib
import json
from itertools import chain
from pathlib import Path
from typing import Any

from golden import bad_packages, builder, good_packages, views, views_in_place

FOLDER = Path(__file__).parent
COMPRESSED = {
    *("gzip-window-9", "gzip-window-15", "zstd-window-10", "zstd-window-17", "zstd-window-27"),
    *("lzma-window-12", "lzma-window-18", "lzma-window-27", "lzma-properties"),
    *("outer-gzip", "outer-zstd", "codec-gzip-window", "codec-lzma-window"),
    *("codec-lzma-no-properties", "codec-lzma-properties"),
}


PAYLOADS = {name for name, _ in (*views.bad(), *views_in_place.bad())}


def packages() -> dict[str, bytes]:
    """All files: name beneath this folder -> bytes."""
    made: dict[str, bytes] = {}
    pairs_of = (
        ("good", chain(good_packages.packages(), views.good(), views_in_place.good())),
        ("bad", chain(bad_packages.packages(), views.bad(), views_in_place.bad())),
    )
    for folder, pairs in pairs_of:
        for name, data in pairs:
            key = f"{folder}/{name}.ota"
            if key in made:
                raise ValueError(f"{key} is made twice")
            made[key] = data
    return made


def entry(name: str, data: bytes) -> dict[str, Any]:
    """What the index says about a file."""
    folder, stem = name.removesuffix(".ota").split("/")
    error = None if folder == "good" else stem.split("-")[0].upper()
    about: dict[str, Any] = {"error": error, "sha256": hashlib.sha256(data).hexdigest()}
    if error is None:
        about["records"] = builder.count_records(data)
    if error == "DELTA" or stem in PAYLOADS:
        about["payload"] = True
    if stem in COMPRESSED:
        about["compressed"] = True
    return about


def main() -> None:
    made = packages()
    for folder in ("good", "bad"):
        (FOLDER / folder).mkdir(exist_ok=True)
        for old in (FOLDER / folder).glob("*.ota"):
            old.unlink()
    for name, data in made.items():
        (FOLDER / name).write_bytes(data)
    index = {name: entry(name, data) for name, data in sorted(made.items())}
    (FOLDER / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
