"""The lake as Lean's data folder: only what changed is written, each file whole or not at all.

Spec: docs/specs/lean_folder.md.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from crypto.settings import InstrumentSettings
from data.lean_folder import composites, shared_files
from data.lean_folder.archives import packed
from data.lean_folder.layout import BORROW
from data.lean_folder.live_rows import log_path
from data.lean_folder.manifest import (
    Manifest,
    Record,
    Stamp,
    Written,
    is_same_file,
    is_unchanged,
    owned_manifest,
    stamp_of,
    stamp_of_bytes,
    write_manifest,
)
from data.lean_folder.plan import Job, plan
from data.lean_folder.texts import Text, Texts, bar_texts, borrow_texts, closes_text, funding_texts
from data.oracle_series import OracleRequest
from data.store.atomic import write_bytes
from data.store.freqtrade import Skipped
from data.store.lake import Lake
from data.store.series import Series

_THREADS = 4  # deflate and the disk's own waiting run beside the encoding
_RUNNING = ".carry-export-running"  # still there when an export was killed
_AHEAD = 64  # files that may wait to be written: bounds the memory they take


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export. ``symbols``: symbols or keys, empty for everything. ``[start_ms, end_ms)``: None is open.

    ``tolerance_ms``: how far a settlement's stamp may be off its hour. ``overrides``: the user's instrument filters.
    ``lean_data``: Lean's own data folder, whose tables of symbols and hours are kept beside ours. ``with_sources``:
    also prices of instruments that can't be traded on Lean, as sources of an oracle. ``composites``: composite oracles
    to write as rate files.
    """

    symbols: tuple[str, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None
    tolerance_ms: int = 60_000
    overrides: Mapping[str, InstrumentSettings] = field(default_factory=dict)
    lean_data: Path | None = None
    with_sources: bool = False
    composites: tuple[OracleRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of one series: rows in the folder, files written and kept, bytes written."""

    series: str
    rows: int
    first_ms: int
    last_ms: int
    written: int
    kept: int
    bytes_written: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of an export: series by series, what was left out and why, shared files written, series removed."""

    root: Path
    series: tuple[Exported, ...]
    skipped: tuple[Skipped, ...]
    shared_written: tuple[str, ...]
    removed: tuple[str, ...]


def export(lake: Lake, root: Path, options: ExportOptions, advance: Callable[[], None] = lambda: None) -> Outcome:
    """Bring the data folder ``root`` up to the lake's state. ``advance`` is called after each series.

    A series whose lake files, options and own files are unchanged is not touched. A killed export leaves whole files;
    the next one finishes. ``RefusedError`` for a folder that is not ours; ``DataError`` for values that Lean can't
    read, for two series that would share a file, and for damaged lake files.
    """
    manifest = owned_manifest(root)
    jobs, skipped = _plan(lake, options)
    shared_written = shared_files.write(
        root, jobs, manifest, options.overrides, options.lean_data, keep_others=bool(options.symbols)
    )
    write_manifest(root, manifest)  # from here on the folder is ours, also when this run is killed
    running = root / _RUNNING
    if running.exists():
        _remove_parts(root)
    write_bytes(running, b"")  # says by name when the folder may not be written
    try:
        exported, empty = _export_all(lake, root, options, jobs, manifest, advance)
        removed = () if options.symbols else _remove_others(root, manifest, {str(job.key) for job in jobs})
        if options.composites:
            write_manifest(root, manifest)  # they are made of what it names
        made = composites.write_composites(
            root, manifest, options.composites, options.end_ms, keep_others=bool(options.symbols)
        )
    finally:
        write_manifest(root, manifest)
        running.unlink(missing_ok=True)
    skips = (*skipped, *empty, *made.skipped)
    return Outcome(root, (*exported, *_composites(made)), skips, tuple(shared_written), tuple(removed))


def _composites(made: composites.Outcome) -> Iterator[Exported]:
    for item in made.composites:
        size = made.bytes_written.get(item.asset, 0)
        name, written = f"composite oracle of {item.asset}", int(size > 0)
        yield Exported(name, item.rows, item.first_ms, item.last_ms, written, 1 - written, size)


def job_count(lake: Lake, options: ExportOptions) -> int:
    """How many series an export would look at."""
    return len(_plan(lake, options)[0])


def _plan(lake: Lake, options: ExportOptions) -> tuple[list[Job], list[Skipped]]:
    return plan(lake, options.symbols, options.overrides, with_sources=options.with_sources)


@dataclass(slots=True)
class _Pending:
    """A series whose files are being written."""

    record: Record
    files: list[Future[tuple[str, Written, int]]]


def _export_all(
    lake: Lake,
    root: Path,
    options: ExportOptions,
    jobs: Sequence[Job],
    manifest: Manifest,
    advance: Callable[[], None],
) -> tuple[list[Exported], list[Skipped]]:
    done: list[Exported] = []
    empty: list[Skipped] = []
    pending: deque[_Pending] = deque()
    claimed = {place.rate_path for job in jobs if job.closes for place in job.rate_places}
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for job in jobs:
                known = manifest.series.get(str(job.key))
                sources, choices = _sources(root, job, known), _choices(job, options)
                if known and known.sources == sources and known.options == choices and is_unchanged(root, known.files):
                    done.append(_kept(known))
                else:
                    started = _start(lake, root, options, job, known, pool)
                    if started is None:
                        empty.append(Skipped(str(job.key), "no rows in the asked period"))
                    else:
                        record = replace(started.record, sources=sources, options=choices)
                        pending.append(_Pending(record, started.files))
                while sum(len(item.files) for item in pending) > _AHEAD:
                    done.append(_finish(root, manifest, pending.popleft(), claimed))
                advance()
            while pending:
                done.append(_finish(root, manifest, pending.popleft(), claimed))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return sorted(done, key=lambda item: item.series), empty


def _sources(root: Path, job: Job, known: Record | None) -> dict[str, Stamp]:
    """Identity of every file that the series' text is made of; live logs count where they are there."""
    before = known.sources if known else {}
    paths = {**job.sources, **{f"live {place.market}": log_path(root, place) for place in job.rate_places}}
    return {name: stamp_of(path, before.get(name)) for name, path in paths.items() if path.is_file()}


def _choices(job: Job, options: ExportOptions) -> dict[str, str]:
    chosen = {"start": options.start_ms, "end": options.end_ms, "ticker": job.place.ticker}
    if job.key.series == "funding":
        chosen["tolerance_ms"] = options.tolerance_ms
    if job.closes:
        chosen["closes"] = 1
    return {name: "" if value is None else str(value) for name, value in chosen.items()}


def _kept(known: Record) -> Exported:
    return Exported(str(known.key), known.rows, known.first_ms, known.last_ms, 0, len(known.files), 0)


def _start(
    lake: Lake, root: Path, options: ExportOptions, job: Job, known: Record | None, pool: ThreadPoolExecutor
) -> _Pending | None:
    """Encode a series and hand its files to the pool; None when it has no rows in the period."""
    held = lake.read(job.key, options.start_ms, options.end_ms)
    if len(held.time_ms) == 0:
        return None
    texts = _texts(lake, root, options, job, held)
    before = known.files if known else {}
    files = [pool.submit(_write_file, root, text, before.get(text.path)) for text in texts.files]
    record = Record(
        key=job.key,
        place=job.place,
        quote=job.quote,
        sources={},
        options={},
        rows=texts.rows,
        first_ms=texts.first_ms,
        last_ms=texts.last_ms,
        provenance=held.info.provenance,
        stamp_offset_ms=texts.stamp_offset_ms,
        marks_filled=texts.marks_filled,
    )
    return _Pending(record, files)


def _texts(lake: Lake, root: Path, options: ExportOptions, job: Job, held: Series) -> Texts:
    columns = dict(held.columns)
    if job.key.series == "funding":
        return funding_texts(job.key, job.place, columns, root, options.end_ms, lake, options.tolerance_ms)
    if job.key.series == BORROW:
        return borrow_texts(job.key, job.place, columns, root, options.end_ms)
    closes = closes_text(job.key, job.place, columns, root, options.end_ms) if job.closes else None
    return bar_texts(job.key, job.place, columns, closes)


def _write_file(root: Path, text: Text, known: Written | None) -> tuple[str, Written, int]:
    """Write one file unless it already holds this text; the last value is how many bytes were written."""
    path = root / text.path
    digest = hashlib.sha256(text.content).hexdigest()
    if known is not None and known.text_sha256 == digest and is_same_file(path, known.file):
        return text.path, known, 0
    content = packed(text.entry_name, text.content) if text.entry_name else text.content
    write_bytes(path, content)
    return text.path, Written(stamp_of_bytes(path, content), digest), len(content)


def _finish(root: Path, manifest: Manifest, pending: _Pending, claimed: set[str]) -> Exported:
    """Wait for the files of a series, take away those that no series has any longer, and record it."""
    results = [future.result() for future in pending.files]
    files = {path: written for path, written, _ in results}
    record = replace(pending.record, files=files)
    name = str(record.key)
    before = manifest.series.get(name)
    for path in sorted((before.files.keys() if before else set()) - files.keys() - claimed):
        (root / path).unlink(missing_ok=True)
    _remove_other_days(root, record)
    manifest.series[name] = record
    sizes = [size for _, _, size in results if size]
    kept = len(results) - len(sizes)
    return Exported(name, record.rows, record.first_ms, record.last_ms, len(sizes), kept, sum(sizes))


def _remove_parts(root: Path) -> None:
    """Unfinished files of an export that was killed: nothing reads them, but they take room."""
    for path in root.rglob(".*.part"):
        path.unlink(missing_ok=True)


def _remove_other_days(root: Path, record: Record) -> None:
    """Days that an export which was killed may have left: the folder of a ticker's minutes belongs to one series."""
    if record.place.resolution != "minute":
        return
    folder = (root / record.place.bars_path("day")).parent
    for path in folder.glob("*_trade.zip"):
        if path.relative_to(root).as_posix() not in record.files:
            path.unlink()


def _remove_others(root: Path, manifest: Manifest, wanted: set[str]) -> list[str]:
    """Take away series that the lake no longer holds."""
    gone = sorted(set(manifest.series) - wanted)
    used = {path for name, record in manifest.series.items() if name in wanted for path in record.files}
    for name in gone:
        for path in set(manifest.series.pop(name).files) - used:
            (root / path).unlink(missing_ok=True)
            with suppress(OSError):  # the folder holds other files
                (root / path).parent.rmdir()
    return gone
