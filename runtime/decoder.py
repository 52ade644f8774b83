"""Decoders: what a generation loop can do with a model, and the one that keeps a growing cache.

Shapes: B sources, K rows per source, R = K·B rows (those of a source adjacent), S source length, T new tokens,
P cached tokens, H heads, D head width, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from diptych.runtime import ports
from diptych.runtime.device_memory import memory_of
from diptych.runtime.errors import BundleError
from diptych.runtime.graph import Array, Graph
from diptych.runtime.memory import Entries, Memory, joined
from diptych.runtime.ranked import Ranked

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

    @property
    def attends(self) -> bool:
        """Whether it can tell its cross-attention."""
        ...

    def start(self, sources: Sources, rows_per_source: int, *, attend: bool = False) -> StateT:
        """Encode the sources; nothing decoded yet. attend: keep each step's cross-attention, for `attention`."""
        ...

    def step(self, state: StateT, ids: Array) -> Array:
        """Append ids [R, T] to the rows, -1 for padding on the left; logits [R, V] after the last, float32."""
        ...

    def rank(self, state: StateT, ids: Array, count: int, asked: Array) -> Ranked:
        """As `step`, with the best `count` tokens of each row, and the logits of those asked for [n], instead of all.

        Where a logit is not a number, the sum of the exponentials is none either; or EngineError is raised.
        """
        ...

    def forward(self, state: StateT, ids: Array, keep: int = 0) -> Array:
        """As `step`, with logits [R, T, V] after every new token, or after the last `keep` if it is not 0."""
        ...

    def attention(self, state: StateT) -> Array:
        """Cross-attention weights [R, layers, H, T, S] of the last step, float32.

        Raises ValueError if nothing was decoded since the state was started, selected from, joined or trimmed, or if
        it was not started to attend.
        """
        ...

    def select(self, state: StateT, rows: Array) -> None:
        """Go on with these rows [R'] of the present ones: reordered, repeated or dropped.

        It need not be called where all stay as they are. Rows of one source stay adjacent, and all sources that stay
        keep the same number of rows. Cached places that no row uses any more, at the beginning of rows and at the end
        of sources, may go.
        """
        ...

    def part(self, state: StateT) -> None:
        """Make every row a source of its own, so that it may leave or be repeated by itself."""
        ...

    def join(self, state: StateT, newcomers: StateT) -> None:
        """Append the rows of a state started apart, with as many rows per source, which is not to be used after.

        Either may have decoded tokens, of any number: the shorter past is padded on the left.
        """
        ...

    def length(self, state: StateT) -> int:
        """P, the cached tokens of the longest row with the padding before them: what `trim` counts."""
        ...

    def trim(self, state: StateT, length: int) -> None:
        """Forget all but the first `length` cached places."""
        ...


@dataclass
class CacheState:
    """rows_per_source K; source_mask [B, S]; cross [B, H, S, D] and past [R, H, P, D] by input name; mask [R, P].

    attention: of the last step, if the state was started to attend.
    """

    rows_per_source: int
    source_mask: Array
    cross: Entries
    mask: Array
    past: Entries
    attend: bool = False
    attention: Array | None = None


