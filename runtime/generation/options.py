"""Generation options: transformers' names and meanings, CTranslate2's extras, and our own; checked on construction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from diptych.runtime import option_fields as kinds
from diptych.runtime.errors import OptionError
from diptych.runtime.generation.refused import REFUSED

DEFAULT_NEW_TOKENS = 256
# Beyond these, scores overflow and memory runs out; nobody decodes so.
LARGEST_PENALTY = 100
MOST_BEAMS = 1000
_LEAST_PENALTY = 1 / LARGEST_PENALTY
_LARGEST_BIAS = 1e9

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff", "seed")
GRAMMARS = ("json_schema", "regex", "grammar")
_OTHER_SEARCH = {"num_beams", "do_sample", "alternatives", "output_attentions"}


def _penalty(meaning: str) -> Any:
    return kinds.number(1.0, meaning, _LEAST_PENALTY, LARGEST_PENALTY)


def _biases(value: Any) -> Any:
    """transformers' dictionary from sequences to biases, or its JSON form, a list of [[ids], bias]."""
    pairs = value.items() if isinstance(value, Mapping) else value
    return tuple((tuple(words), float(bias)) for words, bias in pairs)


def _are_biases(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        words and all(map(kinds.is_id, words)) and abs(bias) <= _LARGEST_BIAS for words, bias in value
    )


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool | str)


def _is_decay(value: Any) -> bool:
    if not (isinstance(value, tuple) and len(value) == 2):
        return False
    return kinds.is_id(value[0]) and kinds.is_number(value[1]) and 0 < value[1] < float("inf")


