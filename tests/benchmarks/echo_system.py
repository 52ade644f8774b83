"""A system that gives back its inputs, fails when it is asked to, and ends when it is asked to."""

import os
from collections.abc import Sequence
from pathlib import Path

from harness.system import Work


class Echo:
    packages = ("numpy",)

    @staticmethod
    def prepare(checkpoint: Path, folder: Path, options: Sequence[str]) -> None:
        if "refuse" in options:
            raise ValueError("refused")
        folder.mkdir()
        (folder / "model").write_bytes(b"12345")

    def __init__(self, folder: Path, threads: int) -> None:
        os.write(1, b"a line of the engine's own, which is not a reply\n")
        self.threads = threads

    def work(self, inputs: Sequence[Sequence[int]], beams: int, new_tokens: int) -> Work:
        if inputs == [[13]]:
            raise RuntimeError("unlucky")
        if inputs == [[14]]:
            os._exit(3)
        return Work(lambda: inputs, lambda rows: rows)
