"""Rows that start, join, leave, are reordered and go back at random, and what each would be alone."""

from collections.abc import Sequence

import numpy as np

from diptych.runtime.decoder import CachedDecoder, CacheState, Sources
from diptych.runtime.graph import Array


def alone(decoder: CachedDecoder, source: Sequence[int], target: Sequence[int]) -> Array:
    """[V]: after a target decoded at once, with nothing beside it."""
    state = decoder.start(Sources.pad([list(source)], 0), 1)
    return decoder.step(state, np.array([target], dtype=np.int64))[0]


class Mix:
    """A batch of ragged rows, and the source and the target that each of them has by now."""

    def __init__(self, decoder: CachedDecoder, vocabulary: int, seed: int, *, longest_source: int = 8) -> None:
        """longest_source: 0 if there is nothing to look back at."""
        self.decoder, self.vocabulary, self.longest_source = decoder, vocabulary, longest_source
        self.random = np.random.default_rng(seed)
        self.rows_per_source = int(self.random.integers(1, 4))
        self.state, self.sources, self.targets = self.begin(2)

    def begin(self, count: int) -> tuple[CacheState, list[list[int]], list[list[int]]]:
        """So many sources, their rows with prompts of any lengths, decoded at once, padded on the left."""
        lengths = self.random.integers(1, self.longest_source, count) if self.longest_source else [0] * count
        sources = [self.random.integers(3, self.vocabulary, length).tolist() for length in lengths]
        rows = [source for source in sources for _ in range(self.rows_per_source)]
        prompts = [self.random.integers(3, self.vocabulary, self.random.integers(1, 5)).tolist() for _ in rows]
        longest = max(map(len, prompts))
        state = self.decoder.start(Sources.pad(sources, 0), self.rows_per_source)
        self.decoder.step(state, np.array([[-1] * (longest - len(prompt)) + prompt for prompt in prompts]))
        return state, rows, prompts

    def turn(self) -> Array:
        """Something happens to the batch, then every row gets one or two tokens; logits [R, V]."""
        match self.random.choice(["join", "select", "leave", "trim", "nothing"]):
            case "join" if len(self.sources) < 9:
                newcomers, sources, prompts = self.begin(int(self.random.integers(1, 3)))
                self.decoder.join(self.state, newcomers)
                self.sources, self.targets = self.sources + sources, self.targets + prompts
            case "select":
                self.select(list(range(len(self.sources) // self.rows_per_source)))
            case "leave":
                staying = self.random.permutation(len(self.sources) // self.rows_per_source)
                self.select(staying[: max(1, len(staying) - 1)].tolist())
            case "trim" if min(map(len, self.targets)) > 2:
                self.decoder.trim(self.state, self.decoder.length(self.state) - 1)
                self.targets = [target[:-1] for target in self.targets]
        new = self.random.integers(3, self.vocabulary, (len(self.sources), self.random.integers(1, 3)))
        self.targets = [[*target, *row] for target, row in zip(self.targets, new.tolist(), strict=True)]
        return self.decoder.step(self.state, new)

    def select(self, groups: list[int]) -> None:
        """Of each of these sources, any of its rows, as often as it has rows."""
        count = self.rows_per_source
        rows = np.concatenate([group * count + self.random.integers(0, count, count) for group in groups])
        self.decoder.select(self.state, rows)
        self.sources, self.targets = [self.sources[row] for row in rows], [self.targets[row] for row in rows]

    def expected(self) -> Array:
        """[R, V]: each row alone."""
        rows = zip(self.sources, self.targets, strict=True)
        return np.stack([alone(self.decoder, source, target) for source, target in rows])
