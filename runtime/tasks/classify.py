"""classify: which labels a text has, or a pair of texts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diptych.runtime import ports
from diptych.runtime.encoder import Encoder
from diptych.runtime.graph import Array
from diptych.runtime.option_fields import one_of, share, whole_number
from diptych.runtime.tasks.encoder_task import EncoderTask
from diptych.runtime.tasks.json_rows import SECOND, TEXT, texts_of
from diptych.runtime.tasks.labels import labels_of
from diptych.runtime.tasks.pairs import Pair, check_pair, pair_from_line
from diptych.runtime.tasks.scores import sigmoid, softmax
from diptych.runtime.tokenizer import Tokenizer
from diptych.runtime.tokens import Tokens

_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "none": lambda logits: logits,
}


@dataclass(frozen=True)
class ClassifyOptions:
    """Which labels are told, and how logits become scores."""

    top_k: int | None = whole_number(None, "most labels told: 1, or all that hold where several may", least=1)
    threshold: float = share(0.5, "the score from which a label holds, where several may")
    function_to_apply: str | None = one_of(None, "how logits become scores", tuple(_FUNCTIONS))


@dataclass(frozen=True)
class Classification:
    """The best label and its score; the scores of all, best first; and the labels that hold, best first."""

    label: str
    score: float
    scores: dict[str, float]
    labels: tuple[str, ...]


class Classifier(EncoderTask[str | Pair, ClassifyOptions, Array, Classification]):
    """Texts, or pairs of texts, to scores of labels.

    As in transformers, scores are a softmax over the labels; where several may hold, or there is but one, they are a
    sigmoid of each; of a regression they are the logits.
    """

    doing = "classifying"
    options = ClassifyOptions
    outputs = (ports.LOGITS,)

    def __init__(self, tokenizer: Tokenizer, encoder: Encoder) -> None:
        super().__init__(tokenizer, encoder)
        self.labels = labels_of(encoder)

    def read(self, text: str | Pair, options: ClassifyOptions) -> list[Tokens]:
        if isinstance(text, str):
            return [self.tokenizer.read(text)]
        check_pair(text, "text", "text")
        return [self.tokenizer.read(*text)]

    def see(self, tokens: Tokens, outputs: dict[str, Array], options: ClassifyOptions) -> Array:
        return _FUNCTIONS[options.function_to_apply or self.labels.function](outputs[ports.LOGITS])

    def tell(self, text: str | Pair, seen: list[Array], options: ClassifyOptions) -> Classification:
        scores = dict(sorted(zip(self.labels.names, seen[0].tolist(), strict=True), key=lambda item: -item[1]))
        ranked = list(scores)
        several = self.labels.function == "sigmoid" and len(ranked) > 1
        holding = [label for label in ranked if scores[label] >= options.threshold] if several else ranked
        most = options.top_k or (len(holding) if several else 1)
        return Classification(ranked[0], scores[ranked[0]], scores, tuple(holding[:most]))

    def from_line(self, line: str) -> str | Pair:
        return pair_from_line(line, "text", "text") if "\t" in line else line

    def from_json(self, row: object) -> str | Pair:
        texts = texts_of(row, [TEXT], optional=[SECOND])
        return (texts[TEXT], texts[SECOND]) if SECOND in texts else texts[TEXT]

    def to_line(self, result: Classification) -> str:
        return "\t".join(result.labels)

    def to_json(self, result: Classification) -> dict[str, Any]:
        return {"label": result.label, "score": result.score, "scores": result.scores}
