"""What pyproject.toml cannot say: the cffi module, and that its wheel fits every CPython from 3.11 on."""

from setuptools import setup

setup(
    cffi_modules=["build_ffi.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
