"""Level 3, tokens: the same sources through the runtime's own loop, decoded by both engines."""

import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Literal

import numpy as np

from diptych.export.parity.report import Histogram, SearchReport, TokenDifference, TokensReport
from diptych.runtime.bundle import BundleDecoder
from diptych.runtime.decoder import CachedDecoder, CacheState, Sources
from diptych.runtime.generation.generator import Generator
from diptych.runtime.generation.steps import Hypothesis
from diptych.runtime.graph import Array
from diptych.runtime.manifest import Manifest

NEW_TOKENS = 12
SOURCE_LENGTHS = (1, *(2 + index % 29 for index in range(101)))
# At most so many of the decoded sources may be near-ties, or one. Where numbers are rounded to steps, rounding in
# float32 may take some to the next one; in int4, machines round activations each in its way.
NEAR_TIES = {"fp32": 0.01, "fp16": 0.1, "int8": 0.25, "int4": 0.5}
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
    """Keeps how far apart the best two logits were at every step."""

    def __init__(self, decoder: CachedDecoder) -> None:
        super().__init__(decoder.encoder, decoder.decoder)
        self.margins: list[float] = []

    def step(self, state: CacheState, ids: Array) -> Array:
        logits = super().step(state, ids)
        if logits.shape[1] > 1:
            best = np.partition(logits, -2, axis=1)[:, -2:]
            self.margins += np.abs(best[:, 1] - best[:, 0]).tolist()
        return logits


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
    """Greedy and beam search. A difference within four logit errors is a near-tie."""
    watched = Watched(reference)
    limit = min(NEW_TOKENS, manifest.target_positions - 1) if manifest.target_positions else NEW_TOKENS
    limit = max(1, limit)
    searches: list[SearchReport] = []
    differences: list[TokenDifference] = []
    margins: list[float] = []
    for name, options in SEARCHES.items():
        found = Generator(subject, manifest)(sources, max_new_tokens=limit, **options)
        expected = Generator(watched, manifest)(sources, max_new_tokens=limit, **options)
        margins = margins or list(watched.margins)
        parted = [
            difference(name, text, *pair, options["num_beams"], reference, sources[text], manifest, 4 * logit_error)
            for text, pair in enumerate(zip(found, expected, strict=True))
        ]
        apart = [each for each in parted if each is not None]
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


def failures(report: TokensReport, share: float = NEAR_TIES["fp32"]) -> list[str]:
    """What of it the gate does not let pass: of each search the first fault, and more near-ties than this share."""
    found = []
    for search in report.searches:
        if search.faults:
            first = next(each for each in report.differences if (each.search, each.kind) == (search.name, "fault"))
            found.append(
                f"{search.name}: {search.faults} of {search.texts} sources differ, the first is {first.text}: "
                f"token {first.place} is {first.ours}, expected {first.reference}, {first.margin:.1e} apart"
            )
        if search.near_ties > max(1, share * search.texts):
            found.append(
                f"{search.name}: {search.near_ties} near-ties in {search.texts} sources, at most {100 * share:.0f} %"
            )
    return found


def difference(
    search: str,
    text: int,
    ours: list[Hypothesis],
    expected: list[Hypothesis],
    beams: int,
    decoder: CachedDecoder,
    source: list[int],
    manifest: Manifest,
    bound: float,
) -> TokenDifference | None:
    """The widest of the hypotheses' differences. Beams stand apart by their scores, greedy's candidates by logits."""
    found = []
    for one, other in zip(ours, expected, strict=True):
        if one.ids == other.ids:
            continue
        place = next(i for i, (a, b) in enumerate(zip_longest(one.ids, other.ids)) if a != b)
        chosen, expected_token = (next(iter(each.ids[place : place + 1]), None) for each in (one, other))
        logits = _logits(decoder, source, other.ids[:place], (chosen, expected_token), manifest)
        margin = abs(one.score - other.score)
        if beams == 1:
            margin = float(np.ptp(logits)) if len(logits) == 2 else float("inf")
        kind: Literal["near-tie", "fault"] = "near-tie" if margin < bound else "fault"
        found.append(TokenDifference(search, text, place, chosen, expected_token, logits, margin, kind))
    return max(found, key=lambda each: (each.kind == "fault", each.margin), default=None)


def _logits(
    decoder: CachedDecoder, source: list[int], prefix: list[int], candidates: Sequence[int | None], manifest: Manifest
) -> list[float]:
    """What the reference says of the candidates after this prefix."""
    start = [] if manifest.tokens.decoder_start is None else [manifest.tokens.decoder_start]
    prompt = source if decoder.encoder is None else start
    encoded = [] if decoder.encoder is None else source
    state = decoder.start(Sources.pad([encoded], manifest.tokens.pad), rows_per_source=1)
    logits = decoder.step(state, np.array([[*prompt, *prefix]]))[0]
    return [float(logits[token]) for token in candidates if token is not None]
