"""Texts to texts by a model that knows its answers: graphs that carry ids in their caches, and a Python function."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from readers import byte_pairs

from diptych.runtime import ports
from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.generation.generator import Generator
from diptych.runtime.graph import Array, Arrays, Shape
from diptych.runtime.manifest import Languages, Manifest, SpecialTokens
from diptych.runtime.memory_limit import MemoryLimit
from diptych.runtime.tasks.generate import TextGenerator
from diptych.runtime.tokenizer import Tokenizer

START, PAD, EOS, UNKNOWN = range(4)
VOCAB = 262
POSITIONS = 120
UNLIKELY = -25.0

# What is answered to a text, and how often, of 1.
Replies = Mapping[str, Mapping[str, float]]


HELLO, SMILE, TWO, BREAK = "hello", "smile", "two", "break"
REPLIES: Replies = {
    HELLO: {"Ça va bien": 0.55, "Ça va mal": 0.3, "Où es-tu": 0.15},
    SMILE: {"😀👍🏽 c'est là": 0.6, "😁 non": 0.4},
    TWO: {"it does n't is": 0.7, "this is 東京": 0.3},
    BREAK: {"a\nb\tc": 1.0},
}
TEXTS = list(REPLIES)
SEARCHES: list[dict[str, Any]] = [
    {},
    {"num_beams": 3},
    {"num_beams": 3, "num_return_sequences": 3},
    {"do_sample": True, "seed": 5},
    {"num_beams": 2, "do_sample": True, "seed": 5},
    {"do_sample": True, "num_return_sequences": 3},
    {"prompt_lookup_num_tokens": 3},
]


class Answers:
    """Log-probabilities of a next token, given what was read and said; UNKNOWN in a reply is written as "?"."""

    def __init__(self, tokenizer: Tokenizer, replies: Replies) -> None:
        unknown = tokenizer.encode_content("?")[0]
        self.known = {
            tuple(tokenizer.encode(text)): {
                tuple(UNKNOWN if token == unknown else token for token in tokenizer.encode_content(reply)): share
                for reply, share in answers.items()
            }
            for text, answers in replies.items()
        }

    def logits(self, source: Sequence[int], said: Sequence[int]) -> Array:
        """[V]. What no reply goes on with is unlikely, but not alike."""
        scores = np.full(VOCAB, UNLIKELY) - np.arange(VOCAB) / VOCAB
        scores[EOS] = 2 * UNLIKELY
        for reply, share in self.known.get(tuple(source), {}).items():
            if (*said,) == reply[: len(said)]:
                token = [*reply, EOS][len(said)]
                scores[token] = np.logaddexp(scores[token], np.log(share))
        if scores.max() <= UNLIKELY:
            scores[EOS] = 0.0
        return scores.astype(np.float32)

    def split(self, ids: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        """A prompt, and what follows it."""
        for prompt in sorted(self.known, key=len, reverse=True):
            if tuple(ids[: len(prompt)]) == prompt:
                return prompt, ids[len(prompt) :]
        return ids, ()


class ReadingGraph:
    """Passes the source's ids on."""

    def __init__(self) -> None:
        self.inputs: dict[str, Shape] = {port.name: port.axes for port in ports.encoder_inputs()}
        self.outputs: dict[str, Shape] = {port.name: _shape(port) for port in ports.encoder_outputs(1)}
        self.dtypes = dict.fromkeys(self.inputs, np.dtype(np.int64))
        self.runs: list[Shape] = []

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        ids = feeds[ports.INPUT_IDS]
        self.runs.append(ids.shape)
        return {name: ids[:, None, :, None].astype(np.float32) for name in outputs or self.outputs}


