"""fill: what may stand where a text has a mask."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from diptych.runtime import ports
from diptych.runtime.encoder import Encoder
from diptych.runtime.errors import BundleError, InputError
from diptych.runtime.graph import Array
from diptych.runtime.option_fields import whole_number
from diptych.runtime.tasks.encoder_task import EncoderTask
from diptych.runtime.tasks.scores import best, softmax
from diptych.runtime.tokenizer import Tokenizer
from diptych.runtime.tokens import Tokens


@dataclass(frozen=True)
class FillOptions:
    """How much is told."""

    top_k: int = whole_number(5, "candidates for each mask", least=1)


@dataclass(frozen=True)
class Candidate:
    """A token that may stand in a mask's place: how it reads by itself, and its probability."""

    token: str
    id: int
    score: float


@dataclass(frozen=True)
class Filled:
    """The text with the best candidate in each mask's place; for each mask its candidates, best first."""

    text: str
    masks: tuple[tuple[Candidate, ...], ...]


class _Seen(NamedTuple):
    """The text's ids, masks filled, and the candidates (id, score) of each mask."""

    ids: list[int]
    masks: list[list[tuple[int, float]]]


class Filler(EncoderTask[str, FillOptions, _Seen, Filled]):
    """Texts with masks to what may stand in their places, each mask by itself, as transformers' pipeline fills them.

    A mask is written as the tokenizer writes it: `self.mask`.
    """

    doing = "filling"
    options = FillOptions
    outputs = (ports.LOGITS,)

    def __init__(self, tokenizer: Tokenizer, encoder: Encoder) -> None:
        super().__init__(tokenizer, encoder)
        mask = encoder.manifest.tokens.mask
        if mask is None:
            raise BundleError("the manifest names no mask token; export the bundle again")
        self.mask_id = mask
        self.mask = tokenizer.spelling(mask)

    def read(self, text: str, options: FillOptions) -> list[Tokens]:
        tokens = self.tokenizer.read(text)
        if self.mask_id not in tokens.ids:
            raise InputError(f"nothing to fill: the text has no {self.mask}")
        return [tokens]

    def see(self, tokens: Tokens, outputs: dict[str, Array], options: FillOptions) -> _Seen:
        places = [place for place, token in enumerate(tokens.ids) if token == self.mask_id]
        masks, ids = [], list(tokens.ids)
        for place, scores in zip(places, softmax(outputs[ports.LOGITS][places]), strict=True):
            masks.append([(token, float(scores[token])) for token in best(scores, options.top_k)])
            ids[place] = masks[-1][0][0]
        return _Seen(ids, masks)

    def tell(self, text: str, seen: list[_Seen], options: FillOptions) -> Filled:
        (only,) = seen
        masks = [
            tuple(Candidate(self.tokenizer.spelling(token), token, score) for token, score in mask)
            for mask in only.masks
        ]
        return Filled(self.tokenizer.decode(only.ids), tuple(masks))

    def from_line(self, line: str) -> str:
        return line

    def to_line(self, result: Filled) -> str:
        return result.text

    def to_json(self, result: Filled) -> dict[str, Any]:
        return asdict(result)
