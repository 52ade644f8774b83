"""Generated texts as results: in Python, and as JSON."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diptych.runtime.graph import Array


@dataclass(frozen=True)
class GeneratedText:
    """One text; ids as generated, without what was given, the ending EOS included; score as `Hypothesis`.

    token_scores: the log-probability of each id. attention [ids, source's ids]: what each looked at, if asked for.
    """

    text: str
    ids: list[int]
    score: float
    token_scores: list[float] = field(default_factory=list, compare=False)
    attention: Array | None = field(default=None, compare=False, repr=False)

    def to_json(self, *, scores: bool) -> dict[str, Any]:
        """scores: those of tokens, too."""
        values: dict[str, Any] = {"text": self.text, "ids": self.ids, "score": self.score}
        if scores:
            values["token_scores"] = self.token_scores
        if self.attention is not None:
            values["attention"] = [[round(float(weight), 6) for weight in row] for row in self.attention]
        return values


def replaced_unknowns(
    ids: Sequence[int], attention: Array, unknown: int, surfaces: Sequence[str], decode: Callable[[Sequence[int]], str]
) -> str:
    """The text of ids, with what the source has where it was most looked at in the place of unknown tokens.

    surfaces: for each token of the source the text it stands for, with the space before it; "" of special tokens.
    """
    text, known = "", list[int]()
    for token, weights in zip(ids, attention, strict=True):
        if token == unknown:
            spoken = np.array([weight if surface else 0.0 for weight, surface in zip(weights, surfaces, strict=True)])
            text += surfaces[int(spoken.argmax())] if spoken.any() else ""
            continue
        before = decode(known)
        known.append(token)
        text += decode(known)[len(before) :]
    return text
