"""A call's options, resolved once: what decoding starts with, ends with, and how rows go on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from diptych.runtime.batches import check_batch
from diptych.runtime.errors import InputError, OptionError
from diptych.runtime.generation.beam import Beam
from diptych.runtime.generation.endings import Endings, stop_at
from diptych.runtime.generation.filters import Filter, make_filters
from diptych.runtime.generation.grammar_filter import GrammarFilter
from diptych.runtime.generation.grammars import make_grammar_filter
from diptych.runtime.generation.greedy import Greedy, Sampling
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.requests import Request, Room
from diptych.runtime.generation.steps import Search
from diptych.runtime.manifest import Manifest
from diptych.runtime.memory_limit import MemoryLimit
from diptych.runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class Plan:
    """What a generator does with a source. encodes: there is an encoder that reads it. vocab_size: of what is said."""

    options: GenerationOptions
    manifest: Manifest
    encodes: bool
    filters: list[Filter]
    endings: Endings
    vocab_size: int
    memory: MemoryLimit | None
    grammar: GrammarFilter | None = None

    @staticmethod
    def make(
        options: GenerationOptions,
        manifest: Manifest,
        tokenizer: Tokenizer | None,
        vocab_size: int,
        *,
        encodes: bool,
        memory: MemoryLimit | None = None,
    ) -> "Plan":
        """tokenizer: of what is generated, for options that are about text. Raises OptionError."""
        eos = manifest.tokens.eos if options.eos_token_id is None else options.eos_token_id
        grammar = make_grammar_filter(options, tokenizer, vocab_size, eos)
        filters = make_filters(options, eos, vocab_size, [] if grammar is None else [grammar])
        stop = None
        if options.stop_strings:
            if tokenizer is None:
                raise OptionError("stop_strings needs the bundle's tokenizer, and it has none")
            stop = stop_at(options.stop_strings, tokenizer.transcribe)
        plan = Plan(options, manifest, encodes, filters, Endings(eos, stop), vocab_size, memory, grammar)
        start = plan.start
        if start is not None and not 0 <= start < vocab_size:
            raise OptionError(f"decoder_start_token_id is {start}, outside the vocabulary of {vocab_size} tokens")
        try:
            plan.request(0, [0])
        except InputError as error:
            raise OptionError(f"even the shortest text {error}") from error
        return plan

    @property
    def start(self) -> int | None:
        """What an encoder-decoder starts decoding with."""
        given = self.options.decoder_start_token_id
        return self.manifest.tokens.decoder_start if given is None else given

    def room(self, batch_size: int, batch_tokens: int | None = None) -> Room:
        """Raises OptionError for a number below 1."""
        options = self.options
        check_batch(batch_size, 1 if batch_tokens is None else batch_tokens)
        rows = options.num_beams if options.num_beams > 1 else options.num_return_sequences
        return Room(batch_size, batch_tokens, rows, self.memory)

    def search(self) -> Search:
        options = self.options
        if options.num_beams > 1:
            return Beam(self.endings, options)
        if options.do_sample:
            return Sampling(self.endings, options.seed, options.num_return_sequences)
        return Greedy(self.endings)

    def request(self, number: int, source: Sequence[int], prefix: Sequence[int] = ()) -> Request:
        """What is decoded for a source, its result beginning with a prefix.

        Raises InputError for a source that the model cannot read, or that leaves no room to go on.
        """
        self._check(source, self.manifest.source_vocabulary, "the source")
        longest = self.manifest.source_positions
        if longest is not None and len(source) > longest:
            raise InputError(f"too long: {len(source)} tokens, the model reads {longest}; split the text")
        self.check_prefix(prefix)
        if self.encodes:
            assert self.start is not None
            prompt = [self.start, *prefix]
            limit = self._limit(prompt) if len(prefix) else self.options.new_tokens(1, self.manifest.target_positions)
            request = Request(number, list(source), prompt, limit)
        else:
            prompt = [*source, *prefix]
            request = Request(number, [], prompt, self._limit(prompt))
        self._check_fits(request)
        return request

    def check_prefix(self, prefix: Sequence[int]) -> None:
        """Raises InputError if no result can begin so."""
        self._check_known(prefix, self.vocab_size)
        if self.encodes and len(prefix) and self.grammar is not None:
            self.grammar.check_beginning(prefix)

    def target(self, number: int, source: Sequence[int], target: Sequence[int]) -> Request:
        """A request that has said its target already. Raises InputError as `request` does, for the target, too."""
        request = self.request(number, source)
        self._check(target, self.vocab_size, "the target")
        positions = self.manifest.target_positions
        if positions is not None and len(request.prompt) + len(target) > positions + 1:
            raise InputError(
                f"too long: {len(request.prompt)} and {len(target)} tokens, the decoder has {positions} positions"
            )
        scored = replace(request, begun=[(token, 0.0) for token in target], limit=len(target))
        self._check_fits(scored)
        return scored

    def _check(self, ids: Sequence[int], vocabulary: int, what: str) -> None:
        if not len(ids):
            raise InputError(f"nothing to read: {what} has no tokens")
        self._check_known(ids, vocabulary)

    def _check_known(self, ids: Sequence[int], vocabulary: int) -> None:
        outside = [token for token in ids if not 0 <= token < vocabulary]
        if outside:
            raise InputError(f"ids {outside[:5]} are outside the vocabulary of {vocabulary}")

    def _check_fits(self, request: Request) -> None:
        if self.memory is None:
            return
        room = self.room(1)
        if not room.has([request]):
            raise InputError(self.memory.needs(room.sizes([request])))

    def _limit(self, prompt: Sequence[int]) -> int:
        """How many tokens may follow a prompt: what the options say, as far as the model's positions reach."""
        positions = self.manifest.target_positions
        try:
            limit = self.options.new_tokens(len(prompt), None)
        except OptionError as error:
            raise InputError(str(error)) from None
        if positions is not None and len(prompt) >= positions:
            raise InputError(f"too long: {len(prompt)} tokens leave no room in the model's {positions}; split the text")
        return limit if positions is None else min(limit, positions - len(prompt))
