"""Cells of bundles that read whole texts: so many of one length, through the graph at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diptych.runtime import ports
from diptych.runtime.bench.cells import Runs, Seconds, rate, statistic
from diptych.runtime.bench.inputs import random_rows
from diptych.runtime.bench.rates import Rates
from diptych.runtime.bench.work import Work, work_of
from diptych.runtime.bundle import Bundle
from diptych.runtime.encoder import Encoder
from diptych.runtime.errors import OptionError
from diptych.runtime.providers import SessionSettings
from diptych.runtime.tokens import Tokens

LENGTH = 128


@dataclass(frozen=True)
class ReadingCell:
    encoder: Encoder
    texts: list[Tokens]
    work: Work

    @property
    def facts(self) -> dict[str, Any]:
        return {"batch": len(self.texts), "length": len(self.texts[0].ids)}

    @property
    def works(self) -> dict[str, Work]:
        return {"model": self.work}

    def runs(self) -> Runs:
        return {"all": self._read}

    def told(self, seconds: Seconds, rates: Rates | None) -> dict[str, Any]:
        every = seconds["all"]
        least = None if rates is None else self.work.seconds(rates, self._tokens, 0)
        return {
            "seconds": statistic(every),
            "texts_per_second": rate(len(self.texts), every),
            "tokens_per_second": rate(self._tokens, every),
            "floor": None if least is None else {"seconds": least, "share": least / statistic(every)["median"]},
        }

    @property
    def _tokens(self) -> int:
        return sum(len(text.ids) for text in self.texts)

    def _read(self) -> None:
        outputs = list(self.encoder.run(self.texts, batch_size=len(self.texts), batch_tokens=self._tokens))
        assert len(outputs) == len(self.texts)


def reading_cells(
    bundle: Bundle, settings: SessionSettings, batches: Sequence[int], lengths: Sequence[int] | None
) -> list[ReadingCell]:
    """Raises OptionError for a length that the model cannot read."""
    encoder = Encoder(bundle.model(settings), bundle.manifest, threads=settings.threads, workers=settings.workers)
    longest = encoder.longest
    chosen = lengths or [min(LENGTH, longest or LENGTH)]
    if longest is not None and max(chosen) > longest:
        raise OptionError(f"--length {max(chosen)} does not fit: the model reads {longest} tokens")
    work = work_of(bundle.folder / ports.MODEL_FILE)
    return [
        ReadingCell(encoder, [_tokens(row) for row in random_rows(bundle, batch, length)], work)
        for batch in batches
        for length in chosen
    ]


def _tokens(ids: list[int]) -> Tokens:
    count = len(ids)
    return Tokens(ids, [0] * count, [(0, 0)] * count, [None] * count, [0] * count)
