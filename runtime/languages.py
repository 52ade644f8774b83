"""How a multilingual bundle is told the language of its source and of its target."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from diptych.runtime.errors import OptionError


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

    def frame(self, content: Sequence[int], eos: int, source_lang: str | None, target_lang: str | None) -> list[int]:
        """The ids of a source, from those of its text alone. Raises OptionError for a language it does not know."""
        source, target = self._choose(source_lang, self.default_source), self._choose(target_lang, self.default_target)
        if source_lang is not None and self.source is None:
            raise OptionError("source_lang: this model is not told the language of its source")
        if self.target == "source" and target is not None and content[:1] and content[0] in self.codes.values():
            content = content[1:]  # What the call says replaces a tag that the text has.
        framed = [*content, eos]
        if self.source == "first" and source is not None:
            framed = [source, *framed]
        if self.source == "last" and source is not None:
            framed = [*framed, source]
        return [target, *framed] if self.target == "source" and target is not None else framed

    def options(self, target_lang: str | None, told: bool = False) -> dict[str, Any]:
        """What the decoder is told of the target's language; no default, if the bundle's options tell it (`told`).

        Raises OptionError for a language it does not know.
        """
        if target_lang is None and told and self.target == "forced_bos":
            return {}
        target = self._choose(target_lang, self.default_target)
        names = {"forced_bos": "forced_bos_token_id", "start": "decoder_start_token_id"}
        return {names[self.target]: target} if target is not None and self.target in names else {}

    def _choose(self, code: str | None, default: str | None) -> int | None:
        code = default if code is None else code
        if code is not None and code not in self.codes:
            near = get_close_matches(code, self.codes, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(sorted(self.codes))}"
            raise OptionError(f"no language {code!r} in this model; {hint}")
        return None if code is None else self.codes[code]
