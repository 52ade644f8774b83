"""How a multilingual bundle is told the language of its source and of its target."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Languages:
    """Languages are tokens; families differ in where these go.

    codes: token id by language code, as the tokenizer spells it (`en_XX`, `fra_Latn`, Marian's `fra`). source: the
    source's token comes "first" in the source ([lang] text [eos]) or "last" (text [eos] [lang]), or is never told.
    target: the target's token is the first to be generated ("forced_bos": mBART-50, NLLB, M2M100), what decoding starts
    with ("start": mBART-25), or the first token of the source ("source": Marian). default_source, default_target: codes
    used where a call names none.
    """

    codes: dict[str, int]
    source: Literal["first", "last"] | None
    target: Literal["forced_bos", "start", "source"]
    default_source: str | None = None
    default_target: str | None = None
