"""Debian's ARM kernel in a form that the emulator starts fast.

A zImage unpacks itself, on the emulated processor. Here the host does that, and the kernel goes into an uncompressed
uImage (U-Boot's legacy image: include/image.h there), which the emulator puts where its head says. Debian's
multi-platform kernel is linked to run at 0x208000 from the start of RAM.
"""

from __future__ import annotations

import lzma
import struct
import zlib

TEXT_OFFSET = 0x208000
XZ_MAGIC = b"\xfd7zXZ\0"
UIMAGE_MAGIC = 0x27051956
OS_LINUX, ARCH_ARM, TYPE_KERNEL, COMP_NONE = 5, 2, 2, 0
_HEAD = struct.Struct(">7I4B32s")


def unpack(zimage: bytes) -> bytes:
    """The kernel inside a zImage: the first xz stream in it that decodes. ValueError: there is none."""
    at = zimage.find(XZ_MAGIC)
    while at >= 0:
        try:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(zimage[at:])
        except lzma.LZMAError:  # the magic also stands in the code that unpacks
            at = zimage.find(XZ_MAGIC, at + 1)
    raise ValueError("no xz stream in this zImage")


def uimage(kernel: bytes, ram: int) -> bytes:
    """Wrap it for a machine whose RAM starts there."""
    start = ram + TEXT_OFFSET

    def head(own_sum: int) -> bytes:
        values = (UIMAGE_MAGIC, own_sum, 0, len(kernel), start, start, zlib.crc32(kernel))
        return _HEAD.pack(*values, OS_LINUX, ARCH_ARM, TYPE_KERNEL, COMP_NONE, b"linux")

    return head(zlib.crc32(head(0))) + kernel
