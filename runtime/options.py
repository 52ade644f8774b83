"""Generation options: transformers' names and meanings, checked on construction."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from numbers import Integral
from typing import Any, Literal

from diptych.runtime.errors import OptionError

DEFAULT_NEW_TOKENS = 256
# Beyond these, scores overflow and memory runs out; nobody decodes so.
LARGEST_PENALTY = 100
MOST_BEAMS = 1000


def _option(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True)
class GenerationOptions:
    """How to decode. The semantics are those of `transformers` 5 `generate`.

    `max_length` and `min_length` count the decoder's start token; `max_new_tokens` and `min_new_tokens` win, and don't.
    A finished beam's score is its log-probability divided by its generated length to the power of `length_penalty`.
    `early_stopping`: True stops at `num_beams` finished hypotheses, False when no running beam is likely to do better,
    "never" when none can. Raises OptionError for a value that cannot be.
    """

    num_beams: int = _option(1, "beams per source; 1 is greedy search")
    max_length: int | None = _option(None, "most tokens, the start token or the prompt included")
    max_new_tokens: int | None = _option(None, "most generated tokens; wins over max_length")
    min_length: int = _option(0, "fewest tokens, the start token or the prompt included")
    min_new_tokens: int | None = _option(None, "fewest generated tokens; wins over min_length")
    length_penalty: float = _option(1.0, "power of the length that a beam's log-probability is divided by")
    early_stopping: bool | Literal["never"] = _option(False, 'when beams stop: true, false or "never"')
    num_return_sequences: int = _option(1, "hypotheses per text, at most num_beams")
    repetition_penalty: float = _option(1.0, "above 1, tokens already generated become less likely")
    no_repeat_ngram_size: int = _option(0, "no sequence of this many tokens occurs twice")
    bad_words_ids: tuple[tuple[int, ...], ...] = _option((), "JSON list of token sequences never generated")
    suppress_tokens: tuple[int, ...] = _option((), "JSON list of tokens never generated")
    begin_suppress_tokens: tuple[int, ...] = _option((), "JSON list of tokens never generated first")
    forced_bos_token_id: int | None = _option(None, "the first generated token")
    renormalize_logits: bool = _option(False, "scores add up to one again after all other options")
    forced_eos_token_id: tuple[int, ...] = _option((), "the last token where the length limit is reached")

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            unset = value is None and getattr(type(self), name) is None
            if not unset and (type(value) is not int or value < least):
                raise OptionError(f"{name} is {value!r}; expected a whole number of at least {least}")
        for name in ("length_penalty", "repetition_penalty"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_PENALTY:
                raise OptionError(
                    f"{name} is {value!r}; expected a number from -{LARGEST_PENALTY} to {LARGEST_PENALTY}"
                )
        if self.repetition_penalty < 1 / LARGEST_PENALTY:
            raise OptionError(f"repetition_penalty is {self.repetition_penalty!r}; expected a number above 0")
        if not isinstance(self.renormalize_logits, bool):
            raise OptionError(f"renormalize_logits is {self.renormalize_logits!r}; expected true or false")
        if self.num_beams > MOST_BEAMS:
            raise OptionError(f"num_beams is {self.num_beams}; expected at most {MOST_BEAMS}")
        if not isinstance(self.early_stopping, bool) and self.early_stopping != "never":
            raise OptionError(f"early_stopping is {self.early_stopping!r}; expected true, false or 'never'")
        if self.num_return_sequences > self.num_beams:
            raise OptionError(
                f"num_return_sequences is {self.num_return_sequences}, more than num_beams, {self.num_beams}"
            )
        _check_ids(self)

    @staticmethod
    def from_mapping(values: Mapping[str, Any]) -> "GenerationOptions":
        """From JSON-like values: lists become tuples, one id becomes a tuple of one where several are allowed."""
        return GenerationOptions().updated(values)

    def updated(self, values: Mapping[str, Any]) -> "GenerationOptions":
        """A copy with some options changed; a limit in new tokens replaces one in total length, and the reverse.

        Raises OptionError for an unknown option, with the nearest known one.
        """
        known = {option.name for option in fields(self)}
        for name in values:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
                raise OptionError(f"unknown generation option {name!r}{hint}")
        changes = {name: _plain(name, value) for name, value in values.items()}
        if "max_length" in changes and "max_new_tokens" not in changes:
            changes["max_new_tokens"] = None
        if "num_beams" in changes and "num_return_sequences" not in changes and type(changes["num_beams"]) is int:
            # A checkpoint's many hypotheses do not stand in the way of a call for fewer beams.
            changes["num_return_sequences"] = max(1, min(self.num_return_sequences, changes["num_beams"]))
        if "min_length" in changes and "min_new_tokens" not in changes:
            changes["min_new_tokens"] = None
        return replace(self, **changes)

    def new_tokens(self, prompt_length: int, positions: int | None) -> int:
        """The most tokens to generate after a prompt, with `positions` the most the decoder can place.

        Raises OptionError if the limit asked for does not fit.
        """
        room = None if positions is None else positions - prompt_length
        if self.max_new_tokens is not None:
            limit, name = self.max_new_tokens, f"max_new_tokens {self.max_new_tokens}"
        elif self.max_length is not None:
            limit, name = self.max_length - prompt_length, f"max_length {self.max_length}"
        else:
            return DEFAULT_NEW_TOKENS if room is None else min(DEFAULT_NEW_TOKENS, room)
        if room is not None and limit > room:
            raise OptionError(
                f"{name} does not fit: the decoder has {positions} positions and starts with {prompt_length}; "
                f"ask for at most {room} new tokens"
            )
        if limit < 1:
            raise OptionError(f"{name} leaves no room after the {prompt_length} tokens the decoder starts with")
        return limit


_LEAST = {
    "num_beams": 1,
    "max_length": 1,
    "max_new_tokens": 1,
    "min_length": 0,
    "min_new_tokens": 0,
    "num_return_sequences": 1,
    "no_repeat_ngram_size": 0,
    "forced_bos_token_id": 0,
}


def _plain(name: str, value: Any) -> Any:
    if value is None and isinstance(getattr(GenerationOptions, name), tuple):
        return ()
    if type(value) is not bool and isinstance(value, Integral):
        value = int(value)
    if name == "bad_words_ids" and isinstance(value, list | tuple):
        return tuple(tuple(word) if isinstance(word, list | tuple) else word for word in value)
    if name in ("suppress_tokens", "begin_suppress_tokens") and isinstance(value, list):
        return tuple(value)
    if name == "forced_eos_token_id":
        if isinstance(value, list | tuple):
            return tuple(value)
        return (value,)
    return value


def _check_ids(options: GenerationOptions) -> None:
    words = options.bad_words_ids
    if not isinstance(words, tuple) or not all(isinstance(word, tuple) and word for word in words):
        raise OptionError(f"bad_words_ids is {words!r}; expected a list of non-empty lists of ids")
    groups = {
        "bad_words_ids": [token for word in words for token in word],
        "suppress_tokens": options.suppress_tokens,
        "begin_suppress_tokens": options.begin_suppress_tokens,
        "forced_eos_token_id": options.forced_eos_token_id,
    }
    for name, ids in groups.items():
        if not isinstance(ids, list | tuple) or not all(type(token) is int and token >= 0 for token in ids):
            raise OptionError(f"{name} is {getattr(options, name)!r}; expected ids, whole numbers from 0")
