"""The append-only recording of a feed: segment files in one folder, one writer at a time. Spec: docs/specs/feed.md."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from crypto.errors import DataError, OutputError, RefusedError
from data.feed.lock import take_lock
from data.feed.segment import MAGIC, Frame, SegmentReader, frames_record, note_record

SUFFIX = ".feed"
TORN_SUFFIX = ".torn"
FORMAT = 1
_REMEDY = "free space on that disk or name another folder (--out); what was recorded so far is readable"

Note = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cut:
    """A torn end that was found at start: moved to ``kept_as``, so that its segment ends with a whole record."""

    segment: str
    torn_bytes: int
    kept_as: str


@dataclass(frozen=True, slots=True)
class RecorderOptions:
    """Rotation and durability.

    A segment ends when it is larger than ``segment_bytes`` or older than ``segment_seconds``. What one read of a socket
    brought is handed to the system in one write before it is decoded, so killing the process loses none of it; a power
    cut may lose what came since the last sync, at most ``sync_seconds``.
    """

    segment_bytes: int = 256 << 20
    segment_seconds: float = 3600.0
    sync_seconds: float = 1.0


def segment_paths(folder: Path) -> list[Path]:
    """Segments of a recording, oldest first."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.stem.isdigit())


def cut_torn_tail(path: Path) -> Cut | None:
    """Cut what a killed writer left half-written at the end of a segment; it is kept beside it, not thrown away."""
    with path.open("r+b") as file:
        reader = SegmentReader(file, str(path))
        for _ in reader:
            pass
        if not reader.tail.torn_bytes:
            return None
        file.seek(reader.tail.good_bytes)
        torn = file.read()
        kept = path.with_suffix(SUFFIX + TORN_SUFFIX)
        kept.write_bytes(torn)
        file.truncate(reader.tail.good_bytes)
        os.fsync(file.fileno())
    return Cut(path.name, len(torn), kept.name)


class Recorder:
    """Writes records to the newest segment of a folder. Every start opens a new segment, nothing is written twice.

    ``prelude`` gives the notes that every segment begins with (open channels, checkpoint), so that each can be read by
    itself. ``RefusedError`` when another process records into the folder; ``OutputError`` names the file when it can't
    be written, and then ends with the last whole record.
    """

    def __init__(
        self,
        folder: Path,
        options: RecorderOptions,
        prelude: Callable[[], Iterable[Note]],
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.folder = folder
        self.written_bytes = 0
        self.segments: list[str] = []
        self._options = options
        self._prelude = prelude
        self._now_ns = now_ns
        self._file = -1
        self._path = folder
        self._size = 0
        self._opened_ns = 0
        self._unsynced = False
        self._lock = take_lock(folder, "records into", "--out")
        try:
            self._cuts, self._number = _recover(folder)
            self._open_segment()
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def cuts(self) -> list[Cut]:
        """Torn ends that were found and cut at start."""
        return self._cuts

    @property
    def path(self) -> Path:
        """The segment that is written to."""
        return self._path

    def frames(self, channel: int, received_ns: int, frames: Sequence[Frame]) -> None:
        """Append what one read of a channel's socket brought, to a new segment when the last one is full.

        What was appended before must have been taken in by then, because the new segment begins with what is held.
        """
        if self._is_full(received_ns):
            self._rotate()
        self._append(frames_record(channel, received_ns, frames))

    def note(self, received_ns: int, note: Note) -> None:
        """Append a note about the feed itself."""
        self._append(note_record(received_ns, note))

    def start_sync(self) -> Callable[[], None] | None:
        """A call that has the system put on the disk what was written so far; None when that is done already.

        The call may run in another thread while records are written and segments rotated. ``OutputError`` as writes.
        """
        if not self._unsynced or self._file < 0:
            return None
        try:
            descriptor = os.dup(self._file)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        self._unsynced = False
        return partial(_sync_and_close, descriptor, self._path)

    def close(self) -> None:
        """End the segment and give the folder free. A second call does nothing."""
        if self._lock < 0:
            return
        try:
            self._close_segment("stopped")
        finally:
            os.close(self._lock)
            self._lock = -1

    def _is_full(self, now_ns: int) -> bool:
        old = now_ns - self._opened_ns > self._options.segment_seconds * 1e9
        return old or self._size > self._options.segment_bytes

    def _rotate(self) -> None:
        self._close_segment("rotated")
        self._number += 1
        self._open_segment()

    def _open_segment(self) -> None:
        self._path = self.folder / f"{self._number:09d}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            self._file = os.open(self._path, flags, 0o644)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        self._size = 0
        self._opened_ns = self._now_ns()
        self.segments.append(self._path.name)
        head: Note = {"note": "segment", "format": FORMAT, "number": self._number}
        notes = [note_record(self._opened_ns, note) for note in (head, *self._prelude())]
        self._append(b"".join([MAGIC, *notes]))

    def _close_segment(self, reason: str) -> None:
        if self._file < 0:
            return
        try:
            self.note(self._now_ns(), {"note": "end", "reason": reason})
            if sync := self.start_sync():
                sync()
        finally:
            os.close(self._file)
            self._file = -1

    def _append(self, record: bytes) -> None:
        if self._file < 0:
            raise RefusedError("the recording is closed", remedy="open a new one")
        view = memoryview(record)
        written = 0
        try:
            while written < len(record):
                written += os.write(self._file, view[written:])
        except OSError as error:
            self._drop_half_record(written)
            raise _unwritable(self._path, error) from error
        self._size += written
        self.written_bytes += written
        self._unsynced = True

    def _drop_half_record(self, written: int) -> None:
        """A disk that fills up takes a part of a record: leave the segment ending with a whole one."""
        if written:
            os.ftruncate(self._file, self._size)


def _recover(folder: Path) -> tuple[list[Cut], int]:
    """Cut the torn end of the newest segment, the only one that can have one; number of the next segment."""
    paths = segment_paths(folder)
    if not paths:
        return [], 1
    newest = paths[-1]
    try:
        cut = cut_torn_tail(newest)
    except OSError as error:
        raise DataError(f"{newest} cannot be repaired: {error.strerror}", remedy="check its permissions") from error
    return ([cut] if cut else []), int(newest.stem) + 1


def _sync_and_close(descriptor: int, path: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path}: {os.strerror(error.errno or 0)}", remedy=_REMEDY)
