"""Decoders: what a generation loop can do with a model, and the one that keeps a growing cache.

Shapes: B sources, K rows per source, R = K·B rows (those of a source adjacent), S source length, T new tokens,
P cached tokens, H heads, D head width, V vocabulary.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from diptych.runtime import ports
from diptych.runtime.errors import BundleError
from diptych.runtime.graph import Array, Graph

StateT = TypeVar("StateT")


@dataclass(frozen=True)
class Sources:
    """ids and mask [B, S], int64; 1 = token, 0 = padding. S is 0 where there is nothing to look back at."""

    ids: Array
    mask: Array

    @staticmethod
    def pad(rows: list[list[int]], pad_id: int) -> "Sources":
        """Rows of ids of any lengths, padded on the right."""
        length = max(map(len, rows), default=0)
        ids = np.full((len(rows), length), pad_id, dtype=np.int64)
        mask = np.zeros((len(rows), length), dtype=np.int64)
        for row, values in enumerate(rows):
            ids[row, : len(values)] = values
            mask[row, : len(values)] = 1
        return Sources(ids, mask)


class Decoder(Protocol[StateT]):
    """All that generation, search and parity know of a model. How the cache lies in memory stays behind it."""

    def start(self, sources: Sources, rows_per_source: int) -> StateT:
        """Encode the sources; nothing decoded yet."""
        ...

    def step(self, state: StateT, ids: Array) -> Array:
        """Append ids [R, T] to the rows, -1 for padding on the left; logits [R, V] after the last, float32."""
        ...

    def select(self, state: StateT, rows: Array) -> None:
        """Go on with these rows [R'] of the present ones: reordered, repeated or dropped.

        Rows of one source stay adjacent, and all sources that stay keep the same number of rows.
        """
        ...

    def join(self, state: StateT, sources: Sources) -> None:
        """Append sources that have decoded nothing yet."""
        ...

    def trim(self, state: StateT, length: int) -> None:
        """Forget all but the first `length` cached tokens."""
        ...


@dataclass
class CacheState:
    """rows_per_source K; source_mask [B, S]; cross [B, H, S, D] and past [R, H, P, D] by input name; mask [R, P]."""

    rows_per_source: int
    source_mask: Array
    cross: dict[str, Array]
    mask: Array
    past: dict[str, Array]


class CachedDecoder:
    """A decoder graph whose cache grows by concatenation, with the encoder graph it looks back at, if it does.

    Cross-attention entries come from the encoder once per source; they are touched only when sources leave or join.
    """

    def __init__(self, encoder: Graph | None, decoder: Graph) -> None:
        """Raises BundleError if the graphs do not fit together."""
        self.encoder = encoder
        self.decoder = decoder
        encoded = encoder.outputs if encoder else {}
        pasts = [name for name in decoder.inputs if ports.present_name(name) != name]
        self.cross_names = [name for name in pasts if ports.present_name(name) in encoded]
        self.past_names = [name for name in pasts if ports.present_name(name) in decoder.outputs]
        orphans = sorted(set(pasts) - set(self.cross_names) - set(self.past_names))
        if orphans or not pasts:
            raise BundleError(f"the graphs do not fit: no output feeds {', '.join(orphans) or 'a cache'}")

    def start(self, sources: Sources, rows_per_source: int) -> CacheState:
        rows = len(sources.ids) * rows_per_source
        return CacheState(
            rows_per_source=rows_per_source,
            source_mask=sources.mask,
            cross=self._encode(sources),
            mask=np.zeros((rows, 0), dtype=np.int64),
            past={name: self._empty_past(name, rows) for name in self.past_names},
        )

    def step(self, state: CacheState, ids: Array) -> Array:
        return self.forward(state, ids, keep=1)[:, -1]

    def forward(self, state: CacheState, ids: Array, keep: int = 0) -> Array:
        """As `step`, with logits [R, T, V] after every new token, or after the last `keep` if it is not 0."""
        state.mask = np.concatenate([state.mask, (ids >= 0).astype(np.int64)], axis=1)
        outputs = self.decoder.run(self.feeds(state, ids, keep))
        state.past = {name: outputs[ports.present_name(name)] for name in self.past_names}
        return outputs[ports.LOGITS]

    def feeds(self, state: CacheState, ids: Array, keep: int) -> dict[str, Array]:
        """What the graph is fed to append ids [R, T] to a state whose mask has them already."""
        positions = np.maximum(np.cumsum(state.mask, axis=1)[:, state.mask.shape[1] - ids.shape[1] :] - 1, 0)
        feeds = {
            ports.INPUT_IDS: np.maximum(ids, 0),
            ports.POSITION_IDS: positions,
            ports.ATTENTION_MASK: state.mask,
            ports.DECODER_ATTENTION_MASK: state.mask,
            ports.ENCODER_ATTENTION_MASK: state.source_mask,
            ports.NUM_LOGITS_TO_KEEP: np.array(keep, dtype=np.int64),
            **state.cross,
            **state.past,
        }
        return {name: feeds[name] for name in self.decoder.inputs}

    def select(self, state: CacheState, rows: Array) -> None:
        if np.array_equal(rows, np.arange(len(state.mask))):
            return
        sources, rows_per_source = _sources_of(rows, state.rows_per_source)
        if not np.array_equal(sources, np.arange(len(state.source_mask))):
            state.source_mask = state.source_mask[sources]
            state.cross = {name: value[sources] for name, value in state.cross.items()}
        state.rows_per_source = rows_per_source
        state.mask = state.mask[rows]
        state.past = {name: value[rows] for name, value in state.past.items()}

    def join(self, state: CacheState, sources: Sources) -> None:
        rows = len(sources.ids) * state.rows_per_source
        length = max(state.source_mask.shape[1], sources.ids.shape[1])
        cross = self._encode(sources)
        state.source_mask = np.concatenate([_widen(state.source_mask, 1, length), _widen(sources.mask, 1, length)])
        state.cross = {
            name: np.concatenate([_widen(value, 2, length), _widen(cross[name], 2, length)])
            for name, value in state.cross.items()
        }
        state.mask = np.concatenate([state.mask, np.zeros((rows, state.mask.shape[1]), dtype=np.int64)])
        state.past = {
            name: np.concatenate([value, np.zeros((rows, *value.shape[1:]), dtype=value.dtype)])
            for name, value in state.past.items()
        }

    def trim(self, state: CacheState, length: int) -> None:
        state.mask = state.mask[:, :length]
        state.past = {name: value[:, :, :length] for name, value in state.past.items()}

    def _encode(self, sources: Sources) -> dict[str, Array]:
        if self.encoder is None:
            return {}
        outputs = self.encoder.run({ports.INPUT_IDS: sources.ids, ports.ATTENTION_MASK: sources.mask})
        return {name: outputs[ports.present_name(name)] for name in self.cross_names}

    def _empty_past(self, name: str, rows: int) -> Array:
        _, heads, _, head_dim = self.decoder.inputs[name]
        return np.zeros((rows, int(heads), 0, int(head_dim)), dtype=np.float32)


def _sources_of(rows: Array, rows_per_source: int) -> tuple[Array, int]:
    """The source of each run of adjacent rows, and the length all runs must have."""
    owner = rows // rows_per_source
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    lengths = np.diff(starts, append=len(rows))
    if len(lengths) and (lengths != lengths[0]).any():
        raise ValueError(f"every source must keep the same number of rows, not {sorted(set(lengths.tolist()))}")
    return owner[starts], int(lengths[0]) if len(lengths) else rows_per_source


def _widen(array: Array, axis: int, length: int) -> Array:
    padding = [(0, 0)] * array.ndim
    padding[axis] = (0, length - array.shape[axis])
    return np.pad(array, padding)
