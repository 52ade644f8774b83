"""Small models in pure numpy: a decoder whose every distribution can be listed, and graphs with real attention."""

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from diptych.runtime import ports
from diptych.runtime.decoder import Sources
from diptych.runtime.graph import Array, Arrays, Shape
from diptych.runtime.ranked import Ranked, ranked

Prefix = tuple[int, ...]


@dataclass
class FakeState:
    """For each row: the number of its source, the source's ids, and all ids decoded so far, -1 on the left."""

    rows_per_source: int
    owners: Array
    sources: list[Prefix]
    cached: list[Prefix]

    @property
    def prefixes(self) -> list[Prefix]:
        return [tuple(token for token in row if token >= 0) for row in self.cached]


class FakeDecoder:
    """Logits are a function of the source and of everything decoded, drawn by hash or looked up in `table`.

    table: probabilities of the next token after a prefix (the first token left out), for every source alike.
    """

    def __init__(self, vocab_size: int, seed: int = 0, table: Mapping[Prefix, Sequence[float]] | None = None) -> None:
        self.vocab_size = vocab_size
        self.seed = seed
        self.attends = False
        self.table = dict(table or {})
        self.seen: list[list[tuple[Prefix, Prefix]]] = []
        self._drawn: dict[tuple[Prefix, Prefix], Array] = {}

    def logits(self, source: Prefix, prefix: Prefix) -> Array:
        """[V]; not normalised, so that forgetting to normalise shows."""
        if prefix[1:] in self.table:
            with np.errstate(divide="ignore"):
                return np.log(np.array(self.table[prefix[1:]], dtype=np.float32)) + np.float32(len(prefix))
        if (source, prefix) not in self._drawn:
            generator = np.random.default_rng(zlib.crc32(repr((self.seed, source, prefix)).encode()))
            self._drawn[source, prefix] = generator.normal(1.0, 1.5, self.vocab_size).astype(np.float32)
        return self._drawn[source, prefix]

    def log_probabilities(self, source: Prefix, prefix: Prefix) -> Array:
        """[V], in float64."""
        logits = self.logits(source, prefix).astype(np.float64)
        return np.asarray(logits - np.logaddexp.reduce(logits))

    def start(self, sources: Sources, rows_per_source: int, *, attend: bool = False) -> FakeState:
        assert rows_per_source >= 1
        assert sources.ids.shape == sources.mask.shape
        assert not attend
        texts = [tuple(ids[mask == 1].tolist()) for ids, mask in zip(sources.ids, sources.mask, strict=True)]
        return FakeState(
            rows_per_source,
            np.arange(len(texts)).repeat(rows_per_source),
            [text for text in texts for _ in range(rows_per_source)],
            [()] * (len(texts) * rows_per_source),
        )

    def step(self, state: FakeState, ids: Array) -> Array:
        self._append(state, ids)
        self.seen.append(list(zip(state.sources, state.prefixes, strict=True)))
        return np.stack([self.logits(*row) for row in self.seen[-1]])

    def rank(self, state: FakeState, ids: Array, count: int, asked: Array) -> Ranked:
        return ranked(self.step(state, ids), count, asked)

    def forward(self, state: FakeState, ids: Array, keep: int = 0) -> Array:
        self._append(state, ids)
        self.seen.append(list(zip(state.sources, state.prefixes, strict=True)))
        rows = [
            [self.logits(source, prefix[: max(len(prefix) - back, 0)]) for back in reversed(range(ids.shape[1]))]
            for source, prefix in self.seen[-1]
        ]
        return np.array(rows)[:, -keep:]

    def select(self, state: FakeState, rows: Array) -> None:
        assert rows.ndim == 1
        assert ((rows >= 0) & (rows < len(state.cached))).all()
        owners = state.owners[rows]
        groups = owners[np.flatnonzero(np.diff(owners, prepend=-1))].tolist()
        assert len(groups) == len(set(groups)), "rows of one source must stay adjacent"
        assert len({owners.tolist().count(owner) for owner in groups}) <= 1, "as many rows for every source"
        state.rows_per_source = len(rows) // len(groups) if groups else state.rows_per_source
        state.owners = owners
        state.sources = [state.sources[row] for row in rows]
        prefixes = state.prefixes
        longest = max((len(prefixes[row]) for row in rows), default=0)
        state.cached = [state.cached[row][self.length(state) - longest :] for row in rows]

    def part(self, state: FakeState) -> None:
        state.rows_per_source = 1
        state.owners = np.arange(len(state.cached))

    def join(self, state: FakeState, newcomers: FakeState) -> None:
        assert state.rows_per_source == newcomers.rows_per_source
        length = max(self.length(state), self.length(newcomers))
        first = max(state.owners.tolist(), default=-1) + 1
        state.owners = np.concatenate([state.owners, newcomers.owners + first])
        state.sources = state.sources + newcomers.sources
        rows = state.cached + newcomers.cached
        state.cached = [(-1,) * (length - len(row)) + row for row in rows]

    def length(self, state: FakeState) -> int:
        return len(state.cached[0]) if state.cached else 0

    def trim(self, state: FakeState, length: int) -> None:
        state.cached = [row[:length] for row in state.cached]

    def attention(self, state: FakeState) -> Array:
        raise ValueError("no attention")

    def _append(self, state: FakeState, ids: Array) -> None:
        assert len(ids) == len(state.cached) > 0, "one row of new ids for each row of the state, and at least one"
        assert ids.dtype == np.int64
        assert ids.flags.c_contiguous
        assert (ids < self.vocab_size).all()
        state.cached = [old + tuple(new) for old, new in zip(state.cached, ids.tolist(), strict=True)]
        padding = np.array(state.cached) < 0
        assert (padding[:, :-1] >= padding[:, 1:]).all(), "padding is on the left"
        assert not padding[:, -1].any(), "a row goes on from a token"


