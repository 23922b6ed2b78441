"""Members of zip archives (apk, jar, whl): where the deflate data of one are.

Found by the header in front of each, so that an archive may stand anywhere and be damaged elsewhere. Format:
APPNOTE.TXT 6.3.x, sections 4.3.7 and 4.3.9.
"""

from __future__ import annotations

import struct
from typing import Final

from otastream.views.codings import Coding, deflate
from otastream.views.gzip import inflated

MAGIC: Final = b"PK\3\4"
_HEADER: Final = struct.Struct("<4sHHHHHIIIHH")
_DEFLATED: Final = 8
_DESCRIBED: Final = 1 << 3  # flag: sizes and checksum come behind the data
_ENCRYPTED: Final = 1
_DESCRIPTOR: Final = b"PK\7\x08"
_LEAST: Final = 64  # packed bytes below which looking inside does not pay


def member(image: memoryview, start: int) -> tuple[int, int, int, Coding]:
    """Offset and length of the deflate data of the member at start, what they expand to, and their likely coding.

    ValueError: there is none. The checksum is verified: not all that looks like a header is one.
    """
    if start + _HEADER.size > len(image):
        raise ValueError("a header ends early")
    _, _, flags, method, _, _, check, _, _, name, extra = _HEADER.unpack_from(image, start)
    if method != _DEFLATED or flags & _ENCRYPTED:
        raise ValueError("not deflated")
    begin = start + _HEADER.size + name + extra
    end, found, size = inflated(image, begin)
    if flags & _DESCRIBED:
        behind = bytes(image[end : end + 8]).removeprefix(_DESCRIPTOR)
        check = int.from_bytes(behind[:4], "little")
    if check != found or end - begin < _LEAST:
        raise ValueError("a member with a wrong checksum, or too short")
    level = {1: 9, 2: 1, 3: 1}.get(flags >> 1 & 3, 6)
    return begin, end - begin, size, deflate(level, wrapped=False)
