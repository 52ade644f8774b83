"""embed: a text becomes a vector, near those of texts that mean the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.runtime import ports
from diptych.runtime.encoder import Encoder
from diptych.runtime.errors import BundleError
from diptych.runtime.graph import Array
from diptych.runtime.manifest import POOLINGS
from diptych.runtime.option_fields import flag, one_of
from diptych.runtime.tasks.encoder_task import EncoderTask
from diptych.runtime.tokenizer import Tokenizer
from diptych.runtime.tokens import Tokens

# A vector of zeros has no direction; it stays zeros.
_SHORTEST = np.float32(1e-12)

_POOLED: dict[str, Callable[[Array], Array]] = {
    "mean": lambda states: states.mean(axis=0),
    "cls": lambda states: states[0],
    "max": lambda states: states.max(axis=0),
    "last": lambda states: states[-1],
}


@dataclass(frozen=True)
class EmbedOptions:
    """How token states become one vector, where it is not to be as the bundle says."""

    pooling: str | None = one_of(None, "how token states become one vector", POOLINGS)
    normalize: bool | None = flag(None, "vectors of length 1")


class Embedder(EncoderTask[str, EmbedOptions, Array, Array]):
    """Texts to vectors, float32 [width], pooled as sentence-transformers does with the same checkpoint.

    Special tokens are pooled too. A text longer than the pooling's `max_length` is cut to it, as the model was trained;
    without one, a text that is too long is an error.
    """

    doing = "embedding"
    options = EmbedOptions
    outputs = (ports.LAST_HIDDEN_STATE,)

    def __init__(self, tokenizer: Tokenizer, encoder: Encoder) -> None:
        super().__init__(tokenizer, encoder)
        if encoder.manifest.pooling is None:
            raise BundleError("the manifest says nothing of pooling; export the bundle again")
        self.pooling = encoder.manifest.pooling

    def similarity(
        self, first: Sequence[str] | Sequence[Array] | Array, second: Sequence[str] | Sequence[Array] | Array
    ) -> Array:
        """Cosines [len(first), len(second)] of each of the first with each of the second: texts, or their vectors."""
        return self._directions(first) @ self._directions(second).T

    def read(self, text: str, options: EmbedOptions) -> list[Tokens]:
        tokens, longest = self.tokenizer.read(text), self.pooling.max_length
        if longest is None:
            return [tokens]
        return [tokens.cut(min(longest, self.encoder.longest or longest))]

    def see(self, tokens: Tokens, outputs: dict[str, Array], options: EmbedOptions) -> Array:
        vector = _POOLED[options.pooling or self.pooling.mode](outputs[ports.LAST_HIDDEN_STATE])
        normalize = self.pooling.normalize if options.normalize is None else options.normalize
        return _normalized(vector) if normalize else vector.copy()

    def tell(self, text: str, seen: list[Array], options: EmbedOptions) -> Array:
        return seen[0]

    def from_line(self, line: str) -> str:
        return line

    def to_line(self, result: Array) -> str:
        return " ".join(map(str, result))

    def to_json(self, result: Array) -> dict[str, Any]:
        # The few digits that make this float32, not the many that make the same float64.
        return {"embedding": [float(str(value)) for value in result]}

    def _directions(self, texts: Sequence[str] | Sequence[Array] | Array) -> Array:
        """[len(texts), width], each of length 1."""
        texts = [texts] if isinstance(texts, str) else texts
        vectors = self([text for text in texts if isinstance(text, str)]) or texts
        width = int(self.encoder.graph.outputs[ports.LAST_HIDDEN_STATE][-1])
        return _normalized(np.asarray(vectors, dtype=np.float32).reshape(-1, width))


def _normalized(vectors: Array) -> Array:
    """Along the last axis."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, _SHORTEST))
