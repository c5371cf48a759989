"""Writing files so that a reader sees the old file or the whole new one, and nothing in between."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crypto.errors import OutputError

_REMEDIES = {
    errno.ENOSPC: "free some space on that disk or write elsewhere",
    errno.EDQUOT: "the disk quota is used up: free some space or write elsewhere",
    errno.EFBIG: "the file is larger than the system allows there; write elsewhere or raise the limit",
    errno.EROFS: "the disk is read-only: choose a folder that can be written",
    errno.EACCES: "choose a folder that you may write, or change its permissions",
    errno.EPERM: "choose a folder that you may write, or change its permissions",
    errno.ENOENT: "that path can't be made: choose another one",
    errno.EEXIST: "a part of that path is a file, not a folder: choose another path",
    errno.ENOTDIR: "a part of that path is a file, not a folder: choose another path",
    errno.EISDIR: "that path is a folder: name a file",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EIO: "the disk reported an input/output error: check it or write elsewhere",
}
_counter = itertools.count()


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; on success it is synced and renamed onto ``path``.

    Missing parent folders are made. On any exception, Ctrl-C included, the temporary file is removed and ``path`` stays
    as it was. A full or read-only disk, missing permission and the like raise ``OutputError`` naming ``path``.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{next(_counter)}.part")
    try:
        _prepare(target, temporary)
        yield temporary
        _sync(temporary)
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        if remedy is None or not _concerns(error, temporary, target):
            raise
        raise OutputError(f"cannot write {target}: {os.strerror(error.errno or 0)}", remedy=remedy) from error
    finally:
        with suppress(OSError):  # gone after the rename; a folder that vanished has nothing to clean
            temporary.unlink(missing_ok=True)


@contextmanager
def making(path: Path) -> Iterator[None]:
    """While ``path`` is made or opened to be written: what the disk refuses becomes an ``OutputError`` naming it."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        if remedy is None:
            raise
        raise OutputError(f"cannot write {path}: {os.strerror(error.errno or 0)}", remedy=remedy) from error


def check_folder(folder: Path) -> None:
    """Raise ``OutputError`` before any work when nothing new can be put into ``folder``, which need not be there yet.

    The nearest folder that is there has to take an entry, which is removed at once. A disk that fills up later, or
    rights that change, are met when the result is written.
    """
    with making(folder):
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        there = next(part for part in (folder, *folder.absolute().parents) if part.exists())
        probe = there / f".carry-{os.getpid()}-{next(_counter)}.probe"
        probe.mkdir()
        probe.rmdir()


def check_file(path: Path) -> None:
    """As ``check_folder`` for a file that will be written or replaced."""
    with making(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    check_folder(path.parent)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically; errors as ``atomic_write``."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8 with bare line feeds to ``path`` atomically; errors as ``atomic_write``."""
    write_bytes(path, text.encode("utf-8"))


def _prepare(target: Path, temporary: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    # Created here so that a folder that cannot be written is found before the caller computes what to write.
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    # Some file systems refuse to sync a folder; the rename itself has already happened and is visible.
    with suppress(OSError):
        _sync(folder)


def _concerns(error: OSError, temporary: Path, target: Path) -> bool:
    """Whether the error is about the file being written: an error naming another file belongs to the caller."""
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename))
    return named in (temporary, target) or named in target.parents
