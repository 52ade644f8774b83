"""Memory over a long corpus of lines of very different lengths: `python benchmarks/corpus_memory.py BUNDLE`.

A process translates the lines as `diptych run` does, chunk by chunk; what it has resident is sampled every 10 ms. A
chunk's peak depends on its longest lines; flat is that the chunks of the last quarter need at most 1.1 times what those
of the first quarter needed, in the median. Exits 1 if they need more, or more than the limit.
"""

import statistics
import sys
import threading
import time
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track
from sentences import lines

from diptych.runtime import load

CHUNK = 1024
_MEGABYTE = 1e6


class Sampler:
    """The most bytes that were resident since the last look, from a thread of its own."""

    def __init__(self) -> None:
        self._peak = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def take(self) -> float:
        peak, self._peak = self._peak, 0
        return peak / _MEGABYTE

    def _watch(self) -> None:
        page = 4096
        while True:
            self._peak = max(self._peak, int(Path("/proc/self/statm").read_text().split()[1]) * page)
            time.sleep(0.01)


@click.command()
@click.argument("bundle")
@click.option("--lines", "count", default=20_000, show_default=True)
@click.option("--num-beams", default=1, show_default=True)
@click.option("--memory-limit", help="As of `diptych run`; no chunk may exceed it.")
def main(bundle: str, count: int, num_beams: int, memory_limit: str | None) -> None:
    """Print the peak of each chunk."""
    translate = load(bundle, memory_limit=memory_limit)
    corpus = lines(count)
    sampler, peaks = Sampler(), []
    started = time.perf_counter()
    for start in track(range(0, count, CHUNK), console=Console(stderr=True)):
        translate(corpus[start : start + CHUNK], num_beams=num_beams)
        peaks.append(sampler.take())
    taken = time.perf_counter() - started
    print("peak resident MB of each 1,024 lines:", " ".join(f"{peak:.0f}" for peak in peaks))
    quarter = max(1, len(peaks) // 4)
    first, last = statistics.median(peaks[:quarter]), statistics.median(peaks[-quarter:])
    print(
        f"{count:,} lines in {taken:.0f} s; median of the first quarter {first:.0f} MB, of the last {last:.0f} MB",
        end="",
    )
    print(f" ({last / first - 1:+.1%}); the highest of all {max(peaks):.0f} MB")
    over = memory_limit is not None and max(peaks) * _MEGABYTE > translate.generator.memory.limit
    sys.exit(1 if last > 1.1 * first or over else 0)


if __name__ == "__main__":
    main()
