"""Another use of a bundle that generates: how likely given targets are, after the texts they belong to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from diptych.runtime import option_fields as kinds
from diptych.runtime.batches import BATCH_SIZE, BATCH_TOKENS
from diptych.runtime.bundle import Bundle
from diptych.runtime.errors import InputError
from diptych.runtime.generation.requests import Request
from diptych.runtime.providers import SessionSettings
from diptych.runtime.tasks.generate import TextGenerator
from diptych.runtime.tasks.options import choose
from diptych.runtime.tasks.pairs import Pair, check_pair, pair_from_json, pair_from_line


@dataclass(frozen=True)
class ScoreOptions:
    """From which language to which."""

    source_lang: str | None = kinds.text("the source's language, as the model spells it")
    target_lang: str | None = kinds.text("the target's language, as the model spells it")


@dataclass(frozen=True)
class ScoredText:
    """score: the target's log-probability, the sum of token_scores, one for each of its ids, an ending EOS included."""

    ids: list[int]
    score: float
    token_scores: list[float]


class Scorer:
    """Pairs of texts in; out the log-probability of the second after the first.

    With an encoder the second ends as generated texts do. A language model goes on from the first, and does not end.
    """

    options: ClassVar[type[Any]] = ScoreOptions
    doing = "scoring"

    def __init__(self, texts: TextGenerator) -> None:
        self.texts = texts

    @classmethod
    def open(cls, bundle: Bundle, settings: SessionSettings) -> Self:
        """Raises BundleError or ProviderError if the bundle's graphs cannot be run for this."""
        return cls(TextGenerator.open(bundle, settings))

    def attempt(
        self,
        texts: Sequence[Pair | InputError],
        *,
        batch_size: int = BATCH_SIZE,
        batch_tokens: int = BATCH_TOKENS,
        first: int = 0,
        **options: Any,
    ) -> list[ScoredText | InputError]:
        """For each pair its score, or the error of one that cannot be read, or that is one. options: `ScoreOptions`."""
        choose(ScoreOptions, options)
        results: list[ScoredText | InputError] = []
        requests: dict[int, Request] = {}
        for index, pair in enumerate(texts):
            try:
                if isinstance(pair, InputError):
                    raise pair
                check_pair(pair, "text", "target")
                requests[index] = self.texts.target(*pair, **options)
                results.append(ScoredText([], 0.0, []))
            except InputError as error:
                results.append(error)
        found = self.texts.generator.score_requests(
            list(requests.values()), batch_size=batch_size, batch_tokens=batch_tokens
        )
        for (index, request), scored in zip(requests.items(), found, strict=True):
            results[index] = ScoredText([token for token, _ in request.begun], scored.score, scored.token_scores)
        return results

    def check_options(self, **options: Any) -> None:
        """Raises OptionError if a call with these options would."""
        choose(ScoreOptions, options)
        self.texts.check_options(**options)

    def from_line(self, line: str) -> Pair:
        return pair_from_line(line, "text", "target")

    def from_json(self, row: object) -> Pair:
        return pair_from_json(row)

    def to_line(self, result: ScoredText) -> str:
        return str(result.score)

    def to_json(self, result: ScoredText) -> dict[str, Any]:
        return {"score": result.score, "ids": result.ids, "token_scores": result.token_scores}
