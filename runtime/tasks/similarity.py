"""Another use of a bundle that embeds: how alike two texts are."""

from typing import Any

from diptych.runtime import ports
from diptych.runtime.encoder import Encoder
from diptych.runtime.graph import Array
from diptych.runtime.tasks.embed import Embedder, EmbedOptions
from diptych.runtime.tasks.encoder_task import EncoderTask
from diptych.runtime.tasks.pairs import Pair, check_pair, pair_from_json, pair_from_line
from diptych.runtime.tokenizer import Tokenizer
from diptych.runtime.tokens import Tokens


class Similarity(EncoderTask[Pair, EmbedOptions, Array, float]):
    """Pairs of texts to the cosines of their embeddings."""

    doing = "comparing"
    options = EmbedOptions
    outputs = (ports.LAST_HIDDEN_STATE,)

    def __init__(self, tokenizer: Tokenizer, encoder: Encoder) -> None:
        super().__init__(tokenizer, encoder)
        self.embedder = Embedder(tokenizer, encoder)

    def read(self, text: Pair, options: EmbedOptions) -> list[Tokens]:
        check_pair(text, "text", "text")
        return [window for one in text for window in self.embedder.read(one, options)]

    def see(self, tokens: Tokens, outputs: dict[str, Array], options: EmbedOptions) -> Array:
        return self.embedder.see(tokens, outputs, options)

    def tell(self, text: Pair, seen: list[Array], options: EmbedOptions) -> float:
        first, second = seen
        return float(self.embedder.similarity([first], [second])[0, 0])

    def from_line(self, line: str) -> Pair:
        return pair_from_line(line, "text", "text")

    def from_json(self, row: object) -> Pair:
        return pair_from_json(row)

    def to_line(self, result: float) -> str:
        return str(result)

    def to_json(self, result: float) -> dict[str, Any]:
        return {"similarity": result}
