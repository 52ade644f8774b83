"""A job: every line of an input done by a task, a chunk at a time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from diptych.runtime.console import note, warn
from diptych.runtime.corpus.lines import Chunk, Line
from diptych.runtime.corpus.output import Output
from diptych.runtime.corpus.pace import Pace
from diptych.runtime.errors import InputError


@dataclass(frozen=True)
class Job:
    """read: from a line to what the task takes. attempt: from those, and the number of the `first`, to results, in
    order. write: from a result to a line of output. What is bad is an InputError in its place, for all of them.
    """

    read: Callable[[Line], Any]
    attempt: Callable[..., list[Any]]
    write: Callable[[Any], bytes]

    def run(self, chunks: Iterable[Chunk], output: Output, pace: Pace) -> int:
        """Do what is not done yet; returns the number of bad lines, those of earlier runs included.

        A bad line is told on stderr by its number. Whatever else goes wrong stops the job.
        """
        lines, kept = 0, output.kept
        bad = kept.bad
        if kept.lines:
            note(f"Going on after line {kept.lines:,}.")
        for chunk in chunks:
            if output.recorded(chunk):
                pace.skip(len(chunk.lines), chunk.size)
            else:
                results = self.attempt([self.read(line) for line in chunk.lines], first=lines)
                of_chunk = [number for number, result in enumerate(results) if isinstance(result, InputError)]
                for number in of_chunk:
                    warn(f"line {lines + number + 1}: {results[number]}")
                output.write(chunk, b"".join(map(self.write, results)), len(of_chunk))
                bad += len(of_chunk)
                pace.work(len(chunk.lines), chunk.size)
            lines += len(chunk.lines)
        output.finish()
        if kept.bad:
            warn(f"bad lines: {bad:,} in all, {kept.bad:,} of them told by an earlier run.")
        return bad
