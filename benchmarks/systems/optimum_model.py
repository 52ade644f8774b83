"""Optimum's ONNX Runtime models, in an environment of their own: Optimum needs an older transformers."""

from collections.abc import Sequence
from pathlib import Path

import torch
from harness.system import Work
from onnxruntime import SessionOptions
from optimum.exporters.onnx import main_export
from optimum.onnxruntime import ORTModelForSeq2SeqLM


class Translation:
    """Encoder-decoders by `generate`, with its cache."""

    packages = ("optimum-onnx", "transformers", "onnxruntime", "torch")

    @staticmethod
    def prepare(checkpoint: Path, folder: Path, options: Sequence[str]) -> None:
        main_export(str(checkpoint), folder, task="text2text-generation-with-past", do_validation=False)

    def __init__(self, folder: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        settings = SessionOptions()
        settings.intra_op_num_threads = threads
        self.model = ORTModelForSeq2SeqLM.from_pretrained(folder, session_options=settings)

    def work(self, inputs: Sequence[Sequence[int]], beams: int, new_tokens: int) -> Work:
        ids = torch.tensor(inputs)
        mask = torch.ones_like(ids)
        search = {"num_beams": beams, "do_sample": False, "max_new_tokens": new_tokens}
        return Work(
            lambda: self.model.generate(ids, attention_mask=mask, **search),
            lambda rows: [row[-new_tokens:].tolist() for row in rows],
        )
