"""diptych itself, through its public Python interface. Options of `prepare` are those of `diptych export`."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.system import TEXTS_AT_A_TIME, Work

from diptych.runtime import load, load_generator
from diptych.runtime.tokens import Tokens

_COMMAND = "from diptych.runtime.command import main; main()"


class Generation:
    """Encoder-decoder and decoder-only bundles, ids in and ids out."""

    packages = ("diptych", "onnxruntime", "numpy")

    @staticmethod
    def prepare(checkpoint: Path, folder: Path, options: Sequence[str]) -> None:
        command = [sys.executable, "-c", _COMMAND, "export", str(checkpoint), str(folder), "--no-verify", *options]
        subprocess.run(command, check=True)

    def __init__(self, folder: Path, threads: int, workers: int = 1) -> None:
        self.generator = load_generator(folder, threads=threads, workers=workers)

    def work(self, inputs: Sequence[Sequence[int]], beams: int, new_tokens: int) -> Work:
        return Work(
            lambda: self.generator(inputs, num_beams=beams, max_new_tokens=new_tokens, batch_size=len(inputs)),
            lambda found: [hypotheses[0].ids for hypotheses in found],
        )


class Text(Generation):
    """Texts in, texts out, tokenizers included; all texts in one call."""

    def __init__(self, folder: Path, threads: int, workers: int = 1) -> None:
        self.translate = load(folder, threads=threads, workers=workers)

    def work(self, inputs: Sequence[str], beams: int, new_tokens: int) -> Work:
        return Work(lambda: self.translate(inputs, num_beams=beams, batch_size=TEXTS_AT_A_TIME), lambda texts: texts)


class Encoding(Generation):
    """Encoders, ids in; of each text, the mean of its states."""

    def __init__(self, folder: Path, threads: int, workers: int = 1) -> None:
        self.encoder = load(folder, threads=threads, workers=workers).encoder

    def work(self, inputs: Sequence[Sequence[int]], beams: int, new_tokens: int) -> Work:
        texts = [_tokens(row) for row in inputs]

        def encode() -> list[Any]:
            found = dict(self.encoder.run(texts, batch_size=len(texts)))
            return [found[number]["last_hidden_state"] for number in range(len(texts))]

        return Work(encode, lambda states: [state.mean(axis=0).tolist() for state in states])


def _tokens(ids: Sequence[int]) -> Tokens:
    """As its tokenizer would give them for a single text."""
    count = len(ids)
    return Tokens(list(ids), [0] * count, [(0, 0)] * count, [None] * count, [0] * count)
