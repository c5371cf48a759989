"""Segments in a folder: rotation, recovery, one writer, full disks."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from crypto.errors import OutputError, RefusedError
from data.feed.recorder import Recorder, RecorderOptions, segment_paths
from data.feed.segment import Kind, SegmentReader

SECOND = 1_000_000_000


def notes_and_frames(folder: Path) -> tuple[list[list[str]], list[bytes]]:
    """Names of the notes by segment, and all frames of the recording."""
    notes, frames = [], []
    for path in segment_paths(folder):
        names = []
        with path.open("rb") as file:
            for record in SegmentReader(file, path.name):
                if record.kind is Kind.NOTE:
                    names.append(record.note()["note"])
                else:
                    frames += record.frames()
        notes.append(names)
    return notes, frames


def make(folder: Path, prelude: Sequence[dict[str, Any]] = (), **options: Any) -> Recorder:
    return Recorder(folder, RecorderOptions(**options), lambda: prelude, now_ns=lambda: 0)


def test_frames_are_in_the_file_before_the_call_returns(tmp_path: Path) -> None:
    recorder = make(tmp_path)
    recorder.frames(1, 5, [b"one", b"two"])
    assert notes_and_frames(tmp_path) == ([["segment"]], [b"one", b"two"])
    recorder.close()
    assert notes_and_frames(tmp_path) == ([["segment", "end"]], [b"one", b"two"])


def test_a_segment_ends_when_it_is_large_or_old_and_each_begins_with_the_prelude(tmp_path: Path) -> None:
    recorder = make(tmp_path, [{"note": "channel"}], segment_bytes=1000, segment_seconds=10.0)
    recorder.frames(1, 1, [b"x" * 1000])
    recorder.frames(1, 2, [b"y"])  # the first is too large
    recorder.frames(1, 11 * SECOND, [b"z"])  # the second is too old
    recorder.close()
    full = ["segment", "channel", "end"]
    assert notes_and_frames(tmp_path) == ([full, full, full], [b"x" * 1000, b"y", b"z"])
    assert [path.name for path in segment_paths(tmp_path)] == ["000000001.feed", "000000002.feed", "000000003.feed"]


def test_a_restart_cuts_the_torn_end_keeps_it_aside_and_opens_a_new_segment(tmp_path: Path) -> None:
    recorder = make(tmp_path)
    recorder.frames(1, 1, [b"kept"])
    whole = recorder.path.stat().st_size
    recorder.frames(1, 2, [b"torn"])
    recorder.close()
    os.truncate(recorder.path, whole + 7)
    tail = recorder.path.read_bytes()[whole:]

    again = make(tmp_path)
    (cut,) = again.cuts
    assert (cut.segment, cut.torn_bytes) == ("000000001.feed", 7)
    assert (tmp_path / cut.kept_as).read_bytes() == tail
    again.frames(1, 3, [b"new"])
    again.close()
    assert notes_and_frames(tmp_path) == ([["segment"], ["segment", "end"]], [b"kept", b"new"])
    assert make(tmp_path).cuts == []


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first = make(tmp_path)
    with pytest.raises(RefusedError, match="another feed records into"):
        make(tmp_path)
    first.close()
    first.close()
    make(tmp_path).close()


def test_a_disk_that_fills_up_leaves_whole_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = make(tmp_path)
    recorder.frames(1, 1, [b"kept"])
    real, calls = os.write, []

    def half_then_full(descriptor: int, data: Any) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return real(descriptor, bytes(data)[:10])
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", half_then_full)
    with pytest.raises(OutputError, match="No space left") as caught:
        recorder.frames(1, 2, [b"lost"])
    monkeypatch.undo()
    assert "000000001.feed" in caught.value.message
    assert caught.value.remedy
    assert notes_and_frames(tmp_path) == ([["segment"]], [b"kept"])
    recorder.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        make(tmp_path / "file" / "out")


def test_syncing_survives_a_rotation(tmp_path: Path) -> None:
    recorder = make(tmp_path, segment_bytes=10)
    recorder.note(1, {"note": "x"})
    sync = recorder.start_sync()
    assert sync is not None
    recorder.frames(1, 1, [b"x" * 20])
    sync()
    recorder.close()
    assert recorder.start_sync() is None
