"""The layout of a package: a table of what it does to which target, to be kept beside a release."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import click

from otastream import model
from otastream.cli import _describe, _output
from otastream.errors import Code, error
from otastream.inspection import inspect_package


def rows(package: str) -> Iterator[tuple[str, str, str, str]]:
    """index from 1, label (or what is done), targets separated by spaces, mask of those that are written.

    One row for each record that is executed. Errors: those of reading a package.
    """
    index = 0
    for entry in inspect_package(package).entries:
        record = entry.record
        if not isinstance(record, model.Action):
            continue
        index += 1
        targets: tuple[bytes, ...] = getattr(record, "targets", ())
        mask: int | None = getattr(record, "mask", None)
        where = " ".join(map(_output.shown, targets)) if targets else _describe.where(record)
        what = _output.printable(record.label) if record.label else _describe.what(record)
        yield str(index), what, where, hex((1 << max(1, len(targets))) - 1 if mask is None else mask)


def write(package: str, path: str) -> None:
    """Write the rows as CSV without a heading; path ``-`` is stdout. OUTPUT: that failed; nothing is left half done."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows(package))
    try:
        with click.open_file(path, "w", encoding="utf-8", atomic=path != "-") as file:
            file.write(text.getvalue())
    except OSError as failure:
        raise error(Code.OUTPUT, failure.strerror or str(failure), target=path) from failure
