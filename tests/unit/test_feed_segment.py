"""The bytes of a recording: written down by hand once, read back, cut anywhere, damaged anywhere."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import DataError
from data.feed.segment import HEADER_BYTES, MAGIC, Kind, Record, SegmentReader, Tail, frames_record, note_record


def read(content: bytes) -> tuple[list[Record], Tail]:
    reader = SegmentReader(io.BytesIO(content), "x.feed")
    records = list(reader)
    return records, reader.tail


def test_a_frames_record_has_the_bytes_that_the_format_says() -> None:
    payload = struct.pack("<II", 2, 3) + b"abcde"
    checked = struct.pack("<QHHII", 1_700_000_000_000_000_001, 2, 0, 7, 2) + payload
    expected = struct.pack("<II", 13, zlib.crc32(checked)) + checked
    assert frames_record(7, 1_700_000_000_000_000_001, [b"ab", b"cde"]) == expected


def test_records_come_back_in_order() -> None:
    content = MAGIC + note_record(5, {"note": "segment"}) + frames_record(1, 6, [b"", b"x" * 300, b"\xff\x00"])
    (note, frames), tail = read(content)
    assert (note.received_ns, note.kind, note.note()) == (5, Kind.NOTE, {"note": "segment"})
    assert (frames.received_ns, frames.channel, frames.frames()) == (6, 1, [b"", b"x" * 300, b"\xff\x00"])
    assert tail == Tail(2, len(content), 0)


@given(st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=4), min_size=1, max_size=5), st.data())
def test_any_cut_leaves_every_whole_record_readable(batches: list[list[bytes]], data: st.DataObject) -> None:
    records = [frames_record(1, number, batch) for number, batch in enumerate(batches)]
    content = MAGIC + b"".join(records)
    cut = data.draw(st.integers(0, len(content)))
    ends = [len(MAGIC) + sum(map(len, records[: k + 1])) for k in range(len(records))]
    whole = sum(end <= cut for end in ends)
    found, tail = read(content[:cut])
    assert [record.frames() for record in found] == batches[:whole]
    good = ([0 if cut < len(MAGIC) else len(MAGIC), *ends])[whole]
    assert tail == Tail(whole, good, cut - good)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_found(place: int, flip: int) -> None:
    records = [frames_record(1, 1, [b"first"]), frames_record(1, 2, [b"second"])]
    content = bytearray(MAGIC + b"".join(records))
    at = len(MAGIC) + len(records[0]) + place % len(records[1])
    content[at] ^= flip
    found, tail = read(bytes(content))
    assert [record.frames() for record in found] == [[b"first"]]
    assert tail.torn_bytes == len(records[1])


def test_zeros_after_a_power_cut_are_a_torn_end() -> None:
    content = MAGIC + frames_record(1, 1, [b"first"])
    found, tail = read(content + bytes(4096))
    assert len(found) == 1
    assert tail == Tail(1, len(content), 4096)


def test_damage_in_the_middle_is_named_and_not_taken_for_a_torn_end() -> None:
    first, second = frames_record(1, 1, [b"first"]), frames_record(1, 2, [b"second"])
    content = bytearray(MAGIC + first + second)
    content[len(MAGIC) + HEADER_BYTES + 4] ^= 1
    with pytest.raises(DataError, match=r"x\.feed is damaged: the record at byte 8 "):
        read(bytes(content))


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a segment"):
        read(b"time,open,high\n")


def test_what_a_running_feed_appends_while_it_is_read_is_left_to_the_next_reader() -> None:
    file = io.BytesIO(MAGIC + frames_record(1, 1, [b"a"]) + frames_record(1, 2, [b"b"]))
    reader = SegmentReader(file, "growing")
    seen = []
    for record in reader:
        seen.append(record.received_ns)
        file.seek(0, 2)
        file.write(frames_record(1, 10 + len(seen), [b"later"]))
    assert seen == [1, 2]
    assert reader.tail.torn_bytes == 0
