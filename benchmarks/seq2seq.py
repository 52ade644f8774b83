"""Encoder-decoders against their peers, on the same random weights and ids: `python benchmarks/seq2seq.py`.

Marian's geometry in two sizes; sources of 32 tokens, exactly 64 new ones. The clock runs from ids to ids, the encoder
included. Tables are printed, and everything measured is kept as JSON in build/benchmarks/results.
"""

from itertools import product
from pathlib import Path

import click
import numpy as np
from harness.checkpoints import EOS, GEOMETRIES
from harness.comparison import chosen, compare, options
from harness.measure import Settings
from harness.system import Cell, System, with_workers

SOURCE, NEW = 32, 64
OURS, CT2 = "diptych_bundle:Generation", "ctranslate2_model:Translation"
SYSTEMS = (
    System("diptych portable", OURS),
    *with_workers(
        [
            System("diptych cpu", OURS, "fp32", ("--target", "cpu")),
            System("diptych cpu int8", OURS, "int8", ("--target", "cpu", "--precision", "int8")),
            System("ctranslate2", CT2, "fp32", ("float32",)),
            System("ctranslate2 int8", CT2, "int8", ("int8",)),
        ]
    ),
    System("transformers", "torch_model:Translation"),
    System("optimum", "optimum_model:Translation", environment="optimum"),
)


@click.command(help=__doc__)
@click.option("--sizes", default="small,base", show_default=True)
@click.option("--batches", default="1,8,32", show_default=True)
@click.option("--beams", "beam_counts", default="1,4", show_default=True)
@click.option("--source", default=SOURCE, show_default=True, help="Tokens of a source.")
@click.option("--new", default=NEW, show_default=True, help="New tokens.")
@options
def main(
    sizes: str,
    batches: str,
    beam_counts: str,
    source: int,
    new: int,
    systems: str | None,
    bundles: tuple[str, ...],
    output: Path | None,
    **settings: float,
) -> None:
    """Of every size, batch and number of beams."""
    grid = product(sizes.split(","), map(int, batches.split(",")), map(int, beam_counts.split(",")))
    cells = [cell(*each, source, new) for each in grid]
    compare("seq2seq", chosen(SYSTEMS, systems, bundles, OURS), cells, Settings(**settings), output)


def cell(size: str, batch: int, beams: int, source: int, new: int) -> Cell:
    """Sources drawn at random, the same for the same numbers, each ended by EOS."""
    draw = np.random.default_rng(batch)
    ids = draw.integers(2, GEOMETRIES[size].vocabulary - 1, (batch, source - 1))
    search = "greedy" if beams == 1 else f"beam {beams}"
    inputs = [[*row, EOS] for row in ids.tolist()]
    return Cell(f"{size}, batch {batch}, {search}", size, inputs, beams, new)


if __name__ == "__main__":
    main()