class SayingGraph:
    """Says what `Answers` say. Looks, if it does, at the source's token of the place that it is at, or its last."""

    def __init__(self, answers: Answers, *, encodes: bool = True, attends: bool = False) -> None:
        self.answers, self.encodes = answers, encodes
        inputs = ports.decoder_inputs(1) if encodes else ports.causal_inputs(1)
        outputs = ports.decoder_outputs(1, with_attention=attends) if encodes else ports.causal_outputs(1)
        self.inputs: dict[str, Shape] = {port.name: _shape(port) for port in inputs}
        self.outputs: dict[str, Shape] = {port.name: _shape(port) for port in outputs}
        floats, whole = np.dtype(np.float32), np.dtype(np.int64)
        self.dtypes = {name: floats if name.startswith("past") else whole for name in self.inputs}
        self.runs: list[Shape] = []

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        ids = feeds[ports.INPUT_IDS]
        self.runs.append(ids.shape)
        mask = feeds[ports.DECODER_ATTENTION_MASK if self.encodes else ports.ATTENTION_MASK]
        past = "past_key_values.0.decoder.key" if self.encodes else "past_key_values.0.key"
        rows = np.concatenate([feeds[past][:, 0, :, 0].astype(np.int64), ids], axis=1)
        kept = int(feeds[ports.NUM_LOGITS_TO_KEEP]) or ids.shape[1]
        logits = np.zeros((*ids.shape, VOCAB), np.float32)
        looks = np.zeros((len(ids), 1, 1, ids.shape[1], self._width(feeds)), np.float32)
        for row, place in np.ndindex(*ids.shape):
            end = rows.shape[1] - ids.shape[1] + place + 1
            seen = rows[row, :end][mask[row, :end] == 1].tolist()
            if seen:
                source, said = (self._source(feeds, row), seen[1:]) if self.encodes else self.answers.split(seen)
                logits[row, place] = self.answers.logits(source, said)
                if self.encodes:
                    looks[row, 0, 0, place, min(len(said) + 1, len(source) - 1)] = 1.0
        found = {name: rows[:, None, :, None].astype(np.float32) for name in self.outputs}
        found |= {ports.LOGITS: logits[:, -kept:], ports.CROSS_ATTENTIONS: looks}
        return {name: found[name] for name in outputs or self.outputs}

    def _width(self, feeds: Arrays) -> int:
        return feeds[ports.ENCODER_ATTENTION_MASK].shape[1] if self.encodes else 0

    def _source(self, feeds: Arrays, row: int) -> list[int]:
        mask = feeds[ports.ENCODER_ATTENTION_MASK]
        own = row // (len(feeds[ports.INPUT_IDS]) // len(mask))
        read = feeds["past_key_values.0.encoder.key"][own, 0, mask[own] == 1, 0]
        return [int(token) for token in read]


class Speaker:
    """A model of replies as what a bundle gives, and its graphs, which count their runs."""

    def __init__(
        self,
        folder: Path,
        replies: Replies,
        *,
        encodes: bool = True,
        attends: bool = False,
        positions: int | None = POSITIONS,
        memory: MemoryLimit | None = None,
        languages: Languages | None = None,
        **generation: Any,
    ) -> None:
        self.tokenizer = Tokenizer(byte_pairs(folder), UNKNOWN)
        self.answers = Answers(self.tokenizer, replies)
        self.encoder = ReadingGraph() if encodes else None
        self.decoder = SayingGraph(self.answers, encodes=encodes, attends=attends)
        tokens = SpecialTokens(pad=PAD, eos=(EOS,), decoder_start=START if encodes else None, unknown=UNKNOWN)
        task = "translate" if encodes else "generate"
        manifest = Manifest(task, "bart", tokens, VOCAB, positions, positions, generation, languages=languages)
        generator = Generator(CachedDecoder(self.encoder, self.decoder), manifest, lambda: self.tokenizer, memory)
        self.texts = TextGenerator(self.tokenizer, generator)

    @property
    def batches(self) -> list[Shape]:
        """Of what was read together: sources, or prompts, which have more than one token."""
        return self.encoder.runs if self.encoder else [shape for shape in self.decoder.runs if shape[1] > 1]


def _shape(port: ports.Port) -> Shape:
    last = VOCAB if port.name == ports.LOGITS else 1
    return tuple(
        (last if place == len(port.axes) - 1 else 1) if axis is None else axis for place, axis in enumerate(port.axes)
    )
