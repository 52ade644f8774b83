"""Level 3, tokens: the same sources through the runtime's own loop, decoded by both engines."""

import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Literal, cast

import numpy as np

from diptych.export.parity.bounds import MULTIPLE
from diptych.export.parity.levels.lockstep import Lockstep
from diptych.export.parity.report import Histogram, SearchReport, TokenDifference, TokensReport
from diptych.runtime.bundle import BundleDecoder
from diptych.runtime.decoder import CachedDecoder, CacheState, Sources
from diptych.runtime.generation.generator import Generator
from diptych.runtime.generation.steps import Hypothesis
from diptych.runtime.graph import Array
from diptych.runtime.manifest import Manifest
from diptych.runtime.ranked import Ranked, ranked

NEW_TOKENS = 12
SOURCE_LENGTHS = (1, *(2 + index % 29 for index in range(101)))
# A near-tie: all through a search no logit is further from the reference's than so many times what both may stray.
APART = 2.0
# The least share of sources at which PyTorch's own rounding is taken to part searches: in float32, and in fewer bits.
# docs/parity.md shows how many these are.
OWN_SHARE, OWN_SHARE_REDUCED = 0.0025, 0.01
# Whatever the checkpoint's defaults: chance decides nothing, texts stop nothing, and every token is a step.
PLAIN: dict[str, Any] = {"do_sample": False, "stop_strings": (), "prompt_lookup_num_tokens": None}
SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {"num_beams": 1, "num_return_sequences": 1, **PLAIN},
    "beam 4": {"num_beams": 4, "num_return_sequences": 2, **PLAIN},
}
# Decades of the margin between the best two logits, in halves.
_EDGES = [half / 2 for half in range(-14, 7)]
_SEED = 41


class Watched(CachedDecoder):
    """Keeps how far apart the best two logits were at every step, all of which it looks at."""

    def __init__(self, decoder: CachedDecoder) -> None:
        super().__init__(decoder.encoder, decoder.decoder)
        self.margins: list[float] = []

    def step(self, state: CacheState, ids: Array) -> Array:
        logits = super().step(state, ids)
        if logits.shape[1] > 1:
            best = np.partition(logits, -2, axis=1)[:, -2:]
            self.margins += np.abs(best[:, 1] - best[:, 0]).tolist()
        return logits

    def rank(self, state: CacheState, ids: Array, count: int, asked: Array) -> Ranked:
        return ranked(self.step(state, ids), count, asked)


def random_sources(manifest: Manifest, *, continued: bool) -> list[list[int]]:
    """Sources of many lengths that end as the model's sources do. continued: they are prompts that leave room."""
    random = np.random.default_rng(_SEED)
    longest = manifest.source_positions or sys.maxsize
    if continued:
        longest = max(1, longest - NEW_TOKENS)
    ending = [token for token in manifest.tokens.eos[:1] if token < manifest.source_vocabulary] or [0]
    return [
        random.integers(0, manifest.source_vocabulary, min(length, longest) - 1).tolist() + ending
        for length in SOURCE_LENGTHS
    ]


def compare_tokens(
    subject: BundleDecoder,
    reference: CachedDecoder,
    manifest: Manifest,
    sources: Sequence[list[int]],
    logit_error: float,
) -> TokensReport:
    """Greedy and beam search. logit_error: the largest that is known of the two engines' logits."""
    watched = Watched(reference)
    searches: list[SearchReport] = []
    differences: list[TokenDifference] = []
    margins: list[float] = []
    for name, options in SEARCHES.items():
        found, expected = (decoded(each, manifest, sources, options) for each in (subject, watched))
        margins = margins or list(watched.margins)
        apart = []
        if ids_of(found) != ids_of(expected):
            lockstep = Lockstep(subject, reference)
            found = decoded(lockstep, manifest, sources, options)
            pairs = enumerate(zip(found, expected, strict=True))
            apart = [
                _difference(name, text, pair, lockstep, reference, sources[text], manifest, APART * logit_error)
                for text, pair in pairs
                if ids_of(pair[:1]) != ids_of(pair[1:])
            ]
        near = sum(each.kind == "near-tie" for each in apart)
        differences += apart
        searches.append(SearchReport(name, len(sources), len(sources) - len(apart), near, len(apart) - near))
    counts = np.histogram(np.clip(np.log10(np.maximum(margins, 1e-30)), _EDGES[0], _EDGES[-1]), _EDGES)[0]
    return TokensReport(
        searches,
        differences,
        logit_error,
        min(margins, default=None),
        Histogram([10.0**edge for edge in _EDGES], {"margin": counts.tolist()}),
    )


