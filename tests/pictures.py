"""Pictures for the display's tests, made without an imaging library, and screens read back."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Pixel = tuple[int, int, int]
Paint = Callable[[int, int], Pixel]
"""Colour at x, y."""

# ---- PNG ---------------------------------------------------------------------------------------------------------

PNG_MARK = b"\x89PNG\r\n\x1a\n"
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, lines: bytes, *, interlaced: bool = False, depth: int = 8, kind: int = 2) -> bytes:
    """From filtered lines as PNG has them inside; kind 2 is RGB."""
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    return PNG_MARK + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def png(width: int, height: int, paint: Paint, *, interlaced: bool = False) -> bytes:
    """8-bit RGB."""
    lines = bytearray()
    for x0, y0, dx, dy in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        if x0 < width:
            for y in range(y0, height, dy):
                lines += b"\0" + b"".join(bytes(paint(x, y)) for x in range(x0, width, dx))
    return png_of(width, height, bytes(lines), interlaced=interlaced)


def read_png(data: bytes) -> Screen:
    """One of those that `Screen.png` makes: 8-bit RGB, no filters."""
    width, height = struct.unpack_from(">II", data, 16)
    at, packed = len(PNG_MARK), b""
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + size]
        at += size + 12
    lines, step = zlib.decompress(packed), width * 3 + 1
    return Screen(width, height, [lines[y + 1 : y + step] for y in range(0, height * step, step)])


# ---- JPEG (ITU-T T.81): flat blocks, which need no more than the first coefficient ----------------------------------

_DC_COUNTS = bytes((0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0))  # the usual table for brightness, its K.3
_QUANTUM = 8  # so that the first coefficient is 8 times the mean / 8


def _dc_codes() -> dict[int, str]:
    codes, code, symbol = {}, 0, 0
    for length, count in enumerate(_DC_COUNTS, 1):
        for _ in range(count):
            codes[symbol] = f"{code:0{length}b}"
            code, symbol = code + 1, symbol + 1
        code <<= 1
    return codes


def _segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def jpeg(
    columns: int, rows: int, paint: Paint, *, progressive: bool = False, size: tuple[int, int] | None = None
) -> bytes:
    """Blocks of 8 x 8 pixels, each of one colour. size: what the head says instead."""
    codes, before = _dc_codes(), [0, 0, 0]
    bits = ""
    for row in range(rows):
        for column in range(columns):
            r, g, b = paint(column, row)
            y = 0.299 * r + 0.587 * g + 0.114 * b
            levels = (round(y) - 128, round((b - y) / 1.772), round((r - y) / 1.402))
            for i, level in enumerate(levels):
                change, before[i] = level - before[i], level
                length = abs(change).bit_length()
                bits += codes[length]
                if length:
                    bits += f"{change if change > 0 else change + (1 << length) - 1:0{length}b}"
                bits += "" if progressive else "0"  # end of block
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    width, height = size or (columns * 8, rows * 8)
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"".join(bytes((i, 0x11, 0)) for i in (1, 2, 3))
    scan = bytes((3, 1, 0, 2, 0, 3, 0, 0, 0 if progressive else 63, 0))
    return b"".join((
        b"\xff\xd8", _segment(0xDB, b"\0" + bytes((_QUANTUM,)) * 64), _segment(0xC2 if progressive else 0xC0, frame),
        _segment(0xC4, b"\0" + _DC_COUNTS + bytes(range(12))), _segment(0xC4, b"\x10" + bytes((1, *[0] * 15)) + b"\0"),
        _segment(0xDA, scan), data, b"\xff\xd9",
    ))  # fmt: skip


# ---- screens -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layout:
    """bits a pixel; offset and length of red, green and blue; the name that --geometry knows."""

    name: str
    bits: int
    fields: Sequence[tuple[int, int]]


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("rgb565", 16, ((11, 5), (5, 6), (0, 5))),
        Layout("xrgb1555", 16, ((10, 5), (5, 5), (0, 5))),
        Layout("bgr888", 24, ((0, 8), (8, 8), (16, 8))),
        Layout("rgb888", 24, ((16, 8), (8, 8), (0, 8))),
        Layout("xrgb8888", 32, ((16, 8), (8, 8), (0, 8))),
        Layout("rgbx8888", 32, ((24, 8), (16, 8), (8, 8))),
    )
}


@dataclass(frozen=True, slots=True)
class Screen:
    """What a screen shows, as it lies."""

    width: int
    height: int
    rows: Sequence[bytes]  # RGB

    def at(self, x: int, y: int) -> Pixel:
        r, g, b = self.rows[y][x * 3 : x * 3 + 3]
        return r, g, b

    def pixels(self, y: int) -> Iterator[Pixel]:
        """Of one row."""
        row = iter(self.rows[y])
        return zip(row, row, row, strict=True)

    def seen(self, rotate: int) -> Screen:
        """As the viewer sees it, when bars and text were turned so."""
        screen = self
        for _ in range(rotate):  # a quarter turn back
            across, down = range(screen.height), range(screen.width)
            rows = [b"".join(bytes(screen.at(screen.width - 1 - y, x)) for x in across) for y in down]
            screen = Screen(screen.height, screen.width, rows)
        return screen

    def png(self) -> bytes:
        return png_of(self.width, self.height, b"".join(b"\0" + row for row in self.rows))


def read_screen(path: Path, width: int, height: int, layout: Layout, stride: int | None = None) -> Screen:
    """A framebuffer's memory."""
    data, step = path.read_bytes(), layout.bits // 8
    stride = stride or width * step
    known: dict[bytes, bytes] = {}  # few colours, many pixels

    def colour(pixel: bytes) -> bytes:
        if pixel not in known:
            value = int.from_bytes(pixel, "little")
            known[pixel] = bytes((value >> at & (1 << n) - 1) * 255 // ((1 << n) - 1) for at, n in layout.fields)
        return known[pixel]

    starts = range(0, height * stride, stride)
    rows = [b"".join(colour(data[at : at + step]) for at in range(y, y + width * step, step)) for y in starts]
    return Screen(width, height, rows)


def read_ppm(data: bytes) -> Screen:
    """A screen dump of the emulator (binary PPM)."""
    kind, width, height, top, pixels = data.split(maxsplit=4)
    if (kind, top) != (b"P6", b"255"):
        raise ValueError("not such a PPM")
    w, h = int(width), int(height)
    pixels = data[len(data) - w * h * 3 :]  # the first pixels may look like white space
    return Screen(w, h, [pixels[y * w * 3 : (y + 1) * w * 3] for y in range(h)])


# ---- a picture to update by ----------------------------------------------------------------------------------------


def upgrade_picture(width: int, height: int) -> Paint:
    """A camera in front of a dark sky: what a maker would put behind the bars. Flat colours, so that it packs well."""
    unit = min(width, height) / 100
    middle, level = width / 2, height * 0.38
    rings = ((15, (20, 28, 44)), (17, (196, 206, 220)), (8, (46, 108, 178)), (5, (24, 58, 110)))

    def paint(x: int, y: int) -> Pixel:
        dx, dy = (x - middle) / unit, (y - level) / unit
        far = (dx * dx + dy * dy) ** 0.5
        if ((dx + 2.5) ** 2 + (dy + 2.5) ** 2) ** 0.5 < 1.6:
            return 226, 236, 250  # light on the lens
        for size, colour in ((5, rings[3][1]), (8, rings[2][1]), (15, rings[0][1]), (18, rings[1][1])):
            if far < size:
                return colour
        if abs(dx) < 34 and abs(dy) < 22 - max(0, abs(dx) - 30) * 1.2:
            return (226, 231, 238) if dy < 14 else (198, 205, 216)  # the case
        if abs(dx) < 5 and 20 < dy < 30:
            return 150, 160, 176
        if abs(dx) < 16 and 29 < dy < 32:
            return 150, 160, 176
        band = int(y * 12 / height)
        return 14 + band * 2, 30 + band * 5, 58 + band * 7

    return paint
