"""transformers as it is: PyTorch without compilation."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from harness.system import Work


class Translation:
    """Encoder-decoders by `generate`."""

    packages = ("transformers", "torch")
    model_class = "AutoModelForSeq2SeqLM"

    @staticmethod
    def prepare(checkpoint: Path, folder: Path, options: Sequence[str]) -> None:
        shutil.copytree(checkpoint, folder, copy_function=os.link)

    def __init__(self, folder: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        self.model = getattr(transformers, self.model_class).from_pretrained(folder).eval()

    def work(self, inputs: Sequence[Sequence[int]], beams: int, new_tokens: int) -> Work:
        ids = torch.tensor(inputs)
        mask = torch.ones_like(ids)
        search = {"num_beams": beams, "do_sample": False, "max_new_tokens": new_tokens}

        def generate() -> Any:
            with torch.inference_mode():
                return self.model.generate(ids, attention_mask=mask, **search)

        return Work(generate, lambda rows: [row[-new_tokens:].tolist() for row in rows])


class Continuation(Translation):
    """Decoder-only models by `generate`."""

    model_class = "AutoModelForCausalLM"


class Encoding(Translation):
    """Encoders; of each text, the mean of its states."""

    model_class = "AutoModel"

    def work(self, inputs: Sequence[Sequence[int]], beams: int, new_tokens: int) -> Work:
        ids = torch.tensor(inputs)
        mask = torch.ones_like(ids)

        def encode() -> Any:
            with torch.inference_mode():
                return self.model(ids, attention_mask=mask).last_hidden_state

        return Work(encode, lambda states: np.asarray(states).mean(axis=1).tolist())
