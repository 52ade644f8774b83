"""Cells of the user's own texts: the whole way from text to result, as `diptych run` goes it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diptych.runtime.bench.cells import Runs, Seconds, rate, statistic
from diptych.runtime.bench.inputs import check_rows, read_rows
from diptych.runtime.bench.rates import Rates
from diptych.runtime.bench.work import Work
from diptych.runtime.bundle import Bundle
from diptych.runtime.providers import SessionSettings
from diptych.runtime.tasks import Task, task_of
from diptych.runtime.tasks.generate import TextGenerator


@dataclass(frozen=True)
class TextsCell:
    """rows: as the task takes them. options: of its calls. results: of the last run."""

    task: Task[Any, Any]
    path: Path
    rows: list[Any]
    batch: int
    options: dict[str, Any]
    results: list[Any] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, Any]:
        return {"batch": self.batch} | ({"beams": self.options["num_beams"]} if self._generates else {})

    @property
    def works(self) -> dict[str, Work]:
        """How many steps texts take together is not known, so neither is what they take at least."""
        return {}

    def runs(self) -> Runs:
        return {"first": self._first, "all": self._all} if self._generates else {"all": self._all}

    def told(self, seconds: Seconds, rates: Rates | None) -> dict[str, Any]:
        every = seconds["all"]
        told = {
            "texts": len(self.rows),
            "seconds": statistic(every),
            "texts_per_second": rate(len(self.rows), every),
            "floor": None,
        }
        if not self._generates:
            return told
        generated = sum(len(result[0].ids) for result in self.results)
        return told | {
            "generated_tokens": generated,
            "first_token_seconds": statistic(seconds["first"]),
            "tokens_per_second": rate(generated, every),
        }

    @property
    def _generates(self) -> bool:
        return isinstance(self.task, TextGenerator)

    def _first(self) -> None:
        self.task.attempt(self.rows[: self.batch], batch_size=self.batch, **self.options | {"max_new_tokens": 1})

    def _all(self) -> None:
        """Raises InputError, with the line, for a text that the model cannot read."""
        results = self.task.attempt(self.rows, batch_size=self.batch, **self.options)
        check_rows(self.path, results)
        self.results[:] = results


def texts_cells(
    bundle: Bundle,
    settings: SessionSettings,
    path: Path,
    batches: Sequence[int],
    beams: Sequence[int],
    options: dict[str, Any],
) -> list[TextsCell]:
    """With the bundle's defaults, except that nothing is sampled. options: of calls, of a bundle that generates."""
    task = task_of(bundle).open(bundle, settings)
    rows = read_rows(path, task)
    if not isinstance(task, TextGenerator):
        return [TextsCell(task, path, rows, batch, {}) for batch in batches]
    ways = [options | {"num_beams": number, "do_sample": False, "num_return_sequences": 1} for number in beams]
    for way in ways:
        task.check_options(**way)
    return [TextsCell(task, path, rows, batch, way) for batch in batches for way in ways]