def decoded(
    decoder: BundleDecoder | Lockstep, manifest: Manifest, sources: Sequence[list[int]], options: Mapping[str, Any]
) -> list[list[Hypothesis]]:
    limit = min(NEW_TOKENS, manifest.target_positions - 1) if manifest.target_positions else NEW_TOKENS
    # All that the loop asks of a decoder a lockstep has, too.
    generator = Generator(cast("BundleDecoder", decoder), manifest)
    return generator(sources, max_new_tokens=max(1, limit), **options)


def ids_of(found: Sequence[Sequence[Hypothesis]]) -> list[list[list[int]]]:
    return [[hypothesis.ids for hypothesis in each] for each in found]


def parted(
    one: CachedDecoder, other: CachedDecoder, manifest: Manifest, sources: Sequence[list[int]]
) -> dict[str, int]:
    """For each search, the sources for which two engines do not find the same."""
    counts = {}
    for name, options in SEARCHES.items():
        pairs = zip(*(ids_of(decoded(each, manifest, sources, options)) for each in (one, other)), strict=True)
        counts[name] = sum(found != expected for found, expected in pairs)
    return counts


def failures(report: TokensReport, least: float = OWN_SHARE, own: Callable[[], Mapping[str, int]] = dict) -> list[str]:
    """What of it the gate does not let pass: of each search the first fault, and too many near-ties.

    There may be one, or `MULTIPLE` times as many as PyTorch's own rounding parts: this share of all sources at `least`,
    else `own`, by name of the search, which is asked for only where that is too few.
    """
    found = []
    for search in report.searches:
        if search.faults:
            first = next(each for each in report.differences if (each.search, each.kind) == (search.name, "fault"))
            found.append(
                f"{search.name}: {search.faults} of {search.texts} sources differ, the first is {first.text}: "
                f"token {first.place} is {first.ours}, expected {first.reference}; logits are {first.apart:.1e} apart, "
                f"at most {APART * report.logit_error:.1e}"
            )
        allowed = max(1.0, MULTIPLE * least * search.texts)
        if search.near_ties > allowed:
            allowed = max(allowed, MULTIPLE * own().get(search.name, 0))
        if search.near_ties > allowed:
            found.append(
                f"{search.name}: {search.near_ties} near-ties in {search.texts} sources, at most {int(allowed)}"
            )
    return found


def _difference(
    search: str,
    text: int,
    pair: tuple[list[Hypothesis], list[Hypothesis]],
    lockstep: Lockstep,
    decoder: CachedDecoder,
    source: list[int],
    manifest: Manifest,
    bound: float,
) -> TokenDifference:
    """The first of the hypotheses that differ: where, and what the reference says of both tokens there."""
    ours, theirs = next(each for each in zip(*pair, strict=True) if each[0].ids != each[1].ids)
    place = next(at for at, each in enumerate(zip_longest(ours.ids, theirs.ids)) if each[0] != each[1])
    chosen, expected = (next(iter(each.ids[place : place + 1]), None) for each in (ours, theirs))
    logits = _logits(decoder, source, theirs.ids[:place], (chosen, expected), manifest)
    apart = lockstep.apart.get(tuple(source), float("inf"))
    kind: Literal["near-tie", "fault"] = "near-tie" if apart <= bound else "fault"
    return TokenDifference(search, text, place, chosen, expected, logits, apart, kind)


def _logits(
    decoder: CachedDecoder, source: list[int], prefix: list[int], candidates: Sequence[int | None], manifest: Manifest
) -> list[float]:
    """What the reference says of the candidates after this prefix, token by token as a search reads it."""
    start = [] if manifest.tokens.decoder_start is None else [manifest.tokens.decoder_start]
    prompt = source if decoder.encoder is None else start
    encoded = [] if decoder.encoder is None else source
    state = decoder.start(Sources.pad([encoded], manifest.tokens.pad), rows_per_source=1)
    for ids in (prompt, *([token] for token in prefix)):
        logits = decoder.step(state, np.array([ids]))[0]
    return [float(logits[token]) for token in candidates if token is not None]
