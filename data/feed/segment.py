"""One segment file of a recording: its bytes, how they are read, and where a torn end begins. Spec: docs/specs/feed.md.

A segment is eight bytes of magic and then records. A record is a header and a payload::

    length u32 | crc u32 | received_ns u64 | kind u16 | reserved u16 | channel u32 | count u32 | payload

Little-endian. ``crc`` is the CRC-32 of all that follows it, payload included. ``kind`` FRAMES holds ``count`` frames of
one channel that one read of the socket brought: ``count`` lengths (u32), then the frames' bytes as they came. ``kind``
NOTE holds one JSON object about the feed itself: a channel opened or closed, a settled funding rate, a checkpoint.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, BinaryIO

from crypto.errors import DataError

MAGIC = b"CARRYFD1"
_HEADER = struct.Struct("<IIQHHII")
_CHECKED = struct.Struct("<QHHII")
_CRC_END = 8  # length and crc themselves
HEADER_BYTES = _HEADER.size
MOST_PAYLOAD_BYTES = 1 << 28  # a longer one can only be damage: the client refuses frames far below this size

Frame = bytes | bytearray


class Kind(IntEnum):
    """What a record's payload is."""

    NOTE = 1
    FRAMES = 2


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read. ``channel`` is 0 for notes; ``offset``: where it begins in its file."""

    received_ns: int
    kind: Kind
    channel: int
    count: int
    payload: bytes
    offset: int

    def frames(self) -> list[bytes]:
        """The frames of a FRAMES record, in the order in which they came."""
        lengths = struct.unpack_from(f"<{self.count}I", self.payload)
        found, start = [], 4 * self.count
        for length in lengths:
            found.append(self.payload[start : start + length])
            start += length
        return found

    def note(self) -> dict[str, Any]:
        """The JSON object of a NOTE record."""
        held: dict[str, Any] = json.loads(self.payload)
        return held


@dataclass(frozen=True, slots=True)
class Tail:
    """End of what is readable: ``good_bytes`` from the start; ``torn_bytes`` after it belong to no whole record."""

    records: int
    good_bytes: int
    torn_bytes: int


def frames_record(channel: int, received_ns: int, frames: Sequence[Frame]) -> bytes:
    """A FRAMES record as bytes. ``received_ns``: wall clock, nanoseconds since 1970, of the read that brought them."""
    lengths = struct.pack(f"<{len(frames)}I", *map(len, frames))
    return _record(Kind.FRAMES, channel, len(frames), received_ns, lengths + b"".join(frames))


def note_record(received_ns: int, note: Mapping[str, Any]) -> bytes:
    """A NOTE record as bytes; the object's keys keep their order."""
    payload = json.dumps(note, separators=(",", ":"), allow_nan=False).encode()
    return _record(Kind.NOTE, 0, 1, received_ns, payload)


def _record(kind: Kind, channel: int, count: int, received_ns: int, payload: bytes) -> bytes:
    checked = _CHECKED.pack(received_ns, kind, 0, channel, count)
    crc = zlib.crc32(payload, zlib.crc32(checked))
    return b"".join((len(payload).to_bytes(4, "little"), crc.to_bytes(4, "little"), checked, payload))


class SegmentReader:
    """Reads the records of one segment in order. After the last one ``tail`` says whether the end was torn.

    A record that is cut short or fails its check ends the reading, because that is what a killed process or a power cut
    leaves. When whole records follow it, the file was damaged in another way: ``DataError`` names file and offset.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._size = 0
        self.tail = Tail(0, 0, 0)

    def __iter__(self) -> Iterator[Record]:
        """Records up to the end or to the torn tail."""
        # What a feed that is running appends from here on is left to the next reader.
        size = self._size = self._file.seek(0, 2)
        self._file.seek(0)
        magic = self._file.read(len(MAGIC))
        if magic != MAGIC:
            self._refuse_other_files(magic, size)
            self.tail = Tail(0, 0, size)
            return
        offset, count = len(MAGIC), 0
        while (record := self._read(offset)) is not None:
            yield record
            offset += HEADER_BYTES + len(record.payload)
            count += 1
        self._refuse_damage(offset, size)
        self.tail = Tail(count, offset, size - offset)

    def _read(self, offset: int) -> Record | None:
        if offset + HEADER_BYTES > self._size:
            return None
        self._file.seek(offset)
        header = self._file.read(HEADER_BYTES)
        length, crc, received_ns, kind, _, channel, count = _HEADER.unpack(header)
        if length > min(MOST_PAYLOAD_BYTES, self._size - offset - HEADER_BYTES) or kind not in (Kind.NOTE, Kind.FRAMES):
            return None
        payload = self._file.read(length)
        if zlib.crc32(payload, zlib.crc32(header[_CRC_END:])) != crc:
            return None
        return Record(received_ns, Kind(kind), channel, count, payload, offset)

    def _refuse_other_files(self, start: bytes, size: int) -> None:
        """A file that was cut inside its magic is a torn segment; one that begins otherwise is no segment."""
        if size >= len(MAGIC) or not MAGIC.startswith(start):
            raise DataError(
                f"{self._name} is not a segment of a feed recording", remedy="name a folder or a .feed file"
            )

    def _refuse_damage(self, offset: int, size: int) -> None:
        """Raise when a whole record stands where the bad one says that it ends: a crash leaves nothing behind it."""
        self._file.seek(offset)
        header = self._file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            return
        after = offset + HEADER_BYTES + _HEADER.unpack(header)[0]
        if after + HEADER_BYTES <= size and self._read(after) is not None:
            raise DataError(
                f"{self._name} is damaged: the record at byte {offset} fails its check and whole records follow it",
                remedy="restore the file from a copy; the other segments are not affected",
            )
