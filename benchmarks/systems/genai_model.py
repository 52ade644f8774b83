"""onnxruntime-genai, in an environment of its own; models by its own builder."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai as og
from harness.system import Work


class Continuation:
    """Decoder-only models. Options of `prepare`: the builder's precision."""

    packages = ("onnxruntime-genai", "onnxruntime")

    @staticmethod
    def prepare(checkpoint: Path, folder: Path, options: Sequence[str]) -> None:
        builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        asked = ["-i", str(checkpoint), "-o", str(folder), "-p", options[0], "-e", "cpu"]
        subprocess.run([*builder, *asked, "-c", str(folder.parent)], check=True)

    def __init__(self, folder: Path, threads: int) -> None:
        config = og.Config(str(folder))
        settings = {"intra_op_num_threads": threads}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": settings}}}))
        self.model = og.Model(config)

    def work(self, inputs: Sequence[Sequence[int]], beams: int, new_tokens: int) -> Work:
        prompts = np.array(inputs, dtype=np.int32)
        longest = prompts.shape[1] + new_tokens

        def generate() -> Any:
            params = og.GeneratorParams(self.model)
            params.set_search_options(batch_size=len(prompts), num_beams=beams, max_length=longest, do_sample=False)
            generator = og.Generator(self.model, params)
            generator.append_tokens(prompts)
            while not generator.is_done():
                generator.generate_next_token()
            return [generator.get_sequence(row) for row in range(len(prompts))]

        return Work(generate, lambda rows: [np.asarray(row)[-new_tokens:].tolist() for row in rows])
