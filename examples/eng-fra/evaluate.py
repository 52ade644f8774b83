"""BLEU of PyTorch and of the exported bundle on the held-out sentences: `python evaluate.py CORPUS CHECKPOINT BUNDLE`.

Both decode through the same loop, so a difference can only come from the graphs. Scored by sacreBLEU against every
reference translation. The exit status is 1 if they differ by more than 0.01 BLEU.
"""

import argparse
import sys
import time
from pathlib import Path

import sacrebleu
from rich.console import Console
from rich.progress import track
from rich.table import Table

from corpus import Source, read_pairs, split
from diptych.export.graphs import decoder_graph, encoder_graph
from diptych.export.torch_graph import TorchGraph
from diptych.model import load_checkpoint
from diptych.runtime import Generator, TextGenerator, load
from diptych.runtime.decoder import CachedDecoder

BATCH = 64
TOLERANCE = 0.01


def main() -> int:
    arguments = parse_arguments()
    test = split(read_pairs(arguments.corpus)).test[: arguments.sentences]
    onnx = load(arguments.bundle)
    network = load_checkpoint(arguments.checkpoint).network
    decoder = CachedDecoder(TorchGraph(encoder_graph(network)), TorchGraph(decoder_graph(network)))
    torch = TextGenerator(onnx.tokenizer, Generator(decoder, onnx.generator.manifest))
    table = Table("search", "PyTorch BLEU", "ONNX BLEU", "lines that differ", "PyTorch s", "ONNX s")
    unequal = 0
    for name, beams in (("greedy", 1), ("beam 4", 4)):
        (expected, torch_seconds), (found, onnx_seconds) = (
            translate_all(engine, test, beams, f"{label}, {name}")
            for engine, label in ((torch, "PyTorch"), (onnx, "ONNX"))
        )
        differing = sum(one != other for one, other in zip(expected, found, strict=True))
        scores = bleu(expected, test), bleu(found, test)
        unequal += abs(scores[0] - scores[1]) > TOLERANCE
        table.add_row(
            name, *(f"{score:.2f}" for score in scores), str(differing), f"{torch_seconds:.0f}", f"{onnx_seconds:.0f}"
        )
    console = Console(highlight=False)
    console.print(table)
    references = sum(len(source.references) for source in test)
    console.print(f"{len(test):,} English sentences never trained on, {references:,} references")
    console.print(f"sacreBLEU {sacrebleu.__version__}, tokenizer 13a, cased")
    return int(unequal > 0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="fra.txt, fra.txt.gz or fra-eng.zip")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--sentences", type=int, default=None, help="only the first so many")
    return parser.parse_args()


def translate_all(translator: TextGenerator, test: list[Source], beams: int, label: str) -> tuple[list[str], float]:
    """The translations, and the seconds they took."""
    started = time.perf_counter()
    lines: list[str] = []
    for start in track(range(0, len(test), BATCH), description=label, transient=True, console=Console(stderr=True)):
        batch = [source.english for source in test[start : start + BATCH]]
        lines += translator(batch, num_beams=beams, batch_size=BATCH)
    return lines, time.perf_counter() - started


def bleu(lines: list[str], test: list[Source]) -> float:
    """Against all references: sacreBLEU takes them as streams, a missing one as None."""
    most = max(len(source.references) for source in test)
    streams = [[s.references[i] if i < len(s.references) else None for s in test] for i in range(most)]
    return sacrebleu.corpus_bleu(lines, streams).score


if __name__ == "__main__":
    sys.exit(main())
