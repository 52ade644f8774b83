"""What graphs are fed in a case. All engines get the same: what comes from another graph is the truth, rounded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diptych.export.parity.levels.cases import Case, padding_mask
from diptych.export.parity.sides import Engines, cached_decoder
from diptych.runtime import ports
from diptych.runtime.decoder import CachedDecoder, Sources
from diptych.runtime.generation.history import PADDING
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

    def rounded(self, dtypes: Mapping[str, np.dtype[Any]]) -> "Probe":
        """With numbers that a graph of such inputs can be fed."""
        fed = {
            name: value.astype(dtypes[name]).astype(value.dtype) if value.dtype.kind == "f" else value
            for name, value in self.feeds.items()
        }
        return replace(self, feeds=fed)

    def seen(self, name: str, shape: Shape, values: Array) -> Array:
        """The values at positions that hold tokens; `shape` has the names of the axes.

        Of [B, S, …], of [B, H, S, D], and of attention [R, layers, H, T, S] one row for each position; of outputs
        without positions, all of them.
        """
        if name == ports.CROSS_ATTENTIONS and values.ndim == 5:
            new = self.mask[:, self.past :]
            values = values.transpose(0, 3, 1, 2, 4)
            return values if values.shape[:2] != new.shape else values[new != 0]
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
        case {ports.ENCODER_FILE: encoder, ports.DECODER_FILE: _}:
            mask = padding_mask(case.sources, case.source_length, case.padding)
            texts = _texts(mask, manifest, types, random)
            yield Probe(ports.ENCODER_FILE, case.read(), {name: texts[name] for name in encoder.inputs}, mask)
            sources = Sources(texts[ports.INPUT_IDS], mask)
            yield _decoder_probe(ports.DECODER_FILE, case, cached_decoder(truth), sources, random)
        case {ports.MODEL_FILE: model} if ports.LOGITS in model.outputs and ports.POSITION_IDS in model.inputs:
            sources = Sources.pad([[]] * case.sources, manifest.tokens.pad)
            yield _decoder_probe(ports.MODEL_FILE, case, cached_decoder(truth), sources, random)
        case {ports.MODEL_FILE: model}:
            mask = padding_mask(case.sources, case.source_length, case.padding)
            texts = _texts(mask, manifest, types, random)
            yield Probe(ports.MODEL_FILE, case.read(), {name: texts[name] for name in model.inputs}, mask)


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
    file: str, case: Case, decoder: CachedDecoder, sources: Sources, random: np.random.Generator
) -> Probe:
    mask = padding_mask(case.sources * case.rows_per_source, case.past + case.new, case.row_padding)
    vocabulary = int(decoder.decoder.outputs[ports.LOGITS][-1])

    def drawn(places: Array) -> Array:
        return np.where(places, _drawn(places.shape, vocabulary, random), PADDING)

    state = decoder.start(sources, case.rows_per_source)
    state.cross = _rounded(state.cross)
    if case.past:
        decoder.forward(state, drawn(mask[:, : min(case.past, _PREFILLED)]), keep=1)
        state.past = {name: _repeated(entries, case.past) for name, entries in _rounded(state.past).items()}
    state.mask = mask
    feeds = decoder.feeds(state, drawn(mask[:, case.past :]), case.keep)
    words = case.decoded(looks_back=decoder.encoder is not None)
    return Probe(file, words, feeds, mask, case.past, case.keep)


def _rounded(values: dict[str, Array]) -> dict[str, Array]:
    """Float64 as a graph takes it."""
    return {name: value.astype(np.float32) if value.dtype == np.float64 else value for name, value in values.items()}


def _repeated(entries: Array, length: int) -> Array:
    """[R, H, p, D] -> [R, H, length, D]"""
    return np.take(entries, np.arange(length) % entries.shape[2], axis=2)
