"""The example's model on its test sentences, text to text: `python benchmarks/real_text.py CORPUS`.

CORPUS is the file the model was trained on (examples/eng-fra/README.md says where it is); the test sentences are those
it never saw. Each system gets all of them in one call, 64 at a time in whatever order it likes; the clock runs from
texts to texts, tokenizer included. BLEU is sacreBLEU's against all references, tokens are those of the translations.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import tokenizers
from harness import tables
from harness.comparison import chosen, compare, options
from harness.folders import ROOT
from harness.measure import Settings
from harness.system import Cell, System, with_workers

EXAMPLE = ROOT / "examples" / "eng-fra"
OURS, CT2 = "diptych_bundle:Text", "ctranslate2_model:Text"
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
)


@click.command(help=__doc__)
@click.argument("corpus", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--sentences", type=int, help="Only the first so many.")
@click.option("--beams", default=4, show_default=True)
@options
def main(
    corpus: Path,
    sentences: int | None,
    beams: int,
    systems: str | None,
    bundles: tuple[str, ...],
    output: Path | None,
    **settings: float,
) -> None:
    """One cell: all sentences."""
    texts, facts = test_set(corpus, sentences)
    cell = Cell(f"{len(texts):,} sentences, beam {beams}", "eng-fra", texts, beams)
    asked = chosen(SYSTEMS, systems, bundles, OURS)
    results = compare(
        "real_text", asked, [cell], Settings(**settings), output, facts, lambda size: EXAMPLE / "checkpoint"
    )
    print(quality(results))


def test_set(corpus: Path, sentences: int | None) -> tuple[list[str], Callable[[Any], dict[str, Any]]]:
    """The English sentences, and what tells BLEU and tokens of their translations."""
    sys.path.append(str(EXAMPLE))
    from evaluate import bleu  # noqa: PLC0415

    from corpus import read_pairs, split  # noqa: PLC0415 - the example's own split, and its scoring

    test = split(read_pairs(corpus)).test[:sentences]
    tokenizer = tokenizers.Tokenizer.from_file(str(EXAMPLE / "checkpoint" / "tokenizer.json"))

    def facts(lines: list[str]) -> dict[str, Any]:
        encodings = tokenizer.encode_batch(lines, add_special_tokens=False)
        return {"bleu": bleu(lines, test), "tokens": sum(len(encoding.ids) for encoding in encodings)}

    return [source.english for source in test], facts


def quality(results: dict[str, Any]) -> str:
    """Speed and quality side by side."""
    (cell,) = results["cells"]
    rows = [
        [
            name,
            f"{median(one['seconds']):.2f}",
            f"{cell['batch'] / median(one['seconds']):,.0f}",
            f"{one['tokens'] / median(one['seconds']):,.0f}",
            f"{one['bleu']:.2f}",
        ]
        for name, one in cell["systems"].items()
    ]
    return tables.table(["", "s", "sentences/s", "tokens/s", "BLEU"], rows)


if __name__ == "__main__":
    main()
