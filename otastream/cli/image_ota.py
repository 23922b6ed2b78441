"""``otastream image-ota``: the package of an SDK's partition config, in place of its ota.mk."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator

import click

from otastream.cli import _image_ota, _layout, _output, _pack, _progress, _sign
from otastream.cli._image_ota import Choice, Part
from otastream.errors import Code, error
from otastream.options import PackOptions
from otastream.pack import pack_release
from otastream.partitions import PartitionConfig, load_config

PACKAGE = "SStarOta.bin"
LAYOUT = "SStarOtaLayout.txt"


@click.command("image-ota")
@click.option("--config", metavar="FILE", help="The SDK's partition config, e.g. spinand.ubifs.p2.partition.config.")
@click.option("--images", metavar="DIR", help="The folder with the images.")
@click.option("--output", metavar="DIR", help=f"Where {PACKAGE}.gz and {LAYOUT} go. [default: the folder of images]")
@click.option("--old", metavar="DIR", help="The images of the release that boards have: makes deltas.")
@click.option("--start-script", metavar="FILE", help="Script to run before anything is changed.")
@click.option("--end-script", metavar="FILE", help="Script to run in the end; OTA_STATUS is 0 or -1.")
@click.option("--all", "everything", is_flag=True, help="Pack all of OTA_IMAGE_LIST; ask nothing.")
@click.option("--only", metavar="A,B", help="Pack these partitions; ask nothing.")
@click.option("--yes", is_flag=True, help="Ask nothing; without --only the same as --all.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A variable of the config; repeatable.")
@click.option("--skip-env", is_flag=True, help="Leave U-Boot's environment as it is, whatever BLKENV says.")
@click.option("--ram", metavar="SIZE", help="Memory that applying may take, e.g. 512K.")
@click.option("--package-version", help="Version of the package.")
@click.option("--compatible", multiple=True, metavar="BOARD", help="Only for boards of this name; repeatable.")
@click.option("--emit-mk", is_flag=True, help="Print an ota.mk that gives a makefile the target image-ota.")
@_sign.options
@_progress.option
def command(
    *, config: str | None, images: str | None, output: str | None, old: str | None, start_script: str | None,
    end_script: str | None, everything: bool, only: str | None, yes: bool, settings: tuple[str, ...], skip_env: bool,
    ram: str | None, package_version: str | None, compatible: tuple[str, ...], emit_mk: bool,
    sign_keys: tuple[str, ...], sign_command: str | None, sign_public: str | None, progress_mode: str,
) -> None:  # fmt: skip
    """Pack the partitions of an SDK's partition config.

    Asks, as the SDK's makefile does, for scripts and for each partition of OTA_IMAGE_LIST; with --all, --only or --yes
    it asks nothing. Nothing appears unless all went well.

    \b
    Examples:
      otastream image-ota --config spinand.ubifs.p2.partition.config --images output/images
      otastream image-ota --config CONFIG --images DIR --only kernel,rootfs --end-script end.sh
      otastream image-ota --config CONFIG --images DIR --all --old release-1.0/images
      otastream image-ota --emit-mk > image/ota.mk
    """
    if emit_mk:
        text = _image_ota.MAKEFILE.format(config=config or "partition.config", images=images or "$(IMAGEDIR)")
        click.echo(text, nl=False)
        return
    if config is None or images is None:
        raise error(Code.USAGE, "give --config and --images", hint="otastream image-ota --help has examples")
    if everything and only is not None:
        raise error(Code.USAGE, "--all and --only do not go together")
    partitions = load_config(config, given=_given(settings))
    names = partitions.names()
    if everything or yes or only is not None:
        chosen = names if only is None else _image_ota.listed(only, names)
        choice = Choice(start_script, end_script, chosen)
    else:
        choice = _image_ota.ask(names, start=start_script, end=end_script)
    parts = _parts(partitions, choice, images=images, old=old, skip_env=skip_env)
    release = _image_ota.joined(
        parts, start=choice.start, end=choice.end, version=package_version, compatible=compatible
    )
    options = PackOptions(
        ram=_pack.size_option("--ram", ram),
        jobs=len(os.sched_getaffinity(0)),
        created=_pack.epoch(),
        signers=_sign.signers(sign_keys, sign_command, sign_public),
    )
    folder = output if output is not None else images
    with _progress.reporter(progress_mode) as progress, _compressed(os.path.join(folder, f"{PACKAGE}.gz")) as package:
        summary = pack_release(release, output=package, options=_pack.watched(options, progress))
        _layout.write(package, os.path.join(folder, LAYOUT))
    click.echo(f"{len(parts)} partitions, {_output.size(summary.package)} in {folder}/{PACKAGE}.gz", err=True)


def _given(settings: tuple[str, ...]) -> dict[str, str]:
    for setting in settings:
        if not setting.partition("=")[0].strip() or "=" not in setting:
            raise error(Code.USAGE, f"--set {setting}: write NAME=VALUE")
    return {name.strip(): value for name, _, value in (setting.partition("=") for setting in settings)}


def _parts(partitions: PartitionConfig, choice: Choice, *, images: str, old: str | None, skip_env: bool) -> list[Part]:
    """All chosen partitions; what a person should know is printed. USAGE: nothing was chosen."""
    if not choice.names and not choice.start and not choice.end:
        raise error(Code.USAGE, "no partition was chosen, so there is nothing to pack")
    parts = []
    for name in choice.names:
        partition = partitions.partition(name)
        found = _image_ota.part(
            partition,
            flash_type=partitions.flash_type,
            images=images,
            old=old,
            environment="" if skip_env else partitions.environment(name),
        )
        for note in found.notes:
            click.echo(f"otastream: note: {_output.printable(note)}", err=True)
        parts.append(found)
    return parts


@contextlib.contextmanager
def _compressed(path: str) -> Iterator[str]:
    """A name for a package; what was written there stands, gzipped, under ``path`` when the block ends well."""
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".otastream-", dir=os.path.dirname(path)))
            package = os.path.join(folder, PACKAGE)
            yield package
            with open(package, "rb") as plain, gzip.GzipFile(f"{package}.gz", "wb", compresslevel=6, mtime=0) as packed:
                shutil.copyfileobj(plain, packed)
            os.replace(f"{package}.gz", path)
        except OSError as failure:
            raise error(Code.OUTPUT, failure.strerror or str(failure), target=path) from failure
