"""Decoder-only models against their peers, on the same random weights and ids: `python benchmarks/decoder_only.py`.

LLaMA's geometry with 313 million parameters; prompts of 128 tokens, exactly 64 new ones, greedy search.
"""

from pathlib import Path

import click
import numpy as np
from harness.checkpoints import GEOMETRIES
from harness.comparison import chosen, compare, options
from harness.measure import Settings
from harness.system import Cell, System

PROMPT, NEW = 128, 64
OURS, CT2, GENAI = "diptych_bundle:Generation", "ctranslate2_model:Continuation", "genai_model:Continuation"
SYSTEMS = (
    System("diptych portable", OURS),
    System("diptych cpu", OURS, "fp32", ("--target", "cpu")),
    System("diptych cpu int8", OURS, "int8", ("--target", "cpu", "--precision", "int8")),
    System("diptych cpu int4", OURS, "int4", ("--target", "cpu", "--precision", "int4")),
    System("ctranslate2", CT2, "fp32", ("float32",)),
    System("ctranslate2 int8", CT2, "int8", ("int8",)),
    System("genai", GENAI, "fp32", ("fp32",), "genai"),
    System("genai int8", GENAI, "int8", ("int8",), "genai"),
    System("genai int4", GENAI, "int4", ("int4",), "genai"),
    System("transformers", "torch_model:Continuation"),
)


@click.command(help=__doc__)
@click.option("--sizes", default="llama", show_default=True)
@click.option("--batches", default="1,4", show_default=True)
@click.option("--prompt", default=PROMPT, show_default=True, help="Tokens of a prompt.")
@click.option("--new", default=NEW, show_default=True, help="New tokens.")
@options
def main(
    sizes: str,
    batches: str,
    prompt: int,
    new: int,
    systems: str | None,
    bundles: tuple[str, ...],
    output: Path | None,
    **settings: float,
) -> None:
    """Of every size and batch."""
    cells = [cell(size, int(batch), prompt, new) for size in sizes.split(",") for batch in batches.split(",")]
    compare("decoder_only", chosen(SYSTEMS, systems, bundles, OURS), cells, Settings(**settings), output)


def cell(size: str, batch: int, prompt: int, new: int) -> Cell:
    """Prompts drawn at random, the same for the same numbers."""
    draw = np.random.default_rng(batch)
    inputs = draw.integers(2, GEOMETRIES[size].vocabulary - 1, (batch, prompt)).tolist()
    return Cell(f"{size}, batch {batch}", size, inputs, 1, new)


if __name__ == "__main__":
    main()
