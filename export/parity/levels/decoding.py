"""Level 2 for graphs that generate: a decoder with a cache, alone or looking back at an encoder."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from diptych.export.parity.as_portable import cached as cached_of
from diptych.export.parity.levels.properties import Bound, Finding, allowed, different, exempt, other_ids, prove, same
from diptych.export.parity.levels.rows import Rows, ranked_alike, rearranged
from diptych.export.parity.report import PropertyReport
from diptych.model import architecture as arch
from diptych.runtime import ports
from diptych.runtime.bundle import BundleDecoder
from diptych.runtime.decoder import CachedDecoder, Decoder, Sources
from diptych.runtime.generation.endings import Endings
from diptych.runtime.generation.greedy import Greedy
from diptych.runtime.generation.history import PADDING
from diptych.runtime.generation.loop import decode
from diptych.runtime.generation.requests import Request, Room, Waiting
from diptych.runtime.graph import Array
from diptych.runtime.manifest import Manifest

_SOURCES, _SOURCE_LENGTH, _LENGTH, _ROWS = 3, 9, 12, 4
_SEED = 37


class Decoding:
    """A decoder over drawn rows of ids [R, T], and sources that they look back at, if the model does."""

    def __init__(self, decoder: BundleDecoder, file: str, stack: arch.Stack, manifest: Manifest, bound: Bound) -> None:
        self.decoder, self.file, self.manifest = decoder, file, manifest
        self.protocol: Decoder[Any] = decoder
        self.bounds, self.bound = bound, bound(file, ports.LOGITS)
        self.random = np.random.default_rng(_SEED)
        self.vocabulary = int(decoder.decoder.outputs[ports.LOGITS][-1])
        scaling = stack.relative.scaling if isinstance(stack.relative, arch.Rotary) else None
        self.trained = scaling.trained if isinstance(scaling, arch.Dynamic) else None
        self.longest = manifest.target_positions or 1 << 30
        self.length = min(_LENGTH, self.longest, self.trained or _LENGTH)
        self.ids = self.random.integers(0, self.vocabulary, (_SOURCES, self.length))
        self.sources = self.draw_sources()

    def prove(self) -> Iterator[PropertyReport]:
        if self.length > 1:
            yield prove("causality", self.file, self.causality)
            yield prove("cache equivalence", self.file, self.cache)
        if self.trained is not None:
            reason = "dynamic rotary positions turn all of a row anew with every token beyond that"
            yield exempt(f"cache equivalence beyond {self.trained} tokens", self.file, reason)
        yield prove("determinism", self.file, self.repetition)
        yield prove("batch invariance", self.file, self.batch)
        yield prove("padding invariance", self.file, self.padding)
        if self.length > 1:
            yield prove("rearranged rows", self.file, self.rearranged)
        if not isinstance(self.decoder, CachedDecoder):
            yield prove("ranking", self.file, lambda: ranked_alike(self.rows(), self.length))
        if self.decoder.encoder is not None:
            yield prove("cross-attention", self.file, self.cross_attention)
        yield prove("autoregression", self.file, self.autoregression)

    def causality(self) -> Iterator[Finding]:
        """Changing a token changes what comes at and after it, and nothing before, with a cache and without."""
        last = self.length - 1
        for place in {1, self.length // 2, last}:
            changed = self.ids.copy()
            changed[:, place] = other_ids(self.random, changed[:, place], self.vocabulary)
            for cached in {0, place // 2, max(place - 1, 0)}:
                chunks = [cached, self.length - cached]
                one, two = self.logits(self.ids, chunks=chunks), self.logits(changed, chunks=chunks)
                detail = f"token {place} of {self.length} was changed, {cached} of them cached"
                yield same(one[:, :place], two[:, :place], self.bound, f"{detail}; those before should not know")
                yield different(one[:, place], two[:, place], self.bound, f"{detail}; its own logits should change")

    def cache(self) -> Iterator[Finding]:
        """However the tokens are cut into steps, logits and cache are the same."""
        whole_state, whole = self.run(self.ids)
        for chunks in ([1] * self.length, [self.length - 1, 1], [self.length // 2, self.length - self.length // 2]):
            state, logits = self.run(self.ids, chunks=chunks)
            yield same(logits, whole, self.bound, f"tokens in steps of {chunks}, and all at once")
            for name in self.decoder.past_names:
                bound = self.bounds(self.file, ports.present_name(name))
                yield same(state[name], whole_state[name], bound, f"{name} after steps of {chunks}")

    def repetition(self) -> Iterator[Finding]:
        """The same tokens twice give the same."""
        yield same(self.logits(self.ids), self.logits(self.ids), self.bound, "the same tokens twice")

    def batch(self) -> Iterator[Finding]:
        """A row gives the same alone, and in any place among others, also of its own source."""
        together = self.logits(np.concatenate([self.ids, self.ids[::-1]]), sources=self.sources_at([0, 1, 2, 2, 1, 0]))
        several = self.ids[np.arange(_SOURCES * _ROWS) % _SOURCES]
        in_groups = self.logits(several, rows=_ROWS)
        for row in range(_SOURCES):
            alone = self.logits(self.ids[[row]], sources=self.sources_at([row]))[0]
            for place in (row, 2 * _SOURCES - 1 - row):
                yield same(together[place], alone, self.bound, f"row {row} alone, and in place {place} of a batch")
            for place in range(row * _ROWS, (row + 1) * _ROWS):
                alone = self.logits(several[[place]], sources=self.sources_at([row]))[0]
                detail = f"row {place} alone, and among {_ROWS} of each source"
                yield same(in_groups[place], alone, self.bound, detail)

    def padding(self) -> Iterator[Finding]:
        """Padding on the left of rows, and on the right of sources, makes no difference, whatever ids lie under it."""
        for extra in (1, 5):
            lengths = [max(1, self.length - row) for row in range(_SOURCES)]
            rows = np.full((_SOURCES, self.length + extra), PADDING)
            for row, length in enumerate(lengths):
                rows[row, -length:] = self.ids[row, :length]
            cut = [extra + self.length // 2, self.length - self.length // 2]
            for chunks in ([sum(cut)], cut):
                padded = self.logits(rows, chunks=chunks)
                for row, length in enumerate(lengths):
                    alone = self.logits(self.ids[[row], :length], sources=self.sources_at([row]))[0]
                    detail = f"row {row} alone, and with padding on the left of rows, in steps of {chunks}"
                    yield same(padded[row, -length:], alone, self.bound, detail)
        if self.decoder.encoder is None:
            return
        plain = self.logits(self.ids)
        room = (self.manifest.source_positions or 1 << 30) - self.sources.ids.shape[1]
        for extra in {min(1, room), min(6, room)}:
            garbage = self.random.integers(0, self.manifest.source_vocabulary, (_SOURCES, extra))
            ids = np.concatenate([self.sources.ids, garbage], axis=1)
            wider = Sources(ids, np.concatenate([self.sources.mask, np.zeros_like(garbage)], axis=1))
            found = self.logits(self.ids, sources=wider)
            yield same(found, plain, self.bound, f"{extra} more padding on the right of sources")

    def rearranged(self) -> Iterator[Finding]:
        """Rows that were reordered, repeated, dropped, parted, joined or trimmed go on as if decoded anew."""
        return rearranged(self.rows(), self.length, self.bound)

    def rows(self) -> Rows:
        return Rows(self.decoder, self.sources, self.vocabulary)

    def cross_attention(self) -> Iterator[Finding]:
        """Rows know all of their own source, and nothing else."""
        plain = self.logits(self.ids)
        for source in range(_SOURCES):
            ids = self.sources.ids.copy()
            places = np.flatnonzero(self.sources.mask[source])
            others = [row for row in range(_SOURCES) if row != source]
            for place in {0, int(places[-1])}:
                changed = ids.copy()
                changed[source, place] = self.other_source_ids(changed[source, place])
                found = self.logits(self.ids, sources=Sources(changed, self.sources.mask))
                detail = f"token {place} of source {source} was changed"
                yield different(found[[source]], plain[[source]], self.bound, f"{detail}; its rows should know")
                yield same(found[others], plain[others], self.bound, f"{detail}; rows of others should not know")
        changed = np.where(self.sources.mask == 0, self.other_source_ids(ids), ids)
        found = self.logits(self.ids, sources=Sources(changed, self.sources.mask))
        yield same(found, plain, self.bound, "ids under the sources' padding were changed; no row should know")
        turned = self.logits(self.ids[::-1].copy(), sources=self.sources_at([2, 1, 0]))
        yield same(turned[::-1], plain, self.bound, "sources and their rows in the opposite order")

    def autoregression(self) -> Iterator[Finding]:
        """Fed back as a whole, what was chosen token by token is chosen again."""
        start = self.manifest.tokens.decoder_start
        steps = max(1, min(_LENGTH, self.longest - 1, (self.trained or _LENGTH) - 1))
        if self.decoder.encoder is None:
            prompts = [self.ids[row, : max(1, min(3 + row, self.length - steps))].tolist() for row in range(_SOURCES)]
        else:
            prompts = [[start if start is not None else 0]] * _SOURCES
        limits = [max(1, min(steps, self.longest - len(prompt))) for prompt in prompts]
        sources = [ids[mask == 1].tolist() for ids, mask in zip(self.sources.ids, self.sources.mask, strict=True)]
        requests = map(Request, range(_SOURCES), sources, prompts, limits)
        search = Greedy(Endings(()))
        for _ in decode(self.protocol, Waiting(requests, Room(_SOURCES)), search, (), pad_id=self.manifest.tokens.pad):
            pass
        found = {row: hypotheses[0] for row, hypotheses in search.take_finished()}
        for row, prompt in enumerate(prompts):
            chosen = found[row].ids
            logits = self.logits(np.array([[*prompt, *chosen]])[:, :-1], sources=self.sources_at([row]))[0]
            at_choice = logits[len(prompt) - 1 :]
            missing = at_choice.max(axis=1) - at_choice[np.arange(len(chosen)), chosen]
            detail = f"the {len(chosen)} tokens generated in row {row}, fed back at once"
            yield Finding(float(missing.max() / allowed(logits, self.bound.most)), detail)

    def draw_sources(self) -> Sources:
        """Ragged ones; where the model looks back at nothing, there is nothing in them."""
        if self.decoder.encoder is None:
            return Sources.pad([[]] * _SOURCES, self.manifest.tokens.pad)
        longest = min(_SOURCE_LENGTH, self.manifest.source_positions or _SOURCE_LENGTH)
        lengths = [longest, max(1, longest - 4), max(1, longest - 2)]
        vocabulary = self.manifest.source_vocabulary
        rows = [self.random.integers(0, vocabulary, length).tolist() for length in lengths]
        return Sources.pad(rows, self.manifest.tokens.pad)

    def other_source_ids(self, ids: Array) -> Array:
        return other_ids(self.random, ids, self.manifest.source_vocabulary)

    def sources_at(self, places: Sequence[int]) -> Sources:
        return Sources(self.sources.ids[list(places)], self.sources.mask[list(places)])

    def logits(self, ids: Array, *, sources: Sources | None = None, rows: int = 1, chunks: Sequence[int] = ()) -> Array:
        return self.run(ids, sources=sources, rows=rows, chunks=chunks)[1]

    def run(
        self, ids: Array, *, sources: Sources | None = None, rows: int = 1, chunks: Sequence[int] = ()
    ) -> tuple[dict[str, Array], Array]:
        """The cache and the logits [R, T, V] after ids [R, T], in steps of so many tokens or at once."""
        state = self.protocol.start(sources or self.sources, rows)
        steps = np.split(ids, np.cumsum(chunks)[:-1], axis=1) if chunks else [ids]
        logits = [self.protocol.forward(state, step) for step in steps if step.size]
        return dict(cached_of(self.decoder, state)), np.concatenate(logits, axis=1)
