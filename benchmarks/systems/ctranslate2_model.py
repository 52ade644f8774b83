"""CTranslate2. Its options are its defaults but for what every system is asked: threads, beams, length, one batch."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from harness.system import TEXTS_AT_A_TIME, Work


class Translation:
    """Encoder-decoders. Options of `prepare`: the quantization it stores."""

    packages = ("ctranslate2",)

    @staticmethod
    def prepare(checkpoint: Path, folder: Path, options: Sequence[str]) -> None:
        # The converter needs torch and transformers; the process that translates does not.
        from ctranslate2.converters import TransformersConverter  # noqa: PLC0415

        TransformersConverter(str(checkpoint)).convert(str(folder), quantization=options[0])

    def __init__(self, folder: Path, threads: int, workers: int = 1) -> None:
        self.translator = ctranslate2.Translator(
            str(folder), device="cpu", inter_threads=workers, intra_threads=threads
        )
        self.workers = workers

    def share(self, count: int) -> int:
        """Of so many in a batch, how many for each worker."""
        return -(-count // self.workers)

    def work(self, inputs: Sequence[Sequence[int]], beams: int, new_tokens: int) -> Work:
        # It takes and gives tokens; these are made of ids, and ids of them, while the clock stands.
        tokens = [[_token(index) for index in row] for row in inputs]
        search: dict[str, Any] = {"beam_size": beams, "max_decoding_length": new_tokens}
        return Work(
            lambda: self.translator.translate_batch(tokens, max_batch_size=self.share(len(tokens)), **search),
            lambda results: [[_index(token) for token in result.hypotheses[0]] for result in results],
        )


class Text(Translation):
    """The example's checkpoint, with its tokenizer: texts in, texts out, all of them in one call."""

    packages = ("ctranslate2", "tokenizers")

    @staticmethod
    def prepare(checkpoint: Path, folder: Path, options: Sequence[str]) -> None:
        from ct2.conversion import convert  # noqa: PLC0415 - the tests' own, proven there to be exact

        convert(checkpoint, folder, quantization=options[0])
        shutil.copy(checkpoint / "tokenizer.json", folder)

    def __init__(self, folder: Path, threads: int, workers: int = 1) -> None:
        import tokenizers  # noqa: PLC0415  The process that translates ids needs no memory for it.

        super().__init__(folder, threads, workers)
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))

    def work(self, inputs: Sequence[str], beams: int, new_tokens: int) -> Work:
        def translate() -> list[str]:
            sources = [encoding.tokens for encoding in self.tokenizer.encode_batch(list(inputs))]
            results = self.translator.translate_batch(
                sources, beam_size=beams, max_batch_size=self.share(TEXTS_AT_A_TIME)
            )
            ids = [[self.tokenizer.token_to_id(token) for token in result.hypotheses[0]] for result in results]
            return [text.strip() for text in self.tokenizer.decode_batch(ids)]

        return Work(translate, lambda texts: texts)


class Continuation(Translation):
    """Decoder-only models. The prompt is read at once, which is the faster of its two ways."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.generator = ctranslate2.Generator(str(folder), device="cpu", inter_threads=1, intra_threads=threads)

    def work(self, inputs: Sequence[Sequence[int]], beams: int, new_tokens: int) -> Work:
        tokens = [[_token(index) for index in row] for row in inputs]
        search: dict[str, Any] = {"beam_size": beams, "max_length": new_tokens, "include_prompt_in_result": False}
        return Work(
            lambda: self.generator.generate_batch(tokens, **search),
            lambda results: [list(result.sequences_ids[0]) for result in results],
        )


class Encoding(Translation):
    """Encoders, ids in; of each text, the mean of its states."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.encoder = ctranslate2.Encoder(str(folder), device="cpu", inter_threads=1, intra_threads=threads)

    def work(self, inputs: Sequence[Sequence[int]], beams: int, new_tokens: int) -> Work:
        rows = [list(row) for row in inputs]
        return Work(
            lambda: np.asarray(self.encoder.forward_batch(rows).last_hidden_state),
            lambda states: states.mean(axis=1).tolist(),
        )


def _token(index: int) -> str:
    return {0: "</s>", 1: "<unk>"}.get(index, f"t{index}")


def _index(token: str) -> Any:
    return {"</s>": 0, "<unk>": 1}[token] if not token.startswith("t") else int(token[1:])