class CachedDecoder:
    """A decoder graph whose cache grows by concatenation, with the encoder graph it looks back at, if it does.

    Cross-attention entries come from the encoder once per source; they are touched only when sources leave or join.
    """

    def __init__(self, encoder: Graph | None, decoder: Graph, memory: Memory | None = None) -> None:
        """memory: where the cache lies between steps; by default, where the decoder's graph computes.

        Raises BundleError if the graphs do not fit together.
        """
        self.encoder = encoder
        self.decoder = decoder
        self.memory = memory or memory_of(decoder)
        self.cross_names, self.past_names = cache_names(encoder, decoder)

    @property
    def attends(self) -> bool:
        return ports.CROSS_ATTENTIONS in self.decoder.outputs

    def start(self, sources: Sources, rows_per_source: int, *, attend: bool = False) -> CacheState:
        """Raises BundleError if it is to attend and the graph does not tell its cross-attention."""
        if attend and not self.attends:
            raise BundleError("the decoder's graph does not tell its cross-attention; export it with --with-attention")
        rows = len(sources.ids) * rows_per_source
        return CacheState(
            rows_per_source=rows_per_source,
            source_mask=sources.mask,
            cross=self._encode(sources),
            mask=np.zeros((rows, 0), dtype=np.int64),
            past=self.memory.empty(self.decoder, self.past_names, rows),
            attend=attend,
        )

    def step(self, state: CacheState, ids: Array) -> Array:
        return self.forward(state, ids, keep=1)[:, -1]

    def rank(self, state: CacheState, ids: Array, count: int, asked: Array) -> Ranked:
        return self.memory.ranked(self._append(state, ids, 1), count, asked)

    def forward(self, state: CacheState, ids: Array, keep: int = 0) -> Array:
        return self.memory.arrays({ports.LOGITS: self._append(state, ids, keep)})[ports.LOGITS]

    def _append(self, state: CacheState, ids: Array, keep: int) -> Any:
        """The logits, where they are left. A graph that fails leaves the state as it was."""
        before, state.mask = state.mask, np.concatenate([state.mask, (ids >= 0).astype(np.int64)], axis=1)
        fetched = [ports.CROSS_ATTENTIONS] if state.attend else []
        left = {ports.LOGITS: ports.LOGITS, **{name: ports.present_name(name) for name in self.past_names}}
        try:
            outputs, entries = self.memory.run(self.decoder, self.feeds(state, ids, keep), fetched, left)
        except Exception:
            state.mask = before
            raise
        state.attention = outputs.get(ports.CROSS_ATTENTIONS)
        logits = entries.pop(ports.LOGITS)
        state.past = entries
        return logits

    def feeds(self, state: CacheState, ids: Array, keep: int) -> Entries:
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

    def attention(self, state: CacheState) -> Array:
        if state.attention is None:
            raise ValueError("no attention: it is that of the last step, of a state started with attend=True")
        return state.attention

    def select(self, state: CacheState, rows: Array) -> None:
        sources, rows_per_source = sources_of(rows, state.rows_per_source)
        if not is_all(sources, state.source_mask):
            state.source_mask = state.source_mask[sources]
            state.cross = self.memory.select(state.cross, sources)
        if not is_all(rows, state.mask):
            state.mask = state.mask[rows]
            state.past = self.memory.select(state.past, rows)
        state.rows_per_source = rows_per_source
        state.attention = None
        self._drop_unused(state)

    def part(self, state: CacheState) -> None:
        if state.rows_per_source == 1:
            return
        owners = np.arange(len(state.source_mask)).repeat(state.rows_per_source)
        state.source_mask = state.source_mask[owners]
        state.cross = self.memory.select(state.cross, owners)
        state.rows_per_source = 1

    def join(self, state: CacheState, newcomers: CacheState) -> None:
        """Raises ValueError if their sources have other numbers of rows."""
        if state.rows_per_source != newcomers.rows_per_source:
            raise ValueError(
                f"every source must have the same number of rows: {newcomers.rows_per_source} cannot join "
                f"{state.rows_per_source}"
            )
        state.source_mask = joined(state.source_mask, newcomers.source_mask, 1, left=False)
        state.cross = self.memory.join(state.cross, newcomers.cross, left=False)
        state.mask = joined(state.mask, newcomers.mask, 1, left=True)
        state.past = self.memory.join(state.past, newcomers.past, left=True)
        state.attention = None

    def length(self, state: CacheState) -> int:
        return int(state.mask.shape[1])

    def trim(self, state: CacheState, length: int) -> None:
        state.mask = state.mask[:, :length]
        state.past = self.memory.crop(state.past, 0, length)
        state.attention = None

    def _drop_unused(self, state: CacheState) -> None:
        """A batch that others join and leave for long would grow without end otherwise."""
        length = self.length(state)
        begin = int(np.argmax(np.append(state.mask.any(axis=0), values=True)))
        if begin:
            state.mask = state.mask[:, begin:]
            state.past = self.memory.crop(state.past, begin, length)
        # A source of padding alone still needs something to look at.
        end = int(np.max(np.flatnonzero(state.source_mask.any(axis=0)), initial=0)) + 1
        if end < state.source_mask.shape[1]:
            state.source_mask = state.source_mask[:, :end]
            state.cross = self.memory.crop(state.cross, 0, end)

    def _encode(self, sources: Sources) -> Entries:
        if self.encoder is None:
            return {}
        feeds = {ports.INPUT_IDS: sources.ids, ports.ATTENTION_MASK: sources.mask}
        presents = {name: ports.present_name(name) for name in self.cross_names}
        return self.memory.run(self.encoder, feeds, (), presents)[1]


def cache_names(encoder: Graph | None, decoder: Graph) -> tuple[list[str], list[str]]:
    """The decoder's inputs that the encoder feeds, and those that it feeds itself. Raises BundleError for any other."""
    encoded = encoder.outputs if encoder else {}
    pasts = [name for name in decoder.inputs if ports.present_name(name) != name]
    cross = [name for name in pasts if ports.present_name(name) in encoded]
    own = [name for name in pasts if ports.present_name(name) in decoder.outputs]
    orphans = sorted(set(pasts) - set(cross) - set(own))
    if orphans or not pasts:
        raise BundleError(f"the graphs do not fit: no output feeds {', '.join(orphans) or 'a cache'}")
    return cross, own


def sources_of(rows: Array, rows_per_source: int) -> tuple[Array, int]:
    """The source of each run of adjacent rows, and the length all runs must have."""
    owner = rows // rows_per_source
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    lengths = np.diff(starts, append=len(rows))
    if len(lengths) and (lengths != lengths[0]).any():
        raise ValueError(f"every source must keep the same number of rows, not {sorted(set(lengths.tolist()))}")
    return owner[starts], int(lengths[0]) if len(lengths) else rows_per_source


def is_all(rows: Array, of: Array) -> bool:
    """Whether these are all rows, in order."""
    return np.array_equal(rows, np.arange(len(of)))
