"""Random numbers as functions of a seed and a counter. Spec: docs/specs/first_passage.md.

Number ``n`` of a stream is the n-th output of SplitMix64 (Steele, Lea and Flood 2014) started at the stream's key, so a
path can be drawn alone, in any order, and again. Normals come by the ziggurat of Marsaglia and Tsang (2000) with 256
layers, exact in distribution; the rare second tries chain on from the first word.

Plain Python callers of these functions wrap them in ``np.errstate(over="ignore")``: the words are meant to overflow.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crypto.compiled import jit, kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_RETRY = np.uint64(0xD1B54A32D192ED03)
_S12, _S27, _S30, _S31 = (np.uint64(shift) for shift in (12, 27, 30, 31))
_LAYER_MASK = np.uint64(255)
_UNIT = 2.0**-52
PATH_BITS = 24  # numbers of a path's streams are counted in its own 2**24

# Ziggurat: ``TAIL`` is where the base layer ends; every layer has the same area.
LAYERS = 256
TAIL = 3.654152885361009


def _density(x: float) -> float:
    return math.exp(-0.5 * x * x)


def _ziggurat() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Per layer: width over 2**52, the part of the width that lies under the curve, density at its lower corner."""
    area = TAIL * _density(TAIL) + math.sqrt(math.pi / 2) * math.erfc(TAIL / math.sqrt(2))
    edges = [TAIL]
    while len(edges) < LAYERS - 1:
        edges.append(math.sqrt(-2.0 * math.log(area / edges[-1] + _density(edges[-1]))))
    corner = np.array([area / _density(TAIL), *edges])  # layer 0 is the base with its tail, as wide as its area asks
    inner = np.array([TAIL, *edges[1:], 0.0])
    return corner * 2.0**-52, inner, np.exp(-0.5 * np.array([TAIL, *edges]) ** 2)


_WIDTH, _INNER, _HEIGHT = _ziggurat()


@kernel
def mixed(word: Any) -> Any:
    """SplitMix64's output function of a 64-bit word (``np.uint64``)."""
    word = (word ^ (word >> _S30)) * _MIX_1
    word = (word ^ (word >> _S27)) * _MIX_2
    return word ^ (word >> _S31)


@kernel
def word_at(key: Any, counter: Any) -> Any:
    """64 random bits: number ``counter`` of the stream ``key``, both ``np.uint64``."""
    return mixed(key + counter * _GOLDEN)


@kernel
def uniform(word: Any) -> float:
    """A number within (0, 1) of 64 random bits, never 0 or 1: middles of 2**52 cells, which floats hold exactly."""
    return float((np.float64(np.int64(word >> _S12)) + 0.5) * _UNIT)


def stream_key(seed: int, name: str) -> Any:
    """Key of the stream ``name`` of a run with ``seed`` (whole, 0 or more, below 2**63), as ``np.uint64``."""
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=tuple(name.encode()))
    return sequence.generate_state(1, np.uint64)[0]


@kernel
def retry(word: Any) -> Any:
    """The next word of the chain that starts at ``word``."""
    return mixed(word + _RETRY)


@kernel
def outside(x: Any, layer: int, word: Any) -> Any:
    """A normal whose first try ``x`` fell beside the part of its layer that is wholly under the curve."""
    while True:
        if layer == 0:
            while True:
                word = retry(word)
                beyond = -math.log(uniform(word)) / TAIL
                word = retry(word)
                if -2.0 * math.log(uniform(word)) > beyond * beyond:
                    return TAIL + beyond if x > 0 else -TAIL - beyond
        word = retry(word)
        top = _HEIGHT[layer + 1] if layer < LAYERS - 1 else 1.0
        if _HEIGHT[layer] + uniform(word) * (top - _HEIGHT[layer]) < math.exp(-0.5 * x * x):
            return x
        word = retry(word)
        layer = int(word & _LAYER_MASK)
        x = np.float64(np.int64(word) >> 11) * _WIDTH[layer]
        if abs(x) < _INNER[layer]:
            return x


@kernel
def normal(word: Any) -> Any:
    """A standard normal of 64 random bits: bits 0 to 7 choose the layer, the upper 53 the signed place in it."""
    layer = int(word & _LAYER_MASK)
    x = np.float64(np.int64(word) >> 11) * _WIDTH[layer]
    if abs(x) < _INNER[layer]:
        return x
    return outside(x, layer, word)


@jit
def sum_of_normals(key: Any, paths: int, steps: int) -> float:
    """Sum of paths x steps normals, drawn as the path loops draw them: their cost without any other work."""
    total = 0.0
    for path in range(paths):
        base = np.uint64(path) << np.uint64(PATH_BITS)
        for step in range(steps):
            total += normal(word_at(key, base + np.uint64(step)))
    return total
