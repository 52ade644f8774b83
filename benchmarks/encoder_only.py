"""Encoders against their peers, on the same random weights and ids: `python benchmarks/encoder_only.py`.

BERT-base; texts of 128 tokens, ids in and the states of the last layer out.
"""

from pathlib import Path

import click
import numpy as np
from harness.checkpoints import GEOMETRIES
from harness.comparison import chosen, compare, options
from harness.measure import Settings
from harness.system import Cell, System, with_workers

LENGTH = 128
OURS, CT2, ORT = "diptych_bundle:Encoding", "ctranslate2_model:Encoding", "onnxruntime_bert:Encoding"
SYSTEMS = (
    System("diptych portable", OURS, "fp32", ("--task", "embed")),
    *with_workers(
        [
            System("diptych cpu", OURS, "fp32", ("--task", "embed", "--target", "cpu")),
            System("diptych cpu int8", OURS, "int8", ("--task", "embed", "--target", "cpu", "--precision", "int8")),
        ]
    ),
    System("ctranslate2", CT2, "fp32", ("float32",)),
    System("ctranslate2 int8", CT2, "int8", ("int8",)),
    System("onnxruntime", ORT, "fp32", ("fp32",)),
    System("onnxruntime int8", ORT, "int8", ("int8",)),
    System("transformers", "torch_model:Encoding"),
)


@click.command(help=__doc__)
@click.option("--sizes", default="bert", show_default=True)
@click.option("--batches", default="1,32", show_default=True)
@click.option("--length", default=LENGTH, show_default=True, help="Tokens of a text.")
@options
def main(
    sizes: str,
    batches: str,
    length: int,
    systems: str | None,
    bundles: tuple[str, ...],
    output: Path | None,
    **settings: float,
) -> None:
    """Of every size and batch."""
    cells = [cell(size, int(batch), length) for size in sizes.split(",") for batch in batches.split(",")]
    compare("encoder_only", chosen(SYSTEMS, systems, bundles, OURS), cells, Settings(**settings), output)


def cell(size: str, batch: int, length: int) -> Cell:
    """Ids drawn at random, the same for the same numbers."""
    draw = np.random.default_rng(batch)
    inputs = draw.integers(2, GEOMETRIES[size].vocabulary - 1, (batch, length)).tolist()
    return Cell(f"{size}, batch {batch}", size, inputs)


if __name__ == "__main__":
    main()