def all_sequences(
    decoder: FakeDecoder, source: Prefix, prompt: Prefix, eos: Sequence[int], limit: int
) -> Iterator[tuple[list[int], float]]:
    """Every sequence that ends in an EOS or at `limit` tokens, prompt included, and its log-probability."""
    open_rows = [(prompt, 0.0)]
    while open_rows:
        prefix, total = open_rows.pop()
        for token, value in enumerate(decoder.log_probabilities(source, prefix).tolist()):
            row = (*prefix, token)
            if token in eos or len(row) >= limit:
                yield list(row[len(prompt) :]), total + value
            else:
                open_rows.append((row, total + value))


VOCAB, HEADS, HEAD_DIM, DEPTH, POSITIONS = 11, 2, 3, 2, 40
WIDTH = HEADS * HEAD_DIM
PAD_NOISE = 50.0


def _weights(name: str, *shape: int) -> Array:
    return np.random.default_rng(zlib.crc32(name.encode())).normal(0.0, 0.7, shape).astype(np.float32)


def _heads(hidden: Array) -> Array:
    """[R, T, width] -> [R, H, T, D]"""
    return hidden.reshape(*hidden.shape[:2], HEADS, HEAD_DIM).transpose(0, 2, 1, 3)


def _attend(query: Array, keys: Array, values: Array, visible: Array) -> tuple[Array, Array]:
    """query [R, T, width], keys and values [R, H, S, D], visible [R, 1, T or 1, S] -> [R, T, width], [R, H, T, S]"""
    scores = np.where(visible, _heads(query) @ keys.transpose(0, 1, 3, 2), np.float32(-1e9))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    return np.asarray((weights @ values).transpose(0, 2, 1, 3).reshape(query.shape)), weights


def _asked(results: dict[str, Array], outputs: Collection[str] | None) -> dict[str, Array]:
    return results if outputs is None else {name: results[name] for name in outputs}


def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype(np.float32 if name.startswith("past_key_values.") else np.int64)


