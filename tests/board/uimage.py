"""ARM kernels as the emulator likes them: unpacked on the host and wrapped for U-Boot's header, which starts faster and
needs less memory than letting the emulated CPU decompress."""

from __future__ import annotations

import lzma
import struct
import zlib

_XZ = b"\xfd7zXZ\0"
_MAGIC, _OS_LINUX, _CPU_ARM, _TYPE_KERNEL, _COMPRESSION_NONE = 0x27051956, 5, 2, 2, 0
TEXT_OFFSET = 0x208000
"""Where Debian's armmp kernel wants to be, from the start of RAM; at the usual 0x8000 it hangs without a word."""


def unpacked(zimage: bytes) -> bytes:
    """The kernel proper: the first xz stream in the zImage that decodes."""
    at = zimage.find(_XZ)
    while at >= 0:
        try:
            return lzma.LZMADecompressor().decompress(zimage[at:])
        except lzma.LZMAError:
            at = zimage.find(_XZ, at + 1)
    raise ValueError("no xz stream in this zImage")


def wrap(image: bytes, ram: int) -> bytes:
    """An uncompressed uImage to be loaded and entered at ram + TEXT_OFFSET."""
    load = ram + TEXT_OFFSET
    kinds = (_OS_LINUX, _CPU_ARM, _TYPE_KERNEL, _COMPRESSION_NONE)

    def head(checksum: int) -> bytes:
        words = (_MAGIC, checksum, 0, len(image), load, load, zlib.crc32(image))
        return struct.pack(">7I4B32s", *words, *kinds, b"linux")

    return head(zlib.crc32(head(0))) + image
