"""Level 2 for graphs that read whole texts: encoders, and decoders whose states are asked for."""

from collections.abc import Iterator

import numpy as np

from diptych.export.parity.levels.properties import Bound, Finding, different, exempt, other_ids, prove, same
from diptych.export.parity.report import PropertyReport
from diptych.model import architecture as arch
from diptych.runtime import ports
from diptych.runtime.graph import Array, Graph
from diptych.runtime.manifest import Manifest

_LENGTHS = (9, 5, 7)
_SEED = 31


class Reading:
    """One graph over texts of ids; what is looked at is its first output.

    texts: ids of several lengths. Where there is no output for each token, all tokens' one output is looked at.
    """

    def __init__(self, graph: Graph, file: str, stack: arch.Stack, manifest: Manifest, bound: Bound) -> None:
        self.graph, self.file, self.stack = graph, file, stack
        self.pad = manifest.tokens.pad
        self.output = next(iter(graph.outputs))
        self.by_token = graph.outputs[self.output][1:2] in ((ports.SEQUENCE_LENGTH,), (ports.SOURCE_LENGTH,))
        self.bound = bound(file, self.output)
        self.random = np.random.default_rng(_SEED)
        self.vocabulary = manifest.source_vocabulary
        longest = manifest.source_positions or max(_LENGTHS)
        self.texts = [self.ids(min(length, longest)) for length in _LENGTHS]
        self.room = (manifest.source_positions or 1 << 30) - max(map(len, self.texts))

    def prove(self, *, both_ways: bool) -> Iterator[PropertyReport]:
        if max(map(len, self.texts)) > 1:
            yield prove("bidirectionality" if both_ways else "causality", self.file, lambda: self.order(both_ways))
        yield prove("determinism", self.file, self.repetition)
        yield prove("batch invariance", self.file, self.batch)
        if self.room < 1:
            return
        yield prove("padding invariance", self.file, lambda: self.padding(left=False))
        reason = self._placed_by_slot(both_ways)
        if reason is None:
            yield prove("padding invariance, left", self.file, lambda: self.padding(left=True))
        else:
            yield exempt("padding invariance, left", self.file, reason)

    def _placed_by_slot(self, both_ways: bool) -> str | None:
        """Why padding on the left moves a text, if it does."""
        if not self.by_token:
            return "the head reads the first slot, padding or not"
        embedding = self.stack.embedding
        if both_ways and embedding.positions is not None and embedding.unplaced is None:
            return "positions are counted from the first slot, padding included"
        return None

    def order(self, both_ways: bool) -> Iterator[Finding]:
        """The last token reaches the first; or, in a decoder, no token before it."""
        texts = [text for text in self.texts if len(text) > 1]
        changed = [np.append(text[:-1], self.other(text[-1:])) for text in texts]
        before, after = self.run(texts), self.run(changed)
        if not self.by_token or both_ways:
            first, other = (np.stack([each[0] if self.by_token else each for each in run]) for run in (before, after))
            yield different(first, other, self.bound, "the last token was changed; the first should know")
        else:
            for one, two in zip(before, after, strict=True):
                yield same(one[:-1], two[:-1], self.bound, "the last token was changed; those before should not know")
                yield different(one[-1:], two[-1:], self.bound, "the last token was changed; its own state should be")

    def repetition(self) -> Iterator[Finding]:
        """The same texts twice give the same."""
        for one, two in zip(self.run(self.texts), self.run(self.texts), strict=True):
            yield same(one, two, self.bound, "the same texts twice")

    def batch(self) -> Iterator[Finding]:
        """A text gives the same alone, and in any place among others."""
        together = self.run([*self.texts, *self.texts[::-1]])
        for row, text in enumerate(self.texts):
            (alone,) = self.run([text])
            for place in (row, len(together) - 1 - row):
                yield same(together[place], alone, self.bound, f"text {row} alone, and in place {place} of a batch")

    def padding(self, *, left: bool) -> Iterator[Finding]:
        """Neither how much padding there is makes a difference, nor which ids lie under it."""
        plain = self.run(self.texts)
        for extra in {1, min(6, self.room)}:
            # Where padding is known by its id, other ids before a text move it.
            garbage = None if left and self.stack.embedding.unplaced is not None else self.ids(1)[0]
            for token in (self.pad, garbage):
                if token is None:
                    continue
                padded = self.run(self.texts, extra, left=left, padding=int(token))
                side = "left" if left else "right"
                for one, two in zip(padded, plain, strict=True):
                    yield same(one, two, self.bound, f"{extra} more padding on the {side}, id {token}")

    def run(self, texts: list[Array], extra: int = 0, *, left: bool = False, padding: int | None = None) -> list[Array]:
        """Each text's own output."""
        width = max(map(len, texts)) + extra
        ids = np.full((len(texts), width), self.pad if padding is None else padding, dtype=np.int64)
        mask = np.zeros_like(ids)
        places = [slice(width - len(text), width) if left else slice(0, len(text)) for text in texts]
        for row, (text, place) in enumerate(zip(texts, places, strict=True)):
            ids[row, place], mask[row, place] = text, 1
        feeds = {ports.INPUT_IDS: ids, ports.ATTENTION_MASK: mask, ports.TOKEN_TYPE_IDS: np.zeros_like(ids)}
        values = self.graph.run({name: feeds[name] for name in self.graph.inputs})[self.output]
        return [row[place] if self.by_token else row for row, place in zip(values, places, strict=True)]

    def ids(self, length: int) -> Array:
        """Random ids, none of them padding."""
        return self.other(np.full(length, self.pad))

    def other(self, ids: Array) -> Array:
        """Random ids, none of them padding and none of them the same."""
        return other_ids(self.random, ids, self.vocabulary, self.pad)
