"""Histories and scores to try filters on, and how their results are compared."""

import random
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from diptych.runtime.generation.filters import make_filters
from diptych.runtime.generation.history import PADDING, History
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.graph import Array

VOCAB, EOS = 24, (2, 7)
LIMIT = 6

# Those of one token add up in this order, but for single tokens; float32 tells the difference.
BIASES = {(4, 3, 5): 0.11, (3, 5): 0.83, (4, 5): 0.4, (5,): 1.5, (6,): -2.25, (3, 4, 6): 4.0, (9,) * 12 + (5,): 8.0}
BAD_WORDS = [[5], [2], [3, 4], [4, 4], [3, 4, 3], [4, 2], [9] * 12]


def texts(draw: random.Random, rows: int, shortest: int, longest: int) -> list[list[int]]:
    """Few distinct tokens, so that they repeat."""
    return [[draw.randint(3, 6) for _ in range(draw.randint(shortest, longest))] for _ in range(rows)]


def ragged(seed: int, rows: int = 6, *, encodes: bool = True) -> History:
    """Rows with prompts, texts and sources of their own lengths."""
    draw = random.Random(seed)
    begun = [[(token, 0.0) for token in row] for row in texts(draw, rows, 0, LIMIT - 1)]
    prompts = texts(draw, rows, 1, 4)
    return History.start(prompts, [LIMIT] * rows, texts(draw, rows, 1, 7) if encodes else None, begun)


def unpadded(history: History, row: int) -> tuple[torch.Tensor, int, torch.Tensor]:
    """A row's ids [1, L], its prompt's length, and what was read [1, S]."""
    ids = history.ids[row][history.ids[row] != PADDING]
    read = history.sources[row][history.sources[row] != PADDING]
    given = int(history.given[row])
    return torch.tensor(ids[None]), given, torch.tensor((read if len(read) else ids[:given])[None])


SCORES = ("random", "steep", "ties", "forbidden", "one", "flat")


def make_scores(kind: str, seed: int, rows: int = 6) -> Array:
    generator = np.random.default_rng(seed)
    scores = generator.normal(0.0, 2.0, (rows, VOCAB))
    if kind == "steep":
        scores *= 20
    elif kind == "ties":
        scores = np.round(scores)
    elif kind == "forbidden":
        scores[generator.random(scores.shape) < 0.6] = -np.inf
        scores[:, 9] = 0.5
    elif kind == "one":
        scores[np.arange(VOCAB) != generator.integers(0, VOCAB, (rows, 1))] = -np.inf
    elif kind == "flat":
        scores[:] = generator.normal(size=(rows, 1))
    return scores.astype(np.float32)


def ours(options: GenerationOptions, eos: Sequence[int], history: History, scores: Array) -> Array:
    result = scores.copy()
    for apply in make_filters(options, eos, VOCAB):
        apply(history, result)
    return result


def assert_alike(result: Array, expected: Array, *, exact: bool = False) -> None:
    """Which of equally likely tokens transformers keeps is an accident of its sorting: there, scores are compared."""
    same = np.array_equal if exact else partial(np.allclose, rtol=1e-6, atol=1e-6)
    for mine, wanted in zip(result, expected, strict=True):
        differ = np.isfinite(mine) != np.isfinite(wanted)
        edge = np.where(np.isfinite(mine), mine, wanted)[differ]
        assert not len(edge) or np.ptp(edge) < 1e-5, f"{mine} is not {wanted}"
        assert same(np.sort(mine), np.sort(wanted)) if differ.any() else same(mine, wanted), f"{mine} is not {wanted}"


def probabilities(scores: Array) -> Array:
    return torch.tensor(scores.astype(np.float64)).softmax(dim=1).numpy()
