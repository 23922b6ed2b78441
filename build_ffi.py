"""Builds ``otastream._core``, the C core as a cffi extension (API mode, limited API).

setuptools uses ``ffibuilder`` (``cffi_modules = ["build_ffi.py:ffibuilder"]``); ``python build_ffi.py`` builds the
extension in place. What cffi has to know about C is cut out of the public headers, between ``cdef-begin`` and
``cdef-end``, so that the two cannot drift.
"""

from __future__ import annotations

import os
import re
import runpy
import sys
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent
HEADERS = ("otastream.h", "otastream_posix.h", "otastream_host.h")
LAYERS = ("core", "port", "host")
CFLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-D_FILE_OFFSET_BITS=64", "-D_GNU_SOURCE")

CALLBACKS = """
extern "Python" int ota_py_read_at(void *ctx, uint64_t offset, uint8_t *buf, size_t len);
extern "Python" size_t ota_py_coder_size(void *ctx, int encode, unsigned coding, uint64_t params);
extern "Python" int ota_py_coder_begin(void *ctx, int encode, unsigned coding, uint64_t params, uint64_t raw,
                                       void *memory, size_t len);
extern "Python" int ota_py_coder_step(void *ctx, int encode, struct ota_in *in, struct ota_out *out, int last);
extern "Python" int ota_py_coder_save(void *ctx, void *to, size_t len);
extern "Python" int ota_py_coder_restore(void *ctx, unsigned coding, const void *from, size_t len);
extern "Python" int ota_py_tick(void *ctx, const struct ota_report *report);
"""

_MARKED = re.compile(r"/\* cdef-begin \*/(.*?)/\* cdef-end \*/", re.DOTALL)


def cdef() -> str:
    """The marked parts of the public headers, in order."""
    parts: list[str] = []
    for name in HEADERS:
        found = _MARKED.findall((ROOT / "csrc" / "include" / name).read_text(encoding="ascii"))
        if not found:
            raise SystemExit(f"build_ffi: no cdef markers in {name}")
        parts += found
    return "\n".join(parts)


def make_builder() -> FFI:
    """The cffi builder; paths are relative to the project root, as setuptools wants them."""
    builder = FFI()
    builder.cdef(cdef() + CALLBACKS)
    sources = [path for layer in LAYERS for path in sorted((ROOT / "csrc" / layer).glob("*.c"))]
    headers = sorted((ROOT / "csrc").rglob("*.h"))
    builder.set_source(
        "otastream._core",
        "\n".join(f'#include "{name}"' for name in HEADERS),
        sources=[str(path.relative_to(ROOT)) for path in sources],
        depends=[str(path.relative_to(ROOT)) for path in headers],
        include_dirs=["csrc/include", "csrc/core"],
        extra_compile_args=list(CFLAGS),
        py_limited_api=True,
    )
    return builder


ffibuilder = make_builder()


def main() -> None:
    """Build in place: ``otastream/_core.abi3.so``; objects go to ``build/``."""
    os.chdir(ROOT)
    sys.argv = ["setup.py", "-q", "build_ext", "--inplace", *sys.argv[1:]]
    runpy.run_path("setup.py", run_name="__main__")


if __name__ == "__main__":
    main()