class FakeEncoder:
    """Cross-attention entries from ids and places. At padding they are huge: looking there cannot go unnoticed."""

    def __init__(self) -> None:
        self.inputs: dict[str, Shape] = {port.name: _shape(port) for port in ports.encoder_inputs()}
        self.outputs: dict[str, Shape] = {port.name: _shape(port) for port in ports.encoder_outputs(DEPTH)}
        self.dtypes = dict.fromkeys(self.inputs, np.dtype(np.int64))
        self.runs: list[Shape] = []

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        assert feeds.keys() == self.inputs.keys()
        ids, mask = feeds[ports.INPUT_IDS], feeds[ports.ATTENTION_MASK]
        assert ids.shape == mask.shape
        self.runs.append(ids.shape)
        tokens, places = _weights("source tokens", VOCAB, WIDTH), _weights("source places", POSITIONS, WIDTH)
        hidden = tokens[ids] + places[: ids.shape[1]] + (mask == 0)[:, :, None] * np.float32(PAD_NOISE)
        result = {ports.LAST_HIDDEN_STATE: hidden}
        for layer in range(DEPTH):
            for part in ("key", "value"):
                result[f"present.{layer}.encoder.{part}"] = _heads(
                    hidden @ _weights(f"cross {layer} {part}", WIDTH, WIDTH)
                )
        return _asked(result, outputs)


class FakeDecoderGraph:
    """Two layers of self- and cross-attention; checks the shapes and values it is fed."""

    def __init__(self, *, attends: bool = False) -> None:
        """attends: with an output of the cross-attention weights."""
        self.inputs: dict[str, Shape] = {port.name: _shape(port) for port in ports.decoder_inputs(DEPTH)}
        self.outputs: dict[str, Shape] = {port.name: _shape(port) for port in ports.decoder_outputs(DEPTH)}
        if attends:
            shape = (ports.ROWS, DEPTH, HEADS, ports.TARGET_LENGTH, ports.SOURCE_LENGTH)
            self.outputs[ports.CROSS_ATTENTIONS] = shape
        self.dtypes = {name: _dtype(name) for name in self.inputs}
        self.feeds: list[dict[str, Array]] = []
        self.asked: list[Collection[str] | None] = []

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        assert feeds.keys() == self.inputs.keys()
        self.feeds.append(dict(feeds))
        self.asked.append(outputs)
        ids, positions = feeds[ports.INPUT_IDS], feeds[ports.POSITION_IDS]
        mask, source_mask = feeds[ports.DECODER_ATTENTION_MASK], feeds[ports.ENCODER_ATTENTION_MASK]
        assert positions.shape == ids.shape
        assert (positions >= 0).all()
        assert (positions < POSITIONS).all()
        assert all(array.dtype == np.int64 for array in (ids, positions, mask, source_mask))
        rows, length = ids.shape
        assert rows % len(source_mask) == 0
        group = rows // len(source_mask)
        slots = np.arange(mask.shape[1])
        visible = (mask == 1)[:, None, None, :] & (slots <= slots[mask.shape[1] - length :, None])
        cross_visible = (source_mask == 1)[:, None, None, :].repeat(group, axis=0)
        hidden = self._tokens[ids] + self._places[positions]
        result: dict[str, Array] = {}
        attention: list[Array] = []
        for layer in range(DEPTH):
            present = []
            for part in ("key", "value"):
                past = feeds[f"past_key_values.{layer}.decoder.{part}"]
                assert past.shape == (rows, HEADS, mask.shape[1] - length, HEAD_DIM)
                assert past.dtype == np.float32
                new = _heads(hidden @ _weights(f"self {layer} {part}", WIDTH, WIDTH))
                present.append(np.concatenate([past, new], axis=2))
                result[f"present.{layer}.decoder.{part}"] = present[-1]
            cross = [feeds[f"past_key_values.{layer}.encoder.{part}"] for part in ("key", "value")]
            assert all(value.shape == (len(source_mask), HEADS, source_mask.shape[1], HEAD_DIM) for value in cross)
            hidden = hidden + _attend(hidden, present[0], present[1], visible)[0]
            seen, weights = _attend(hidden, *(value.repeat(group, axis=0) for value in cross), cross_visible)
            attention.append(weights)
            hidden = hidden + seen
            hidden = np.tanh(hidden)
        result[ports.CROSS_ATTENTIONS] = np.stack(attention, axis=1)
        kept = int(feeds[ports.NUM_LOGITS_TO_KEEP])
        return _asked({ports.LOGITS: hidden[:, -kept:] @ self._head, **result}, outputs)

    @cached_property
    def _tokens(self) -> Array:
        return _weights("target tokens", VOCAB, WIDTH)

    @cached_property
    def _places(self) -> Array:
        return _weights("target places", POSITIONS, WIDTH)

    @cached_property
    def _head(self) -> Array:
        return _weights("head", WIDTH, VOCAB)


