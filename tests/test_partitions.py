"""Partition configs: what is read, and what only make can tell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from otastream.errors import Code, OtaError
from otastream.partitions import Partition, PartitionConfig, load_config

CONFIG = """\
# a comment, with $(REFERENCES) and = signs
IMAGE_LIST = cis boot kernel rootfs
OTA_IMAGE_LIST := boot kernel \\
    rootfs
OTA_IMAGE_LIST += customer boot   # once more
FLASH_TYPE = spinand   # trailing space before this

boot$(RESOUCE)  = $(IMAGEDIR)/boot.bin
boot$(PATSIZE)  = $(shell printf 0x%x $(shell stat -c "%s" $(boot$(RESOUCE))))
boot$(OTABLK)   = /dev/mtd0 /dev/mtd1
boot$(OTAMASK)  = 0x1
\tkernel$(PATSIZE) = 0x500000
kernel$(MOUNTPT) = /dev/mtd3
kernel$(OTABLK) = $(kernel$(MOUNTPT)) ${NODE}4
kernel$(BOOTCMD) = nand read.e $(ADDRESS) \\$${sf_kernel_start}\\;
NODE = /dev/mtd
rootfs$(FSTYPE) = squashfs
rootfs$(PATSIZE) = 6291456
export rootfs$(OTABLK) = $(NODE)5
customer$(FSTYPE) = ubifs
customer$(PATSIZE) = $(rootfs$(PATSIZE))
customer$(OTABLK) = /dev/ubi0_1
customer$(BLKENV) = size $(customer$(PATSIZE))\\nother 1
"""


def config(text: str = CONFIG, **given: str) -> PartitionConfig:
    return PartitionConfig(text, path="p.config", given=given)


def test_partitions() -> None:
    found = config()
    assert found.flash_type == "spinand"
    assert found.names() == ("boot", "kernel", "rootfs", "customer")
    assert [found.partition(name) for name in found.names()] == [
        Partition("boot", ("/dev/mtd0", "/dev/mtd1"), "", None, "0x1"),
        Partition("kernel", ("/dev/mtd3", "/dev/mtd4"), "", 0x500000, None),
        Partition("rootfs", ("/dev/mtd5",), "squashfs", 6291456, None),
        Partition("customer", ("/dev/ubi0_1",), "ubifs", 6291456, None),
    ]
    assert [found.environment(name) for name in ("boot", "customer")] == ["", "size 6291456\\nother 1"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A = 1\nA := 2", "2"),
        ("A = 1\nA ?= 2", "1"),
        ("A ?= 2", "2"),
        ("A += 2", "2"),
        ("A = 1\nA += $(B)\nB = 3", "1 3"),
        ("B = 1\nA := $(B)\nB = 2", "1"),
        ("B = 1\nA = $(B)\nB = 2", "2"),
        ("A := 1\nA := $(A)2", "12"),
        ("A = $$(B)", "$(B)"),
        ("A := $$(B)", "$(B)"),
        ("A = $B\nB = 1", "1"),
        ("X = B\nA = $($(X))\nB = 1", "1"),
        ("A = 1 \\\n  2 \\\n\t3", "1 2 3"),
        ("A = a\\\n", "a"),
        ("A = 1 # no", "1"),
        ("X = y\nifeq ($(X),y)\nA = 1\nelse\nA = 2\nendif", "1"),
        ("ifeq ($(X),y)\nA = 1\nelse\nA = 2\nendif", "2"),
        ("X = z\nifeq ($(X),y)\nA = 1\nelse ifeq ($(X), z)\nA = 2\nelse\nA = 3\nendif", "2"),
        ("ifneq ($(X),)\nA = 1\nifeq (a,a)\nA = 2\nendif\nendif\nA ?= 3", "3"),
        ("ifdef X\nA = 1\nendif\nifndef X\nA = 2\nendif", "2"),
        ("override A=1", "1"),
    ],
)
def test_values(text: str, value: str) -> None:
    assert config(text).value("A") == value


def test_make_reads_the_same(tmp_path: Path) -> None:
    """The same values as make itself, with the second halves of names as the SDK's makefile would define them."""
    keys = ("RESOUCE", "PATSIZE", "OTABLK", "OTAMASK", "FSTYPE", "MOUNTPT", "BOOTCMD", "BLKENV")
    lines = [f"{key} = _{key}" for key in keys]
    shown = ["OTA_IMAGE_LIST", "FLASH_TYPE", "kernel$(OTABLK)", "rootfs$(OTABLK)", "customer$(PATSIZE)"]
    show = [f"$(info [$({name})])" for name in shown]
    (tmp_path / "Makefile").write_text("\n".join([*lines, CONFIG, *show, "all:", ""]))
    done = subprocess.run(["make", "-s", "-C", tmp_path], capture_output=True, text=True, check=True)
    said = [line[1:-1].split() for line in done.stdout.splitlines() if line.startswith("[")]
    assert said == [config().value(name).split() for name in shown]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no OTA_IMAGE_LIST"),
        ("OTA_IMAGE_LIST = a", "partition a has no a$(OTABLK)"),
        ("OTA_IMAGE_LIST = a\na$(OTABLK) = $(MTD)5", "$(MTD) is not set"),
        ("OTA_IMAGE_LIST = a\na$(OTABLK) = $(b$(OTABLK))", "$(b$(OTABLK)) is not set"),
        ("OTA_IMAGE_LIST = a\na$(OTABLK) = $(shell ls)", "make's function shell is not run here"),
        ("OTA_IMAGE_LIST = a\na$(OTABLK) = $(a$(OTABLK))", "refers to itself"),
        ("OTA_IMAGE_LIST = $(OTA_IMAGE_LIST) a", "refers to itself"),
        ("OTA_IMAGE_LIST = a\na$(OTABLK) = $(B", "a reference is not closed"),
        ("OTA_IMAGE_LIST = a\na$(OTABLK) = /dev/a\na$(PATSIZE) = 5M", "a$(PATSIZE) is '5M', not a number of bytes"),
        ("A = 1\ninclude other.mk", "line 2: is no assignment"),
        ("all:\n\techo", "line 1: is no assignment"),
        ("else", "line 1: else without a condition"),
        ("\nifeq 'a' 'b'\nendif", "line 2: is a condition that is not understood"),
        ("ifeq ($(shell a),b)\nendif", "line 1: make's function shell is not run here"),
        ("ifeq (a,b)", "a condition has no endif"),
    ],
)
def test_what_is_not_understood(text: str, problem: str) -> None:
    with pytest.raises(OtaError) as caught:
        found = config(text)
        for name in found.names():
            found.partition(name)
    assert caught.value.code is Code.CONFIG
    assert caught.value.target == "p.config"
    assert problem in caught.value.detail


def test_what_only_make_knows_can_be_said() -> None:
    text = "OTA_IMAGE_LIST = a\na$(OTABLK) = $(MTD)5"
    with pytest.raises(OtaError) as caught:
        config(text).partition("a")
    assert caught.value.hint == "say it with --set 'a$(OTABLK)=...'"
    assert config(text, MTD="/dev/mtd").partition("a").targets == ("/dev/mtd5",)
    assert config(text, **{"a$(OTABLK)": "/dev/x"}).partition("a").targets == ("/dev/x",)


def test_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"# caf\xe9\r\nOTA_IMAGE_LIST = a\r\n")
    assert load_config(str(tmp_path / "c")).names() == ("a",)
    with pytest.raises(OtaError) as caught:
        load_config(str(tmp_path))
    assert caught.value.code is Code.INPUT
