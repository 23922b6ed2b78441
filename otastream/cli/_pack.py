"""What pack and append share: options, scripts, the summary."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import click
import msgspec

from otastream.cli import _output, _progress, _sign
from otastream.config import Folder, Image, Release, Scripts, load_release, parse_size
from otastream.errors import Code, OtaError, error
from otastream.model import Codec, CodingId
from otastream.options import BOARD_ENCODERS, ENCODERS, ENGINES, VERSIONS, PackOptions
from otastream.pack import Summary
from otastream.tree import Change, show
from otastream.views.codings import LIBRARIES

BOARD: Final = [name for name, coding in ENCODERS.items() if coding <= BOARD_ENCODERS]
F = TypeVar("F", bound=Callable[..., Any])
_FILE: Final = click.Path(dir_okay=False)

_OPTIONS: Final = (
    click.option("--spec", type=_FILE, help="A release.toml instead of OLD and NEW."),
    click.option("--dest", help="Absolute path of the folder on the board."),
    click.option("--name", help="Name of the package."),
    click.option("--package-version", help="Version of the package."),
    click.option("--compatible", multiple=True, metavar="BOARD", help="Only for boards of this name; repeatable."),
    click.option("--min-version", help="Least version that must be installed."),
    click.option("--begin-script", type=_FILE, help="Shell script to run before anything is changed."),
    click.option("--end-script", type=_FILE, help="Shell script to run in the end, also after a failure."),
    click.option("--engine", type=click.Choice(list(ENGINES)), default="auto", show_default=True,
                 help="How changed files are coded: xref makes the smallest deltas of programs and kernels, and takes "
                 "the most time. A file that is smaller in full, or as bsdiff, is sent so."),
    click.option("--effort", type=click.IntRange(1, 9), default=5, show_default=True,
                 help="Time for a smaller package. From 6 on --engine auto tries every engine for each file and sends "
                 "the smallest; below 5 the codec works less, on both sides. otastream inspect shows what was chosen."),
    click.option("--board-encoders", multiple=True, default=[",".join(BOARD)], show_default=True, metavar="NAMES",
                 help="What the boards can compress again (see otaunpack --version), of gzip, xz, zstd, lz4, lzo: "
                 "deltas look inside of images that are compressed so. none: they never do. zstd=1.5.4 says a version, "
                 "for what writes other bytes with each. Repeatable, for boards that differ: what all have is used."),
    click.option("--codec", type=click.Choice([codec.name.lower() for codec in Codec]),
                 help="Compression of the package. [default: lzma, zstd below --effort 5, or what --ram has room for]"),
    click.option("--level", type=int, help="Level of the codec; without --codec that of zstd. "
                 "[default: lzma 9, zstd 19, gzip 9]"),
    click.option("--ram", metavar="SIZE", help="Memory that applying may take, e.g. 512K: fits window and buffers."),
    click.option("--erase-block", metavar="SIZE", help="Largest erase block of the boards. [default: 64K]"),
    click.option("--in-place", is_flag=True, help="Update every image with one target onto itself; see --scratch."),
    click.option("--fallback", is_flag=True, help="Send every image and single file with old in full, too, behind its "
                 "delta: a board that has another old, or cannot compress the same way, takes that. The package is as "
                 "large as both together. Not for folders, nor in place."),
    click.option("--scratch", metavar="SIZE", help="What an update in place may keep on the board. [default: 256K]"),
    click.option("--delta-max", metavar="SIZE", help="Send larger files in full. [default: none]"),
    click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Threads that make deltas. [default: one a CPU]"),
    click.option("--cache", metavar="DIR", help="Folder that keeps deltas from run to run, so that none of the "
                 "same two contents is made again."),
    click.option("--cache-size", metavar="SIZE", help="What may stay in it; the least used goes. [default: 1G]"),
    click.option("--owner", is_flag=True, help="Record owner and group."),
    click.option("--xattrs", is_flag=True, help="Record extended attributes."),
    click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object."),
    _progress.option,
)  # fmt: skip


def options(function: F) -> F:
    """Put all shared options on a command."""
    function = _sign.options(function)
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Arguments:
    """The values of the shared options; see _OPTIONS."""

    spec: str | None
    dest: str | None
    name: str | None
    package_version: str | None
    compatible: tuple[str, ...]
    min_version: str | None
    begin_script: str | None
    end_script: str | None
    engine: str
    effort: int
    board_encoders: tuple[str, ...]
    codec: str | None
    level: int | None
    ram: str | None
    erase_block: str | None
    in_place: bool
    fallback: bool
    scratch: str | None
    delta_max: str | None
    jobs: int | None
    cache: str | None
    cache_size: str | None
    owner: bool
    xattrs: bool
    as_json: bool
    progress_mode: str
    sign_keys: tuple[str, ...]
    sign_command: str | None
    sign_public: str | None

    def release(self, old: str | None, new: str | None) -> Release:
        """What to pack: the spec, or one folder; options win over the spec."""
        if self.spec is not None:
            if old is not None or new is not None or self.dest is not None:
                raise error(Code.USAGE, "--spec takes the place of OLD, NEW and --dest")
            release = load_release(self.spec)
        elif old is None or new is None or self.dest is None:
            raise error(Code.USAGE, "give OLD, NEW and --dest, or --spec", hint="otastream pack --help has examples")
        elif not self.dest.startswith("/"):
            raise error(Code.USAGE, "--dest must be absolute", target=self.dest)
        else:
            release = Release(folder=(Folder(old=old, new=new, dest=self.dest.rstrip("/") or "/"),))
        scripts = Scripts(
            begin=self.begin_script or release.scripts.begin,
            end=self.end_script or release.scripts.end,
            inline=release.scripts.inline,
        )
        if self.in_place:
            release = msgspec.structs.replace(release, image=_in_place(release.image))
        if self.fallback:
            release = _fallback(release)
        return msgspec.structs.replace(
            release,
            name=self.name or release.name,
            version=self.package_version or release.version,
            compatible=self.compatible or release.compatible,
            min_version=self.min_version or release.min_version,
            scripts=scripts,
        )

    def pack_options(self, progress: _progress.Progress) -> PackOptions:
        """The options of the packer. USAGE for sizes that are none."""
        default = PackOptions()
        options = PackOptions(
            codec=Codec[self.codec.upper()] if self.codec is not None else None,
            level=self.level,
            ram=size_option("--ram", self.ram),
            engine=self.engine,
            effort=self.effort,
            encoders=encoders(self.board_encoders),
            jobs=self.jobs or len(os.sched_getaffinity(0)),
            delta_max=size_option("--delta-max", self.delta_max) or default.delta_max,
            block_buffer=size_option("--erase-block", self.erase_block) or default.block_buffer,
            cache=self.cache,
            cache_limit=size_option("--cache-size", self.cache_size) or default.cache_limit,
            scratch=size_option("--scratch", self.scratch) or default.scratch,
            owner=self.owner,
            xattrs=self.xattrs,
            signers=_sign.signers(self.sign_keys, self.sign_command, self.sign_public),
            created=epoch(),
        )
        return watched(options, progress)

    def show(self, summary: Summary, output: str) -> None:
        """Print the summary; on stderr where stdout is the package."""
        text = json.dumps(_as_json(summary)) if self.as_json else _as_text(summary)
        click.echo(text, err=output == "-" or not self.as_json)


def _in_place(images: tuple[Image, ...]) -> tuple[Image, ...]:
    """Every image that can be updated onto itself is. USAGE: none can."""

    def can(image: Image) -> bool:
        return image.old is not None and len(image.targets) == 1 and image.source in (None, image.targets[0])

    if not any(can(image) for image in images):
        raise error(Code.USAGE, "--in-place needs an [[image]] with old and one target in --spec")
    return tuple(
        msgspec.structs.replace(image, in_place=True, source=None) if can(image) else image for image in images
    )


def _fallback(release: Release) -> Release:
    """Everything that can have a fallback has one. USAGE: nothing can."""
    images = tuple(
        msgspec.structs.replace(image, fallback=True) if image.old is not None and not image.in_place else image
        for image in release.image
    )
    files = tuple(
        msgspec.structs.replace(edit, fallback=True) if edit.action == "update" and edit.old is not None else edit
        for edit in release.file
    )
    if not (any(image.fallback for image in images) or any(edit.fallback for edit in files)):
        raise error(Code.USAGE, "--fallback needs an [[image]] or [[file]] with old in --spec, that is not in place")
    return msgspec.structs.replace(release, image=images, file=files)


def watched(options: PackOptions, progress: _progress.Progress) -> PackOptions:
    """The same options, with their progress shown."""

    def show(phase: str, done: int, total: int, target: bytes) -> None:
        progress.update(phase=phase, done=done, total=total or None, target=_output.shown(target))

    return replace(options, progress=show)


def encoders(boards: Sequence[str]) -> frozenset[CodingId]:
    """The codings that all boards have; each text says what one kind of board has, as --board-encoders does. A warning
    for those that nothing can be proved with. USAGE.
    """
    common = frozenset[CodingId].intersection(*map(_board_encoders, boards))
    for coding in sorted(common - BOARD_ENCODERS):
        library = LIBRARIES[coding]
        if not library.known():
            _warn(f"no library here writes what {library.name} promises; what is compressed so is not looked into")
    return common


def _board_encoders(text: str) -> frozenset[CodingId]:
    """One kind of board: names, each with a version behind ``=`` or without, or ``none``."""
    found: set[CodingId] = set()
    for item in () if text == "none" else text.split(","):
        name, _, version = item.partition("=")
        if name not in ENCODERS:
            raise error(Code.USAGE, f"--board-encoders: {name!r} is none of {', '.join(ENCODERS)}, none")
        if version and version != VERSIONS.get(name, version):
            _warn(f"{name} {version} writes other bytes than {VERSIONS[name]}, which alone is known; it is not used")
        else:
            found |= ENCODERS[name]
    return frozenset(found)


def _warn(what: str) -> None:
    click.echo(f"otastream: warning: --board-encoders: {what}", err=True)


def size_option(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_size(text)
    except OtaError as failure:
        raise error(Code.USAGE, f"{option}: {failure.detail}") from None


def epoch() -> int | None:
    """SOURCE_DATE_EPOCH: the time that a reproducible build writes down."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise error(Code.USAGE, f"SOURCE_DATE_EPOCH is {text!r}, not a number of seconds")
    return int(text)