class FakeCausalGraph(FakeDecoderGraph):
    """The same without anything to look back at: one graph, other names."""

    def __init__(self) -> None:
        self.inputs = {port.name: _shape(port) for port in ports.causal_inputs(DEPTH)}
        self.outputs = {port.name: _shape(port) for port in ports.causal_outputs(DEPTH)}
        self.dtypes = {name: _dtype(name) for name in self.inputs}
        self.feeds, self.asked = [], []

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        assert feeds.keys() == self.inputs.keys()
        self.feeds.append(dict(feeds))
        self.asked.append(outputs)
        ids, positions, mask = (feeds[name] for name in (ports.INPUT_IDS, ports.POSITION_IDS, ports.ATTENTION_MASK))
        assert positions.shape == ids.shape
        assert (positions >= 0).all()
        assert (positions < POSITIONS).all()
        assert (ids >= 0).all()
        assert all(array.dtype == np.int64 for array in (ids, positions, mask))
        rows, length = ids.shape
        slots = np.arange(mask.shape[1])
        visible = (mask == 1)[:, None, None, :] & (slots <= slots[mask.shape[1] - length :, None])
        hidden = self._tokens[ids] + self._places[positions]
        result: dict[str, Array] = {}
        for layer in range(DEPTH):
            present = []
            for part in ("key", "value"):
                past = feeds[f"past_key_values.{layer}.{part}"]
                assert past.shape == (rows, HEADS, mask.shape[1] - length, HEAD_DIM)
                new = _heads(hidden @ _weights(f"self {layer} {part}", WIDTH, WIDTH))
                present.append(np.concatenate([past, new], axis=2))
                result[f"present.{layer}.{part}"] = present[-1]
            hidden = np.tanh(hidden + _attend(hidden, present[0], present[1], visible)[0])
        kept = int(feeds[ports.NUM_LOGITS_TO_KEEP])
        return _asked({ports.LOGITS: hidden[:, -kept:] @ self._head, **result}, outputs)


def logits_alone(source: Sequence[int], target: Sequence[int]) -> Array:
    """[T, V]: one source and one target, unpadded, nothing cached."""
    ids, target_ids = np.array([source], dtype=np.int64), np.array([target], dtype=np.int64)
    encoded = FakeEncoder().run({ports.INPUT_IDS: ids, ports.ATTENTION_MASK: np.ones_like(ids)})
    graph = FakeDecoderGraph()
    cross = {
        name.replace("present.", "past_key_values."): value
        for name, value in encoded.items()
        if name.startswith("present.")
    }
    past = {name: np.zeros((1, HEADS, 0, HEAD_DIM), dtype=np.float32) for name in graph.inputs if ".decoder." in name}
    outputs = graph.run(
        {
            ports.INPUT_IDS: target_ids,
            ports.POSITION_IDS: np.arange(len(target), dtype=np.int64)[None],
            ports.DECODER_ATTENTION_MASK: np.ones_like(target_ids),
            ports.ENCODER_ATTENTION_MASK: np.ones_like(ids),
            ports.NUM_LOGITS_TO_KEEP: np.array(0),
            **cross,
            **past,
        }
    )
    return np.asarray(outputs[ports.LOGITS][0])


def _shape(port: ports.Port) -> Shape:
    if port.name == ports.LOGITS:
        return (*(axis for axis in port.axes if axis), VOCAB)
    if port.name == ports.LAST_HIDDEN_STATE:
        return (*(axis for axis in port.axes if axis), WIDTH)
    fixed = iter((HEADS, HEAD_DIM))
    return tuple(next(fixed) if axis is None else axis for axis in port.axes)