@dataclass(frozen=True)
class GenerationOptions:
    """How to decode. Where `transformers` has an option, its semantics are those of `transformers` 5 `generate`.

    `max_length` and `min_length` count the decoder's start token and any prompt; the `new_tokens` win over them.
    A finished beam's score is its log-probability divided by its generated length to the power of `length_penalty`.
    `early_stopping`: True stops at `num_beams` finished hypotheses, False when no running beam is likely to do better,
    "never" when none can. `patience` p instead keeps round(p · num_beams) finished hypotheses and stops when there are
    as many (Kasai et al. 2022). `coverage_penalty` β adds β · Σ log min(attention a source token got, 1) to a finished
    beam's score (Wu et al. 2016). Raises OptionError for a value that cannot be, or that another leaves no meaning.
    """

    num_beams: int = kinds.whole_number(1, "beams per source; 1 is greedy search, or sampling", 1, MOST_BEAMS)
    do_sample: bool = kinds.flag(False, "draw tokens by their probabilities")
    num_return_sequences: int = kinds.whole_number(1, "hypotheses per text, at most num_beams unless sampled", 1)
    max_length: int | None = kinds.whole_number(None, "most tokens, the start token or the prompt included", 1)
    max_new_tokens: int | None = kinds.whole_number(None, "most generated tokens; wins over max_length", 1)
    min_length: int = kinds.whole_number(0, "fewest tokens, the start token or the prompt included")
    min_new_tokens: int | None = kinds.whole_number(None, "fewest generated tokens; wins over min_length")
    length_penalty: float = kinds.number(
        1.0, "power of the length that a beam's log-probability is divided by", -LARGEST_PENALTY, LARGEST_PENALTY
    )
    early_stopping: bool | Literal["never"] = kinds.choice(
        False,
        'when beams stop: true, false or "never"',
        'true, false or "never"',
        lambda v: isinstance(v, bool) or v == "never",
    )
    patience: float | None = kinds.number(
        None, "beams stop at patience · num_beams finished hypotheses", 0, LARGEST_PENALTY, above=True
    )
    coverage_penalty: float = kinds.number(
        0.0, "weight of a beam's penalty for what it left unread; needs --with-attention at export", 0, LARGEST_PENALTY
    )
    alternatives: int | None = kinds.whole_number(
        None, "so many of the likeliest first tokens, each continued by itself", 1, MOST_BEAMS
    )
    min_alternative_expansion_prob: float = kinds.share(
        0.0, "alternatives less probable than this are left out, except the likeliest"
    )
    repetition_penalty: float = _penalty("above 1, tokens already generated become less likely")
    encoder_repetition_penalty: float = _penalty("above 1, tokens of the source become more likely")
    no_repeat_ngram_size: int = kinds.whole_number(0, "no sequence of this many tokens occurs twice")
    encoder_no_repeat_ngram_size: int = kinds.whole_number(0, "no sequence of this many tokens is the source's")
    bad_words_ids: tuple[tuple[int, ...], ...] = kinds.sequences("JSON list of token sequences never generated")
    suppress_tokens: tuple[int, ...] = kinds.ids("JSON list of tokens never generated")
    begin_suppress_tokens: tuple[int, ...] = kinds.ids("JSON list of tokens never generated first")
    sequence_bias: tuple[tuple[tuple[int, ...], float], ...] = kinds.choice(
        (),
        "JSON list of [sequence of ids, what is added to its score]",
        f"pairs of ids and a number from {-_LARGEST_BIAS:g} to {_LARGEST_BIAS:g}",
        _are_biases,
        _biases,
    )
    exponential_decay_length_penalty: tuple[int, float] | None = kinds.choice(
        None,
        "JSON [start, factor]: after so many new tokens the end becomes likelier by factor^(tokens since)",
        "[start, factor], the factor above 0",
        _is_decay,
        lambda value: tuple(value) if isinstance(value, list | tuple) else value,
    )
    forced_bos_token_id: int | None = kinds.whole_number(None, "the first generated token")
    forced_eos_token_id: tuple[int, ...] = kinds.ids("the last token where the length limit is reached")
    remove_invalid_values: bool = kinds.flag(False, "go on where a model gives infinities or NaN")
    renormalize_logits: bool = kinds.flag(False, "scores add up to one again after all other options")
    temperature: float = kinds.number(1.0, "divides logits before sampling", 0, LARGEST_PENALTY, above=True)
    top_k: int = kinds.whole_number(50, "sample from so many of the likeliest tokens; 0 is all")
    top_p: float = kinds.share(1.0, "sample from the likeliest tokens that add up to this probability")
    min_p: float | None = kinds.share(None, "sample from tokens at least this times as likely as the likeliest")
    top_h: float | None = kinds.number(None, "sample from tokens up to this share of the entropy", 0, 1, above=True)
    typical_p: float = kinds.number(1.0, "sample from the most typical tokens of this probability", 0, 1, above=True)
    epsilon_cutoff: float = kinds.share(0.0, "sample from tokens of at least this probability")
    eta_cutoff: float = kinds.share(0.0, "the same, lower where the entropy is high")
    seed: int = kinds.whole_number(0, "what sampling draws depends on this, the text and its place alone")
    stop_strings: tuple[str, ...] = kinds.texts("JSON list of texts that end a result")
    prompt_lookup_num_tokens: int | None = kinds.whole_number(
        None, "guess so many tokens from what was read, check them in one step; greedy search only", 1
    )
    max_matching_ngram_size: int = kinds.whole_number(2, "most last tokens that a guess is looked up by", 1)
    json_schema: Any = kinds.choice(  # noqa: RUF009
        None, "JSON schema that results obey (@FILE reads one)", "a JSON schema", _is_schema, kind="file"
    )
    regex: str | None = kinds.text("regular expression that results match whole")
    grammar: str | None = kinds.text("Lark grammar that results obey (@FILE reads one)", kind="file")
    eos_token_id: tuple[int, ...] | None = kinds.ids("tokens that end a result", None)
    decoder_start_token_id: int | None = kinds.whole_number(None, "what an encoder-decoder starts decoding with")
    output_scores: bool = kinds.flag(False, "results have each token's log-probability")
    output_attentions: bool = kinds.flag(False, "results have what each token looked at")
    attention_layer: int = kinds.choice(
        -1, "the layer whose heads' mean tells what a token looked at", "a whole number", lambda v: type(v) is int
    )

    def __post_init__(self) -> None:
        kinds.check_fields(self)
        if self.num_return_sequences > self.finished_beams and (self.num_beams > 1 or not self.do_sample):
            kept = "patience · num_beams" if self.patience is not None else "num_beams"
            raise OptionError(
                f"num_return_sequences is {self.num_return_sequences}, more than {kept}, {self.finished_beams}"
            )
        if sum(getattr(self, name) is not None for name in GRAMMARS) > 1:
            raise OptionError(f"only one of {', '.join(GRAMMARS)} can be obeyed at a time")
        for name, conflict in self._conflicts():
            raise OptionError(f"{name} {conflict}")

    @staticmethod
    def from_mapping(values: Mapping[str, Any]) -> "GenerationOptions":
        """From JSON-like values: lists become tuples, one id becomes a tuple of one where several are allowed."""
        return GenerationOptions().updated(values)

    def updated(self, values: Mapping[str, Any]) -> "GenerationOptions":
        """A copy with some options changed; a limit in new tokens replaces one in total length, and the reverse.

        Raises OptionError for an option that is refused, or unknown, with the nearest known one, and for one of
        sampling where nothing is sampled.
        """
        for name in values:
            if name in REFUSED:
                raise OptionError(f"{name} is not supported: {REFUSED[name]}")
        changes = kinds.read_values(GenerationOptions, values)
        if "max_length" in changes and "max_new_tokens" not in changes:
            changes["max_new_tokens"] = None
        if "min_length" in changes and "min_new_tokens" not in changes:
            changes["min_new_tokens"] = None
        return replace(self, **self._without_place(changes) | changes)

    def check_asked(self, names: Mapping[str, Any]) -> None:
        """Raises OptionError if a call asks for something that the rest of its options leave without meaning."""
        needed = {
            **dict.fromkeys(SAMPLING, (self.do_sample, "is for sampling; add do_sample")),
            "min_alternative_expansion_prob": (self.alternatives is not None, "needs alternatives"),
            "max_matching_ngram_size": (self.prompt_lookup_num_tokens is not None, "needs prompt_lookup_num_tokens"),
            "attention_layer": (self.needs_attention, "needs output_attentions or coverage_penalty"),
        }
        for name in names:
            met, why = needed.get(name, (True, ""))
            if not met:
                raise OptionError(f"{name} {why}")

    @property
    def constrained(self) -> bool:
        """Whether texts obey a grammar."""
        return any(getattr(self, name) is not None for name in GRAMMARS)

    @property
    def needs_attention(self) -> bool:
        return self.output_attentions or self.coverage_penalty > 0

    @property
    def finished_beams(self) -> int:
        """How many finished hypotheses beam search keeps."""
        return self.num_beams if self.patience is None else max(1, int(self.num_beams * self.patience + 0.5))

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

    def _without_place(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What becomes of a checkpoint's defaults that would stand in the way of a call for another search."""
        beams, sampled = (changes.get(name, getattr(self, name)) for name in ("num_beams", "do_sample"))
        if type(beams) is not int or not _OTHER_SEARCH & changes.keys():
            return {}
        found: dict[str, Any] = {}
        if changes.get("alternatives") is not None:
            found["num_return_sequences"] = 1
        elif beams > 1 or not sampled:
            found["num_return_sequences"] = max(1, min(self.num_return_sequences, beams))
        if beams > 1 or sampled or changes.get("output_attentions"):
            found["prompt_lookup_num_tokens"] = None
        return found

    def _conflicts(self) -> list[tuple[str, str]]:
        beams, sampled, guesses = self.num_beams > 1, self.do_sample, self.prompt_lookup_num_tokens is not None
        found = [
            ("patience", "is for beam search; set num_beams", self.patience is not None and not beams),
            ("coverage_penalty", "is for beam search; set num_beams", self.coverage_penalty > 0 and not beams),
            ("alternatives", "gives its own number of sequences", bool(self.alternatives) and self._returns_several()),
            ("alternatives", "are not sampled; set do_sample to false", bool(self.alternatives) and sampled),
            ("suppress_tokens", "forbids forced_bos_token_id", self.forced_bos_token_id in self.suppress_tokens),
            ("suppress_tokens", "forbids all of forced_eos_token_id", self._suppresses_the_end()),
            ("prompt_lookup_num_tokens", "is for greedy search alone", guesses and (beams or sampled)),
            ("prompt_lookup_num_tokens", "does not tell attention", guesses and self.needs_attention),
        ]
        return [(name, why) for name, why, holds in found if holds]

    def _suppresses_the_end(self) -> bool:
        return bool(self.forced_eos_token_id) and set(self.forced_eos_token_id) <= set(self.suppress_tokens)

    def _returns_several(self) -> bool:
        return self.num_return_sequences > 1
