"""The token-level interface: ids in, ids and scores out. It needs no tokenizer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from threading import Event
from typing import Any

import numpy as np

from diptych.runtime import ports
from diptych.runtime.batches import BATCH_SIZE, BATCH_TOKENS
from diptych.runtime.bundle import Bundle, BundleDecoder
from diptych.runtime.decoder import Decoder
from diptych.runtime.errors import InputError, OptionError
from diptych.runtime.generation.alternatives import alternatives
from diptych.runtime.generation.history import History
from diptych.runtime.generation.loop import decode
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.plan import Plan
from diptych.runtime.generation.requests import Request, Room, Waiting, share
from diptych.runtime.generation.scoring import Scored, score_targets
from diptych.runtime.generation.speculation import Lookup, speculate
from diptych.runtime.generation.steps import Hypothesis, Progress, Search
from diptych.runtime.manifest import Manifest
from diptych.runtime.memory_limit import MemoryLimit
from diptych.runtime.providers import SessionSettings
from diptych.runtime.tokenizer import Tokenizer
from diptych.runtime.workers import in_turn

OnStep = Callable[[Progress], bool | None]


class Generator:
    """Decodes sources with a bundle's defaults, or the options of the call.

    A source is what the encoder reads, or, where there is none, the prompt that is continued.
    """

    def __init__(
        self,
        decoder: BundleDecoder,
        manifest: Manifest,
        tokenizer: Callable[[], Tokenizer] | None = None,
        memory: MemoryLimit | None = None,
        workers: int = 1,
    ) -> None:
        """tokenizer: opens that of what is generated, which options about text need. memory: what batches fit in.

        workers: batches that are decoded at the same time, on threads of their own.
        """
        self.decoder = decoder
        self._any: Decoder[Any] = decoder  # Whatever its states are.
        self.manifest = manifest
        self._open_tokenizer = tokenizer
        self.memory = memory
        self.workers = workers
        self.defaults = GenerationOptions.from_mapping(manifest.generation)
        self.vocab_size = int(decoder.decoder.outputs[ports.LOGITS][-1])

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """Of what is generated, opened when it is first wanted: ids alone need none, and it may be large."""
        return None if self._open_tokenizer is None else self._open_tokenizer()

    def __call__(
        self,
        sources: Sequence[Sequence[int]],
        *,
        target_prefixes: Sequence[Sequence[int]] | None = None,
        batch_size: int = BATCH_SIZE,
        batch_tokens: int = BATCH_TOKENS,
        on_step: OnStep | None = None,
        first: int = 0,
        **options: Any,
    ) -> list[list[Hypothesis]]:
        """For each source, in order, its hypotheses, best first.

        sources: ids as the tokenizer gives them, special ones included. target_prefixes: for each source, ids that its
        results begin with, after the start token or the prompt. batch_size, batch_tokens: most sources decoded
        together, and most tokens of theirs, padding included; others join as soon as some leave. on_step: called for
        each running source after each step; where it returns True, the source ends with what it has. first: the number
        of the first source, which sampling depends on. options: see `GenerationOptions`. Raises InputError for a source
        that is empty or too long for the model, OptionError for a wrong option.
        """
        plan = self.plan(**options)
        prefixes = [()] * len(sources) if target_prefixes is None else target_prefixes
        if len(prefixes) != len(sources):
            raise OptionError(f"{len(prefixes)} target_prefixes for {len(sources)} sources; expected one for each")
        requests = []
        for index, (source, prefix) in enumerate(zip(sources, prefixes, strict=True)):
            try:
                requests.append(plan.request(first + index, source, prefix))
            except InputError as error:
                raise InputError(f"source {index}: {error}") from None
        found = self.run(plan, requests, batch_size=batch_size, batch_tokens=batch_tokens, on_step=on_step)
        return [found[request.number] for request in requests]

    def run(
        self,
        plan: Plan,
        requests: Sequence[Request],
        *,
        batch_size: int = BATCH_SIZE,
        batch_tokens: int = BATCH_TOKENS,
        on_step: OnStep | None = None,
    ) -> dict[int, list[Hypothesis]]:
        """The hypotheses of requests that the plan made, by number. Raises OptionError for a wrong batch size."""
        room = plan.room(batch_size, batch_tokens)
        if plan.options.alternatives is not None:
            return {request.number: self._alternatives(plan, request, room, on_step) for request in requests}
        workers = min(self.workers, len(requests))
        # Who is told of each step is told by one, a grammar remembers what was said, a limit is for one batch.
        if workers <= 1 or on_step is not None or plan.grammar is not None or self.memory is not None:
            return self._decoded(plan, requests, room, on_step)
        stop, own = Event(), room.shared(workers)
        parts = in_turn(lambda part: self._decoded(plan, part, own, stop=stop), share(requests, workers), workers, stop)
        return {number: hypotheses for found in parts for number, hypotheses in found.items()}

    def _decoded(
        self,
        plan: Plan,
        requests: Sequence[Request],
        room: Room,
        on_step: OnStep | None = None,
        stop: Event | None = None,
    ) -> dict[int, list[Hypothesis]]:
        """All of them, or some, where nobody waits any more."""
        found: dict[int, list[Hypothesis]] = {}
        for search, _ in self._steps(plan, requests, room, on_step):
            found.update(search.take_finished())
            if stop is not None and stop.is_set():
                break
        return found

    def stream(self, source: Sequence[int], *, target_prefix: Sequence[int] = (), **options: Any) -> Iterator[int]:
        """The ids of the best hypothesis, each as soon as no other can win: of beams, those that all agree on."""
        plan = self.plan(**options)
        return self.stream_request(plan, plan.request(0, source, target_prefix))

    def stream_request(self, plan: Plan, request: Request) -> Iterator[int]:
        """As `stream`, for a request that the plan made."""
        if plan.options.alternatives is not None:
            raise OptionError("alternatives are several results; a stream is one")
        return self._stream(plan, request)

    def score(
        self,
        sources: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
        *,
        batch_size: int = BATCH_SIZE,
        batch_tokens: int = BATCH_TOKENS,
    ) -> list[Scored]:
        """The log-probability of each token of given targets, after their sources, without filters.

        targets: ids as the model would generate them, an ending EOS included if it counts. Raises InputError for a
        source or target that the model cannot read.
        """
        if len(sources) != len(targets):
            raise OptionError(f"{len(targets)} targets for {len(sources)} sources; expected one for each")
        plan = self.plan(max_new_tokens=1)
        requests = []
        for index, (source, target) in enumerate(zip(sources, targets, strict=True)):
            try:
                requests.append(plan.target(index, source, target))
            except InputError as error:
                raise InputError(f"source {index}: {error}") from None
        return self.score_requests(requests, batch_size=batch_size, batch_tokens=batch_tokens)

    def score_requests(
        self, requests: Sequence[Request], *, batch_size: int = BATCH_SIZE, batch_tokens: int = BATCH_TOKENS
    ) -> list[Scored]:
        """As `score`, for requests that `Plan.target` made."""
        pad_id = self.manifest.tokens.pad
        return score_targets(
            self._any,
            requests,
            self.vocab_size,
            pad_id,
            batch_size=batch_size,
            batch_tokens=batch_tokens,
            memory=self.memory,
        )

    def plan(self, **options: Any) -> Plan:
        """What a call with these options does. Raises OptionError for a wrong one."""
        chosen = self.defaults.updated(options)
        chosen.check_asked(options)
        if chosen.needs_attention:
            self._check_attention(chosen.attention_layer)
        encodes = self.decoder.encoder is not None
        if encodes:
            chosen.new_tokens(1, self.manifest.target_positions)
        tokenizer = self.tokenizer if chosen.constrained or chosen.stop_strings else None
        return Plan.make(chosen, self.manifest, tokenizer, self.vocab_size, encodes=encodes, memory=self.memory)

    def _check_attention(self, layer: int) -> None:
        if not self.decoder.attends:
            raise OptionError(
                "output_attentions, replace_unknowns and coverage_penalty need cross-attention, which this bundle's "
                "graphs do not give; export it with --with-attention"
            )
        layers = self.decoder.decoder.outputs[ports.CROSS_ATTENTIONS][1]
        if isinstance(layers, int) and not -layers <= layer < layers:
            raise OptionError(
                f"attention_layer is {layer}; expected one of the decoder's {layers}, from 0 or, from the last, -1"
            )

    def _steps(
        self,
        plan: Plan,
        requests: Sequence[Request],
        room: Room,
        on_step: OnStep | None = None,
    ) -> Iterator[tuple[Search, History]]:
        """The searches that requests need, after each of their steps."""
        options, search, pad_id = plan.options, plan.search(), self.manifest.tokens.pad
        watch = None if on_step is None else _watch(search, on_step)
        if options.prompt_lookup_num_tokens is not None:
            lookup = Lookup(options.prompt_lookup_num_tokens, options.max_matching_ngram_size)
            for request in requests:
                for history in speculate(self._any, request, search, plan.filters, lookup, pad_id=pad_id, watch=watch):
                    yield search, history
            return
        layer = options.attention_layer if options.needs_attention else None
        waiting = Waiting(requests, room)
        for history in decode(self._any, waiting, search, plan.filters, pad_id=pad_id, looking_at=layer, watch=watch):
            yield search, history

    def _stream(self, plan: Plan, request: Request) -> Iterator[int]:
        shown, best = 0, None
        for search, history in self._steps(plan, [request], plan.room(1)):
            if search.sources:
                settled = search.settled(request.number, history)
                yield from settled[shown:]
                shown = max(shown, len(settled))
            for _, hypotheses in search.take_finished():
                best = hypotheses[0]
        assert best is not None
        yield from best.ids[shown:]

    def _alternatives(self, plan: Plan, request: Request, room: Room, on_step: OnStep | None) -> list[Hypothesis]:
        ways = list(
            alternatives(
                self._any, request, plan.options, plan.endings.eos.tolist(), plan.filters, self.manifest.tokens.pad
            )
        )
        watch = None if on_step is None else lambda told: on_step(replace(told, source=request.number))
        found: dict[int, list[Hypothesis]] = {}
        first = np.array([token for way, _ in ways for token, _ in way.begun], dtype=np.int64)
        history = History.start([request.prompt], [request.limit])
        ends = plan.endings.reached(history, np.zeros_like(first), first)
        for number in np.flatnonzero(ends).tolist():
            way, looked = ways[number]
            found[number] = [Hypothesis([token], score, [score], looked) for token, score in way.begun]
        numbered = [replace(way, number=number) for number, way in enumerate([way for way, _ in ways] or [request])]
        longer = [way for way in numbered if way.number not in found]
        for search, _ in self._steps(plan, longer, room, watch):
            found.update(search.take_finished())
        return [found[number][0] for number in range(len(numbered))]


def open_generator(bundle: Bundle, settings: SessionSettings, reads: Tokenizer | None = None) -> Generator:
    """With the bundle's tokenizer of what is generated, if it has one. reads: that of what is read, if it is open."""
    files = [name for name in (ports.TARGET_TOKENIZER_FILE, ports.TOKENIZER_FILE) if name in bundle.manifest.files]

    def opened() -> Tokenizer:
        if reads is not None and files[0] == ports.TOKENIZER_FILE:
            return reads
        return Tokenizer(bundle.folder / files[0], bundle.manifest.tokens.unknown)

    decoder = bundle.decoder(settings)
    graphs = [decoder.decoder, *([] if decoder.encoder is None else [decoder.encoder])]
    memory = MemoryLimit.of(settings.memory_limit, graphs, bundle.folder / ports.WEIGHTS_FILE)
    return Generator(decoder, bundle.manifest, opened if files else None, memory, settings.workers)


def _watch(search: Search, on_step: OnStep) -> Callable[[History], list[int]]:
    """Tells each running source's best row; those to stop."""

    def watch(history: History) -> list[int]:
        return [told.source for told in search.progress(history) if on_step(told)]

    return watch
