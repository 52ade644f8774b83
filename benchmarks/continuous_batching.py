"""Texts that join as others leave against batches that end together: `python benchmarks/continuous_batching.py BUNDLE`.

Both decode the same lines, sorted by length and as many at a time, in turns within one run; medians of the rounds.
"""

import statistics
import time
from collections.abc import Callable

import click
from sentences import lines

from diptych.runtime import TextGenerator, load
from diptych.runtime.batches import of_like_length


def continuous(translate: TextGenerator, corpus: list[str], size: int, beams: int) -> list[str]:
    return translate(corpus, batch_size=size, num_beams=beams)


def static(translate: TextGenerator, corpus: list[str], size: int, beams: int) -> list[str]:
    """A batch is done before the next one begins; those that are finished leave it, as they do in both."""
    found = [""] * len(corpus)
    for batch in of_like_length([len(translate.encode(line)) for line in corpus], size):
        texts = translate([corpus[index] for index in batch], batch_size=size, num_beams=beams)
        for index, text in zip(batch, texts, strict=True):
            found[index] = text
    return found


@click.command()
@click.argument("bundle")
@click.option("--lines", "count", default=1000, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(bundle: str, count: int, rounds: int) -> None:
    """Print seconds and their ratios."""
    translate = load(bundle)
    corpus = lines(count)
    ways: dict[str, Callable[..., list[str]]] = {"static": static, "continuous": continuous}
    print(f"{'batch':>5} {'beams':>5} {'static':>9} {'continuous':>11} {'ratio':>6}")
    for size in (8, 32, 64):
        for beams in (1, 4):
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            texts = {}
            for _ in range(rounds):
                for name, way in ways.items():
                    started = time.perf_counter()
                    texts[name] = way(translate, corpus, size, beams)
                    seconds[name].append(time.perf_counter() - started)
            assert texts["static"] == texts["continuous"]
            before, after = (statistics.median(each) for each in seconds.values())
            print(f"{size:>5} {beams:>5} {before:>8.2f}s {after:>10.2f}s {before / after:>6.2f}", flush=True)


if __name__ == "__main__":
    main()
