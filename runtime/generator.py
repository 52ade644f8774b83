"""The token-level interface: ids in, ids and scores out. It needs no tokenizer."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.runtime import ports
from diptych.runtime.batches import BATCH_SIZE, of_like_length
from diptych.runtime.bundle import Bundle
from diptych.runtime.decoder import CachedDecoder, Sources
from diptych.runtime.errors import InputError, OptionError
from diptych.runtime.filters import make_filters
from diptych.runtime.generation import generate
from diptych.runtime.history import History
from diptych.runtime.manifest import Manifest
from diptych.runtime.options import GenerationOptions
from diptych.runtime.providers import SessionSettings
from diptych.runtime.strategies import Beam, Choice, Greedy, Hypothesis, Strategy


class Generator:
    """Decodes batches of sources with a bundle's defaults, or the options of the call.

    A source is what the encoder reads, or, where there is none, the prompt that is continued.
    """

    def __init__(self, decoder: CachedDecoder, manifest: Manifest) -> None:
        self.decoder = decoder
        self.manifest = manifest
        self.defaults = GenerationOptions.from_mapping(manifest.generation)
        self.vocab_size = int(decoder.decoder.outputs[ports.LOGITS][-1])

    def __call__(
        self, sources: Sequence[Sequence[int]], *, batch_size: int = BATCH_SIZE, **options: Any
    ) -> list[list[Hypothesis]]:
        """For each source, in order, its hypotheses, best first.

        sources: ids as the tokenizer gives them, special ones included. batch_size: most sources decoded together;
        those of like length are. options: see `GenerationOptions`, and where there is an encoder
        `decoder_start_token_id`. Raises InputError for a source that is empty or too long for the model, OptionError
        for a wrong option.
        """
        start, chosen = self._read_options(options)
        self.check_options(**options)
        for index, source in enumerate(sources):
            try:
                self.check(source, **options)
            except InputError as error:
                raise InputError(f"source {index}: {error}") from None
        results: list[list[Hypothesis]] = [[] for _ in sources]
        for batch in of_like_length([len(source) for source in sources], batch_size):
            strategy = self._strategy(len(batch), chosen)
            for _ in self._decode([list(sources[index]) for index in batch], start, chosen, strategy):
                pass
            for index, found in zip(batch, strategy.hypotheses(), strict=True):
                results[index] = found
        return results

    def stream(self, source: Sequence[int], **options: Any) -> Iterator[int]:
        """Greedy search over one source, each id as soon as it is chosen."""
        options = {**options, "num_beams": 1, "num_return_sequences": 1}
        start, chosen = self._read_options(options)
        self.check(source, **options)
        strategy = self._strategy(1, chosen)
        for choice in self._decode([list(source)], start, chosen, strategy):
            yield from choice.tokens.tolist()
        yield strategy.hypotheses()[0][0].ids[-1]

    def check_options(self, **options: Any) -> None:
        """Raises OptionError if a call with these options would."""
        _, chosen = self._read_options(options)
        make_filters(chosen, self.manifest.tokens.eos, self.vocab_size)
        if self.decoder.encoder is not None:
            chosen.new_tokens(1, self.manifest.target_positions)

    def check(self, source: Sequence[int], **options: Any) -> None:
        """Raises InputError if the model cannot read this source, or has no room to continue it."""
        if not len(source):
            raise InputError("nothing to read: the source has no tokens")
        outside = [token for token in source if not 0 <= token < self.manifest.source_vocabulary]
        if outside:
            raise InputError(f"ids {outside[:5]} are outside the vocabulary of {self.manifest.source_vocabulary}")
        longest = self.manifest.source_positions
        if longest is not None and len(source) > longest:
            raise InputError(f"too long: {len(source)} tokens, the model reads {longest}; split the text")
        if self.decoder.encoder is None:
            self._room(source, self._read_options(options)[1])

    def _read_options(self, options: Mapping[str, Any]) -> tuple[int | None, GenerationOptions]:
        """What decoding starts with, and the rest."""
        given = dict(options)
        start = given.pop("decoder_start_token_id", self.manifest.tokens.decoder_start)
        return start, self.defaults.updated(given)

    def _strategy(self, sources: int, options: GenerationOptions) -> Strategy:
        eos = self.manifest.tokens.eos
        return Greedy(sources, eos) if options.num_beams == 1 else Beam(sources, eos, options)

    def _decode(
        self, sources: list[list[int]], start: int | None, options: GenerationOptions, strategy: Strategy
    ) -> Iterator[Choice]:
        if self.decoder.encoder is None:
            prompts, encoded = sources, Sources.pad([[] for _ in sources], self.manifest.tokens.pad)
            limits = [self._room(prompt, options) for prompt in prompts]
        else:
            assert start is not None
            prompts, encoded = [[start]] * len(sources), Sources.pad(sources, self.manifest.tokens.pad)
            limits = [options.new_tokens(1, self.manifest.target_positions)] * len(sources)
        filters = make_filters(options, self.manifest.tokens.eos, self.vocab_size)
        return generate(self.decoder, encoded, History.start(prompts, limits), strategy, filters)

    def _room(self, prompt: Sequence[int], options: GenerationOptions) -> int:
        """How many tokens may follow a prompt: what the options say, as far as the model's positions reach."""
        positions = self.manifest.target_positions
        try:
            limit = options.new_tokens(len(prompt), None)
        except OptionError as error:
            raise InputError(str(error)) from None
        if positions is not None and len(prompt) >= positions:
            raise InputError(f"too long: {len(prompt)} tokens leave no room in the model's {positions}; split the text")
        return limit if positions is None else min(limit, positions - len(prompt))


def load_generator(
    bundle: Path | str, *, provider: str = "cpu", threads: int = 0, strict_provider: bool = False
) -> Generator:
    """Open a bundle for ids in, ids out; arguments and errors as in `load`."""
    opened = Bundle.open(bundle)
    return Generator(opened.decoder(SessionSettings(provider, threads, strict_provider)), opened.manifest)
