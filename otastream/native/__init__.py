"""The only package that touches the cffi extension: small typed wrappers around the C core.

Every C call releases the GIL. Negative statuses of C become the errors of ``otastream.errors``; nothing else of C
shows: no pointer, no cffi object leaves this package.
"""

from otastream.native.coders import Coder, Gnuzip, gnuzip_size
from otastream.native.common import WINDOW, Buffer, Xxh64, error_list, extension, xxh64
from otastream.native.decode import BytesSource, Decoder, FileSource, PayloadViews, Source
from otastream.native.differ import (
    PARTS,
    SKETCH,
    DiffStats,
    XrefOptions,
    XrefStats,
    diff_bsdiff,
    diff_bsdiff_part,
    diff_pieces,
    diff_xref,
    diff_xref_pieces,
    encode_pieces,
    encode_xref_units,
    holds_any,
    programs,
    sketch,
    xref_suits,
    xref_workspace,
)
from otastream.native.executor import (
    ExecOptions,
    Executor,
    Phase,
    Report,
    Slot,
    SlotAction,
    SlotStatus,
    Tick,
    slots,
)

__all__ = [
    "PARTS",
    "SKETCH",
    "WINDOW",
    "Buffer",
    "BytesSource",
    "Coder",
    "Decoder",
    "DiffStats",
    "ExecOptions",
    "Executor",
    "FileSource",
    "Gnuzip",
    "PayloadViews",
    "Phase",
    "Report",
    "Slot",
    "SlotAction",
    "SlotStatus",
    "Source",
    "Tick",
    "XrefOptions",
    "XrefStats",
    "Xxh64",
    "diff_bsdiff",
    "diff_bsdiff_part",
    "diff_pieces",
    "diff_xref",
    "diff_xref_pieces",
    "encode_pieces",
    "encode_xref_units",
    "error_list",
    "extension",
    "gnuzip_size",
    "holds_any",
    "programs",
    "sketch",
    "slots",
    "xref_suits",
    "xref_workspace",
    "xxh64",
]
