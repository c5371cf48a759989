"""Where a study's numbers come from: hashes of its settings and data, seed and versions."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.store.files import read_source

PLACES = ("lake", "data", "sample")  # settings that say where data lie; what lies there is in the hash of the data


def study_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a study's settings as canonical JSON: equal settings give equal hashes, wherever files lie.

    A file that is named by a path, such as one of leverage tiers, counts by its content. ``DataError`` when it is gone.
    """
    text = json.dumps(_plain(settings), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def data_hash(columns: Iterable[NDArray[Any]]) -> str:
    """SHA-256 (hex) over every value read, in order."""
    digest = hashlib.sha256()
    for column in columns:
        digest.update(f"{column.dtype.str}{column.shape}".encode())
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if key not in PLACES}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return hashlib.sha256(read_source(value, value.name)[0]).hexdigest() if isinstance(value, Path) else value
