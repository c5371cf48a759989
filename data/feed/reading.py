"""The records of a whole recording, or of some of its segments, in the order in which they were written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crypto.errors import DataError
from data.feed.recorder import SUFFIX, segment_paths
from data.feed.segment import Record, SegmentReader, Tail


@dataclass(frozen=True, slots=True)
class SegmentEnd:
    """What the end of a segment was like."""

    name: str
    tail: Tail


class RecordingReader:
    """Iterates over the records of a folder of segments, or of one segment file.

    Reading changes nothing and needs no lock, so a recording may be read while it is written: what is half-written at
    that moment counts as torn. ``ends`` grows as segments are finished. ``DataError`` names a damaged file.
    """

    def __init__(self, path: Path) -> None:
        self.paths = _segments_at(path)
        self.ends: list[SegmentEnd] = []

    def __iter__(self) -> Iterator[Record]:
        """Records, oldest first."""
        return self.read()

    def read(self, on_segment: Callable[[], None] | None = None) -> Iterator[Record]:
        """Records, oldest first; ``on_segment`` is called after each segment."""
        for path in self.paths:
            with path.open("rb") as file:
                reader = SegmentReader(file, str(path))
                yield from reader
            self.ends.append(SegmentEnd(path.name, reader.tail))
            if on_segment is not None:
                on_segment()

    @property
    def torn_bytes(self) -> int:
        """Bytes after the last whole record, over the segments read so far."""
        return sum(end.tail.torn_bytes for end in self.ends)


def _segments_at(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path} does not exist", remedy="name the folder of a recording, or one of its segments")
    paths = segment_paths(path)
    if not paths:
        raise DataError(
            f"{path} holds no segment (*{SUFFIX})", remedy="name the folder that carry feed wrote to (--out)"
        )
    return paths
