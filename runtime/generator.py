"""The token-level interface: ids in, ids and scores out. It needs no tokenizer."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from diptych.runtime import ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.decoder import CachedDecoder, Sources
from diptych.runtime.errors import InputError, OptionError
from diptych.runtime.filters import Filter, make_filters
from diptych.runtime.generation import generate
from diptych.runtime.manifest import Manifest
from diptych.runtime.options import GenerationOptions
from diptych.runtime.providers import SessionSettings
from diptych.runtime.strategies import Beam, Greedy, Hypothesis, Strategy

BATCH_SIZE = 32


class Generator:
    """Decodes batches of sources with a bundle's defaults, or the options of the call."""

    def __init__(self, decoder: CachedDecoder, manifest: Manifest) -> None:
        self.decoder = decoder
        self.manifest = manifest
        self.defaults = GenerationOptions.from_mapping(manifest.generation)
        self.prompt = [manifest.tokens.decoder_start]
        self.vocab_size = int(decoder.decoder.outputs[ports.LOGITS][-1])

    def __call__(
        self, sources: Sequence[Sequence[int]], *, batch_size: int = BATCH_SIZE, **options: Any
    ) -> list[list[Hypothesis]]:
        """For each source, in order, its hypotheses, best first.

        sources: ids as the tokenizer gives them, the ending EOS included. batch_size: most sources decoded together;
        those of like length are. options: see `GenerationOptions`. Raises InputError for a source that is empty or
        longer than the model's positions, OptionError for a wrong option.
        """
        chosen = self.defaults.updated(options)
        if batch_size < 1:
            raise OptionError(f"batch_size is {batch_size}; expected at least 1")
        for index, source in enumerate(sources):
            try:
                self.check(source)
            except InputError as error:
                raise InputError(f"source {index}: {error}") from None
        order = sorted(range(len(sources)), key=lambda index: len(sources[index]))
        results: list[list[Hypothesis]] = [[] for _ in sources]
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            for index, found in zip(batch, self._decode([list(sources[i]) for i in batch], chosen), strict=True):
                results[index] = found
        return results

    def stream(self, source: Sequence[int], **options: Any) -> Iterator[int]:
        """Greedy search over one source, each id as soon as it is chosen."""
        chosen = self.defaults.updated({**options, "num_beams": 1, "num_return_sequences": 1})
        self.check(source)
        strategy, filters = self._search(1, chosen)
        for choice in generate(self.decoder, self._pad([list(source)]), self.prompt, strategy, filters):
            yield from choice.tokens.tolist()
        yield strategy.hypotheses()[0][0].ids[-1]

    def check_options(self, **options: Any) -> None:
        """Raises OptionError if a call with these options would."""
        self._search(0, self.defaults.updated(options))

    def check(self, source: Sequence[int]) -> None:
        """Raises InputError if the model cannot read this source."""
        if not len(source):
            raise InputError("nothing to read: the source has no tokens")
        outside = [token for token in source if not 0 <= token < self.manifest.source_vocabulary]
        if outside:
            raise InputError(f"ids {outside[:5]} are outside the vocabulary of {self.manifest.source_vocabulary}")
        longest = self.manifest.source_positions
        if longest is not None and len(source) > longest:
            raise InputError(f"too long: {len(source)} tokens, the model reads {longest}; split the text")

    def _decode(self, sources: list[list[int]], options: GenerationOptions) -> list[list[Hypothesis]]:
        strategy, filters = self._search(len(sources), options)
        for _ in generate(self.decoder, self._pad(sources), self.prompt, strategy, filters):
            pass
        return strategy.hypotheses()

    def _search(self, sources: int, options: GenerationOptions) -> tuple[Strategy, list[Filter]]:
        eos = self.manifest.tokens.eos
        limit = options.length_limit(len(self.prompt), self.manifest.target_positions)
        filters = make_filters(options, eos, len(self.prompt), limit, self.vocab_size)
        if options.num_beams == 1:
            return Greedy(sources, eos, limit), filters
        return Beam(sources, eos, limit, options), filters

    def _pad(self, sources: list[list[int]]) -> Sources:
        return Sources.pad(sources, self.manifest.tokens.pad)


def load_generator(
    bundle: Path | str, *, provider: str = "cpu", threads: int = 0, strict_provider: bool = False
) -> Generator:
    """Open a bundle for ids in, ids out; arguments and errors as in `load`."""
    opened = Bundle.open(bundle)
    return Generator(opened.decoder(SessionSettings(provider, threads, strict_provider)), opened.manifest)
