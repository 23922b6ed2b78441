"""scan: the entries of one tree in bytewise order of their paths."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final

from otastream import model
from otastream.errors import Code, OtaError, error
from otastream.model import Owner, Xattrs
from otastream.tree import Entry, Kind, Stamp, show

_SPECIAL: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def scan(root: bytes, *, owner: bool = False, xattrs: bool = False) -> Iterator[Entry]:
    """Walk the folder ``root`` (symbolic links below it are never followed) and give every name in it but itself.

    Paths rise bytewise, as whole strings: ``a``, ``a-b``, ``a/c``. Held in memory: the names of one folder per level.
    owner and xattrs record those, too. INPUT names whatever is unreadable, special, or beyond the format's limits.
    """
    try:
        is_dir = stat.S_ISDIR(os.stat(root).st_mode)
    except OSError as exc:
        raise _unreadable(exc, root) from exc
    if not is_dir:
        raise error(Code.INPUT, "is not a folder", target=show(root))
    return _walk(root, owner=owner, xattrs=xattrs)


def _walk(root: bytes, *, owner: bool, xattrs: bool) -> Iterator[Entry]:
    # Every level holds its names in reverse. A folder stands there twice: as `name`, and as `name/` for what is in
    # it; sorting both with the files makes the order that of whole paths.
    stack: list[tuple[bytes, list[bytes]]] = [(b"", _names(root))]
    while stack:
        prefix, names = stack[-1]
        if not names:
            stack.pop()
            continue
        name = names.pop()
        if name.endswith(b"/"):
            stack.append((prefix + name, _names(os.path.join(root, prefix + name))))
        else:
            yield _entry(root, prefix + name, owner=owner, xattrs=xattrs)


def _names(folder: bytes) -> list[bytes]:
    names = []
    try:
        with os.scandir(folder) as items:
            for item in items:
                names.append(item.name)
                if item.is_dir(follow_symlinks=False):
                    names.append(item.name + b"/")
    except OSError as exc:
        raise _unreadable(exc, folder) from exc
    names.sort(reverse=True)
    return names


def _entry(root: bytes, path: bytes, *, owner: bool, xattrs: bool) -> Entry:
    _check_name(root, path)
    full = os.path.join(root, path)
    text = None
    try:
        st = os.lstat(full)
        kind = _kind(st.st_mode, full)
        if kind is Kind.LINK:
            text = os.readlink(full)
        pairs = _xattrs(full) if xattrs and kind is not Kind.LINK else None
    except OSError as exc:
        raise _unreadable(exc, full) from exc
    if text is not None and not 1 <= len(text) <= model.PATH_MAX:
        raise error(Code.INPUT, "is a symbolic link with a text that is too long", target=show(full))
    return Entry(
        path=path,
        kind=kind,
        mode=0 if kind is Kind.LINK else stat.S_IMODE(st.st_mode),
        stamp=Stamp(st.st_size if kind is Kind.FILE else 0, st.st_mtime_ns, st.st_ctime_ns, st.st_ino),
        inode=(st.st_dev, st.st_ino) if kind is Kind.FILE and st.st_nlink > 1 else None,
        text=text,
        owner=Owner(st.st_uid, st.st_gid) if owner else None,
        xattrs=pairs,
    )


def _kind(mode: int, full: bytes) -> Kind:
    if stat.S_ISREG(mode):
        return Kind.FILE
    if stat.S_ISDIR(mode):
        return Kind.DIR
    if stat.S_ISLNK(mode):
        return Kind.LINK
    what = _SPECIAL.get(stat.S_IFMT(mode), "a special file")
    raise error(Code.INPUT, f"is {what}, which a package cannot hold", target=show(full))


def _check_name(root: bytes, path: bytes) -> None:
    name = path.rpartition(b"/")[2]
    problem = ""
    if name == model.STAGING_NAME:
        problem = "has a name that is reserved for staging"
    elif len(name) > model.NAME_MAX:
        problem = f"has a name of more than {model.NAME_MAX} bytes"
    elif len(path) > model.PATH_MAX:
        problem = f"has a path of more than {model.PATH_MAX} bytes"
    elif path.count(b"/") >= model.DEPTH_MAX:
        problem = f"lies more than {model.DEPTH_MAX} folders deep"
    if problem:
        raise error(Code.INPUT, problem, target=show(os.path.join(root, path)))


def _xattrs(full: bytes) -> Xattrs:
    names = sorted(os.fsencode(name) for name in os.listxattr(full, follow_symlinks=False))
    return tuple((name, os.getxattr(full, name, follow_symlinks=False)) for name in names)


def _unreadable(exc: OSError, path: bytes) -> OtaError:
    return error(Code.INPUT, exc.strerror or "cannot be read", target=show(path))