def _as_json(summary: Summary) -> dict[str, object]:
    return {
        "changes": {change.value: summary.changes[change] for change in Change if change is not Change.NONE},
        "records": summary.records,
        "deltas": summary.deltas,
        "cached": summary.cached,
        "content": summary.content,
        "payload": summary.payload,
        "package": summary.package,
        "ram": summary.ram,
        "codec": summary.codec.name.lower(),
        "window": 1 << summary.window_log if summary.window_log else 0,
        "notes": [{"target": show(target), "note": note} for target, note in summary.notes],
    }


def _as_text(summary: Summary) -> str:
    counts = [
        _output.count(number, "script") if change is Change.SCRIPT else f"{number} {change.value}"
        for change in Change
        if change is not Change.NONE and (number := summary.changes[change])
    ]
    part = _output.share(summary.package, summary.content)
    cached = f" ({summary.cached} from the cache)" if summary.cached else ""
    notes = "".join(f"\n{show(target)}: {_output.printable(note)}" for target, note in summary.notes)
    return (
        f"{', '.join(counts) or 'nothing to do'}\n"
        f"{_output.size(summary.package)} for {_output.size(summary.content)} of new content{part}, "
        f"{_output.count(summary.deltas, 'delta')}{cached}; applying needs {_output.size(summary.ram)} of memory{notes}"
    )
