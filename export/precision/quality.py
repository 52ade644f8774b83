"""How near reduced graphs come to those in float32: on the same texts, position by position."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.export.precision.calibration import Engines, Example
from diptych.runtime import ports
from diptych.runtime.generation.scores import log_softmax
from diptych.runtime.graph import Array


@dataclass(frozen=True)
class Expected:
    """An example, and what the float32 graphs say."""

    example: Example
    answers: dict[str, Array]

    @property
    def positions(self) -> int:
        return sum(map(len, self.answers.values()))


def expected(examples: Iterable[Example], engines: Engines) -> list[Expected]:
    return [Expected(example, example.answers(engines)) for example in examples]


def quality(references: Sequence[Expected], engines: Engines) -> dict[str, float]:
    """agreement: the share of positions, 0 to 1, at which both find the same likeliest class; of states, mean cosine.
    divergence: the mean of the Kullback-Leibler divergence from float32, in nats. perplexity: of tokens that were
    given, as the reduced graphs predict them, and perplexity_fp32. positions: on which all this was measured.
    """
    agreements, divergences, surprises = [], [], []
    for reference in references:
        answers = reference.example.answers(engines)
        for name, theirs in reference.answers.items():
            ours = answers[name]
            if name == ports.LAST_HIDDEN_STATE:
                agreements.append(_cosines(ours, theirs))
                continue
            agreements.append(ours.argmax(-1) == theirs.argmax(-1))
            reduced, full = (log_softmax(each.astype(np.float64)) for each in (ours, theirs))
            divergences.append((np.exp(full) * (full - reduced)).sum(-1))
            if reference.example.given:
                following = np.array(reference.example.row[1:])[:, None]
                surprises.append([-np.take_along_axis(each, following, 1)[:, 0] for each in (reduced, full)])
    agreement = np.concatenate(agreements).astype(np.float64)
    found = {"agreement": float(agreement.mean()), "positions": float(len(agreement))}
    if divergences:
        found["divergence"] = float(np.concatenate(divergences).mean())
    if surprises:
        perplexities = [float(np.exp(np.concatenate(each).mean())) for each in zip(*surprises, strict=True)]
        found |= dict(zip(("perplexity", "perplexity_fp32"), perplexities, strict=True))
    return found


def _cosines(ours: Array, theirs: Array) -> Array:
    norms = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
    return np.asarray((ours * theirs).sum(-1) / np.maximum(norms, np.finfo(np.float32).tiny))


def told(found: dict[str, float]) -> str:
    """In a line."""
    words = [f"agreement {found['agreement']:.2%} on {found['positions']:.0f} positions"]
    if "divergence" in found:
        words.append(f"divergence {found['divergence']:.2g} nats")
    if "perplexity" in found:
        words.append(f"perplexity {found['perplexity']:.4g}, in float32 {found['perplexity_fp32']:.4g}")
    return ", ".join(words)
