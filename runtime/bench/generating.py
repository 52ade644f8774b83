"""Cells of bundles that generate: the first token, all of them, and from both the time of a step.

Shapes: B sources (or prompts) of S tokens, K beams of each, T new tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from diptych.runtime import ports
from diptych.runtime.bench.cells import Runs, Seconds, rate, statistic
from diptych.runtime.bench.inputs import random_rows
from diptych.runtime.bench.rates import Rates
from diptych.runtime.bench.work import Work, work_of
from diptych.runtime.bundle import Bundle
from diptych.runtime.errors import OptionError
from diptych.runtime.generation.generator import Generator, open_generator
from diptych.runtime.providers import SessionSettings

SOURCE_LENGTH, NEW_TOKENS = 32, 64


@dataclass(frozen=True)
class Panels:
    """What the graphs must do: the encoder, if there is one, and the decoder at each step."""

    encoder: Work | None
    decoder: Work

    @staticmethod
    def of(bundle: Bundle, vocabulary: int) -> "Panels | None":
        """None where the bundle's graphs are others than these."""
        names = set(bundle.graphs)
        if names == {ports.ENCODER_FILE, ports.DECODER_FILE}:
            encoder = work_of(bundle.folder / ports.ENCODER_FILE)
            return Panels(encoder, work_of(bundle.folder / ports.DECODER_FILE, vocabulary))
        if names == {ports.MODEL_FILE}:
            return Panels(None, work_of(bundle.folder / ports.MODEL_FILE, vocabulary))
        return None

    @property
    def works(self) -> dict[str, Work]:
        return {"decoder": self.decoder} if self.encoder is None else {"encoder": self.encoder, "decoder": self.decoder}

    def first(self, rates: Rates, sources: int, length: int) -> float:
        """The least that the first token takes: sources are encoded and decoding starts, or prompts are read."""
        if self.encoder is None:
            return self.decoder.seconds(rates, sources * length, sources)
        encoded = self.encoder.seconds(rates, sources * length, 0)
        return encoded + self.decoder.seconds(rates, sources, sources)

    def step(self, rates: Rates, rows: int) -> float:
        return self.decoder.seconds(rates, rows, rows)


@dataclass(frozen=True)
class GeneratingCell:
    """Exactly T tokens for each of B sources: nothing ends a row before. start: instead of the bundle's start token."""

    generator: Generator
    sources: list[list[int]]
    beams: int
    new_tokens: int
    start: int | None
    panels: Panels | None

    @property
    def facts(self) -> dict[str, Any]:
        return {"batch": len(self.sources), "beams": self.beams}

    @property
    def works(self) -> dict[str, Work]:
        return {} if self.panels is None else self.panels.works

    def runs(self) -> Runs:
        return {"first": partial(self._generate, 1), "all": partial(self._generate, self.new_tokens)}

    def told(self, seconds: Seconds, rates: Rates | None) -> dict[str, Any]:
        count, steps = len(self.sources), self.new_tokens - 1
        first, every = seconds["first"], seconds["all"]
        by_step = [(whole - begun) / steps for whole, begun in zip(every, first, strict=True)] if steps else []
        return {
            "source_length": len(self.sources[0]),
            "new_tokens": self.new_tokens,
            "seconds": statistic(every),
            "first_token_seconds": statistic(first),
            "step_seconds": statistic(by_step) if by_step else None,
            "tokens_per_second": rate(count * self.new_tokens, every),
            "floor": None if rates is None or self.panels is None else self._floor(rates, self.panels, every),
        }

    def _floor(self, rates: Rates, panels: Panels, every: Sequence[float]) -> dict[str, float]:
        count = len(self.sources)
        first = panels.first(rates, count, len(self.sources[0]))
        step = panels.step(rates, count * self.beams)
        least = first + (self.new_tokens - 1) * step
        return {
            "seconds": least,
            "first_token_seconds": first,
            "step_seconds": step,
            "share": least / statistic(every)["median"],
        }

    def _generate(self, new_tokens: int) -> None:
        # Nothing ends a row: to suppress what does would take a filter, and a search without any may be faster.
        found = self.generator(
            self.sources,
            batch_size=len(self.sources),
            batch_tokens=sum(map(len, self.sources)) + len(self.sources) * new_tokens,
            num_beams=self.beams,
            max_new_tokens=new_tokens,
            eos_token_id=[],
            decoder_start_token_id=self.start,
        )
        assert {len(hypotheses[0].ids) for hypotheses in found} == {new_tokens}


def generating_cells(
    bundle: Bundle,
    settings: SessionSettings,
    batches: Sequence[int],
    beams: Sequence[int],
    source_length: int | None,
    new_tokens: int | None,
) -> list[GeneratingCell]:
    """Lengths that are not given are as usual, or as the model's positions allow. Raises OptionError for longer ones.

    What the bundle's defaults add to a search is left out: filters, sampling, several results.
    """
    manifest, encodes = bundle.manifest, ports.ENCODER_FILE in bundle.manifest.files
    plain = replace(bundle, manifest=replace(manifest, generation={}))
    generator = open_generator(plain, settings)
    length, count = _lengths(bundle, source_length, new_tokens, encodes=encodes)
    sources = random_rows(bundle, max(batches), length)
    start = sources[0][0] if encodes and manifest.tokens.decoder_start is None else None
    panels = Panels.of(bundle, generator.vocab_size)
    return [
        GeneratingCell(generator, sources[:batch], number, count, start, panels)
        for batch in batches
        for number in beams
    ]


def _lengths(bundle: Bundle, source: int | None, new: int | None, *, encodes: bool) -> tuple[int, int]:
    """S and T. With an encoder each panel has positions of its own, else both share those there are."""
    readable, positions = bundle.manifest.source_positions, bundle.manifest.target_positions
    if source is not None and readable is not None and source > readable:
        raise OptionError(f"--source-length {source} does not fit: the model reads {readable} tokens")
    length = source or min(SOURCE_LENGTH, readable or SOURCE_LENGTH)
    if positions is not None:
        if not encodes and source is None:
            length = min(length, max(1, positions // 2))
        room = positions - (1 if encodes else length)
        if room < (new or 1):
            asked = f"--new-tokens {new}" if new else "even one new token"
            raise OptionError(f"{asked} does not fit: {room} of the decoder's {positions} positions are left for them")
        return length, new or min(NEW_TOKENS, room)
    return length, new or NEW_TOKENS
