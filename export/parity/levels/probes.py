"""What graphs are fed in a case. All engines get the same: what comes from another graph is the truth, rounded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from diptych.export.parity.levels.cases import Case, padding_mask
from diptych.export.parity.sides import Engines
from diptych.runtime import ports
from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.graph import Array, Shape
from diptych.runtime.manifest import Manifest

# Tokens that a long cache is made of, again and again: the cost of a case is then in its new tokens alone.
_PREFILLED = 32


@dataclass(frozen=True)
class Probe:
    """graph: its file. case: what it is fed, in words.

    mask: [rows, length] of the positions that outputs have, 1 = token; cached ones come first. past: how many of them
    are cached. kept: how many logits are asked for, 0 = one for each new token.
    """

    graph: str
    case: str
    feeds: dict[str, Array]
    mask: Array
    past: int = 0
    kept: int = 0

    def seen(self, name: str, shape: Shape, values: Array) -> Array:
        """The values at positions that hold tokens; `shape` has the names of the axes.

        Of [B, S, …] and of [B, H, S, D] one row for each position; of outputs without positions, all of them.
        """
        if values.ndim == 4:
            values = values.transpose(0, 2, 1, 3)
        elif name == ports.LOGITS and ports.NUM_LOGITS_TO_KEEP in self.feeds:
            return values if values.shape[:2] != self.new_mask.shape else values[self.new_mask != 0]
        elif shape[1:2] != (ports.SEQUENCE_LENGTH,) and name != ports.LAST_HIDDEN_STATE:
            return values
        return values if values.shape[:2] != self.mask.shape else values[self.mask != 0]

    @property
    def new_mask(self) -> Array:
        """[rows, T] of the positions that have logits."""
        new = self.mask[:, self.past :]
        return new[:, -self.kept :] if self.kept else new


def probes(case: Case, truth: Engines, manifest: Manifest, types: int, random: np.random.Generator) -> Iterator[Probe]:
    """One for each graph; the decoder's looks back at what the true encoder says of the encoder's. types: of tokens."""
    match truth:
        case {ports.ENCODER_FILE: encoder, ports.DECODER_FILE: decoder}:
            mask = padding_mask(case.sources, case.source_length, case.padding)
            feeds = _texts(mask, manifest, types, random)
            yield Probe(ports.ENCODER_FILE, case.read(), {name: feeds[name] for name in encoder.inputs}, mask)
            encoded = encoder.run({name: feeds[name] for name in encoder.inputs})
            cross = {name: encoded[ports.present_name(name)] for name in CachedDecoder(encoder, decoder).cross_names}
            looked_at = {**cross, ports.ENCODER_ATTENTION_MASK: mask}
            yield _decoder_probe(ports.DECODER_FILE, case, truth, looked_at, random)
        case {ports.MODEL_FILE: model} if ports.LOGITS in model.outputs and ports.POSITION_IDS in model.inputs:
            yield _decoder_probe(ports.MODEL_FILE, case, truth, {}, random)
        case {ports.MODEL_FILE: model}:
            mask = padding_mask(case.sources, case.source_length, case.padding)
            feeds = _texts(mask, manifest, types, random)
            yield Probe(ports.MODEL_FILE, case.read(), {name: feeds[name] for name in model.inputs}, mask)


def _texts(mask: Array, manifest: Manifest, types: int, random: np.random.Generator) -> dict[str, Array]:
    """Any ids, those of padding too, with one type after the other as in a pair of texts."""
    ids = np.where(mask, _drawn(mask.shape, manifest.source_vocabulary, random), manifest.tokens.pad)
    typed = np.arange(mask.shape[1]) * max(types, 1) // mask.shape[1] * mask
    return {ports.INPUT_IDS: ids, ports.ATTENTION_MASK: mask, ports.TOKEN_TYPE_IDS: typed}


def _drawn(shape: tuple[int, ...], vocabulary: int, random: np.random.Generator) -> Array:
    """Any ids; in the middle of rows, seldom under padding, the vocabulary's ends."""
    ids = random.integers(0, vocabulary, shape)
    middle = shape[1] // 2
    ids[:, middle] = np.where(np.arange(shape[0]) % 2, 0, vocabulary - 1)
    return ids


def _decoder_probe(
    file: str, case: Case, truth: Engines, looked_at: dict[str, Array], random: np.random.Generator
) -> Probe:
    graph = truth[file]
    rows = case.sources * case.rows_per_source
    mask = padding_mask(rows, case.past + case.new, case.row_padding)
    past_names = [name for name in graph.inputs if ports.present_name(name) in graph.outputs]
    cache = {name: _empty(graph.inputs[name], rows) for name in past_names}
    if case.past:
        prefilled = min(case.past, _PREFILLED)
        start = _step(graph.outputs, mask[:, :prefilled], cache, looked_at, 1, random)
        present = graph.run({name: start[name] for name in graph.inputs})
        cache = {name: _repeated(present[ports.present_name(name)], case.past) for name in past_names}
    feeds = _step(graph.outputs, mask, _rounded(cache), looked_at, case.keep, random)
    words = case.decoded(looks_back=bool(looked_at))
    return Probe(file, words, {name: feeds[name] for name in graph.inputs}, mask, case.past, case.keep)


def _step(
    outputs: Mapping[str, Shape],
    mask: Array,
    cache: dict[str, Array],
    looked_at: dict[str, Array],
    keep: int,
    random: np.random.Generator,
) -> dict[str, Array]:
    """Feeds for the tokens of `mask`, [R, P + T], that are not cached."""
    past = next(iter(cache.values())).shape[2]
    vocabulary = int(outputs[ports.LOGITS][-1])
    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)[:, past:]
    return {
        ports.INPUT_IDS: np.where(mask[:, past:], _drawn(positions.shape, vocabulary, random), 0),
        ports.POSITION_IDS: positions,
        ports.ATTENTION_MASK: mask,
        ports.DECODER_ATTENTION_MASK: mask,
        ports.NUM_LOGITS_TO_KEEP: np.array(keep, dtype=np.int64),
        **_rounded(looked_at),
        **cache,
    }


def _empty(shape: Shape, rows: int) -> Array:
    _, heads, _, head_dim = shape
    return np.zeros((rows, int(heads), 0, int(head_dim)), dtype=np.float32)


def _rounded(values: dict[str, Array]) -> dict[str, Array]:
    """Float64 as a graph takes it."""
    return {name: value.astype(np.float32) if value.dtype == np.float64 else value for name, value in values.items()}


def _repeated(entries: Array, length: int) -> Array:
    """[R, H, p, D] -> [R, H, length, D]"""
    return np.take(entries, np.arange(length) % entries.shape[2], axis=2)
