"""Generation options: what is refused, how calls change defaults, and the length limit."""

from typing import Any

import pytest

from diptych.runtime.errors import DiptychError, OptionError
from diptych.runtime.generation.options import GenerationOptions

INF, NAN = float("inf"), float("nan")
WHOLE_NUMBERS = {
    "num_beams": 1,
    "max_length": 1,
    "max_new_tokens": 1,
    "min_length": 0,
    "min_new_tokens": 0,
    "num_return_sequences": 1,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "top_k": 0,
    "seed": 0,
    "forced_bos_token_id": 0,
}
BAD_WHOLE_NUMBERS = [
    (name, value)
    for name, least in WHOLE_NUMBERS.items()
    for value in (least - 1, -7, 2.0, 1.5, "3", True, [1], {}, float("nan"))
]
BAD_OTHERS = [
    *[
        (name, value)
        for name in ("length_penalty", "repetition_penalty")
        for value in ("1", True, None, [], float("nan"))
    ],
    ("repetition_penalty", 0),
    ("repetition_penalty", 0.0),
    ("repetition_penalty", -1.5),
    *[("early_stopping", value) for value in ("always", "true", 1, 0, None, [])],
    *[("bad_words_ids", value) for value in ("x", 5, [5], [[]], [[1], []], [["a"]], [[1.5]], [[True]], [[-1]], {})],
    *[
        (name, value)
        for name in ("suppress_tokens", "begin_suppress_tokens")
        for value in ("ab", 2.5, ["a"], [1.5], [-1], [True], [[1]], {})
    ],
    *[
        (name, value)
        for name in ("temperature", "typical_p", "top_h")
        for value in (0, 0.0, -0.5, 101, "1", True, float("nan"), [])
    ],
    *[
        (name, value)
        for name in ("top_p", "min_p", "epsilon_cutoff", "eta_cutoff", "min_alternative_expansion_prob")
        for value in (-0.1, 1.01, "1", True, float("nan"), [])
    ],
    *[(name, value) for name in ("do_sample", "renormalize_logits") for value in (1, 0, "true", None, [])],
    *[
        ("sequence_bias", value)
        for value in (
            *([[[], 1.0]], [[[-1], 1.0]], [[[1.5], 1.0]], [[[1], INF]], [[[1], -1e39]], [[[1], NAN]]),
            *({(-1,): 1.0}, {(): 1.0}),
        )
    ],
    *[
        ("exponential_decay_length_penalty", value)
        for value in (5, "ab", [1], [1, 2, 3], [-1, 2.0], [1.5, 2.0], [1, "2"], [1, True])
    ],
    *[("stop_strings", value) for value in (5, [""], "", ["a", 5], [["a"]])],
    *[("forced_eos_token_id", value) for value in ("ab", ["a"], [1.5], -1, [-1], [True], [[1]])],
]
BAD_AND_NOT_EVEN_ITERABLE = [("forced_eos_token_id", 2.5), ("forced_eos_token_id", True)]
NONE_WHERE_A_NUMBER_MUST_BE = [
    (name, None) for name in ("num_beams", "min_length", "num_return_sequences", "no_repeat_ngram_size")
]


@pytest.mark.parametrize(
    ("name", "value"),
    [*BAD_WHOLE_NUMBERS, *BAD_OTHERS, *BAD_AND_NOT_EVEN_ITERABLE, *NONE_WHERE_A_NUMBER_MUST_BE],
)
def test_a_bad_value_is_refused_by_the_option_s_name(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=name) as caught:
        GenerationOptions.from_mapping({name: value})
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, DiptychError)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *WHOLE_NUMBERS.items(),
        ("max_length", None),
        ("max_new_tokens", None),
        ("min_new_tokens", None),
        ("forced_bos_token_id", None),
        ("length_penalty", -0.5),
        ("length_penalty", 2),
        ("repetition_penalty", 0.5),
        ("temperature", 0.01),
        ("top_p", 0),
        ("top_p", 1.0),
        ("min_p", None),
        ("typical_p", 1.0),
        ("early_stopping", True),
        ("early_stopping", "never"),
    ],
)
def test_a_good_value_is_kept_as_it_is(name: str, value: Any) -> None:
    kept = getattr(GenerationOptions.from_mapping({name: value}), name)
    assert kept == value
    assert type(kept) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("bad_words_ids", [[1, 2], [3]], ((1, 2), (3,))),
        ("bad_words_ids", [], ()),
        ("suppress_tokens", [4, 0], (4, 0)),
        ("suppress_tokens", 5, (5,)),
        ("eos_token_id", 2, (2,)),
        ("eos_token_id", [2, 7], (2, 7)),
        ("eos_token_id", None, None),
        ("sequence_bias", [[[1, 2], 3.5], [[4], -1]], (((1, 2), 3.5), ((4,), -1.0))),
        ("sequence_bias", {(1, 2): 3.5}, (((1, 2), 3.5),)),
        ("sequence_bias", None, ()),
        ("exponential_decay_length_penalty", [3, 1.5], (3, 1.5)),
        ("exponential_decay_length_penalty", None, None),
        ("stop_strings", "fin", ("fin",)),
        ("stop_strings", ["fin", "été\n"], ("fin", "été\n")),
        ("begin_suppress_tokens", [], ()),
        ("forced_eos_token_id", 3, (3,)),
        ("forced_eos_token_id", 0, (0,)),
        ("forced_eos_token_id", [3, 4], (3, 4)),
        ("forced_eos_token_id", None, ()),
        ("bad_words_ids", None, ()),
        ("suppress_tokens", None, ()),
        ("forced_eos_token_id", [], ()),
    ],
)
def test_json_lists_become_tuples(name: str, value: Any, expected: Any) -> None:
    options = GenerationOptions.from_mapping({name: value})
    assert getattr(options, name) == expected
    assert hash(options) == hash(GenerationOptions.from_mapping({name: value}))


def test_the_defaults_are_those_of_transformers() -> None:
    options = GenerationOptions()
    assert (options.num_beams, options.num_return_sequences, options.length_penalty) == (1, 1, 1.0)
    assert (options.early_stopping, options.repetition_penalty, options.no_repeat_ngram_size) == (False, 1.0, 0)
    assert options == GenerationOptions.from_mapping({})


def test_more_sequences_than_beams_are_refused() -> None:
    with pytest.raises(OptionError, match=r"num_return_sequences.*3.*num_beams.*2"):
        GenerationOptions(num_beams=2, num_return_sequences=3)
    assert GenerationOptions(num_beams=3, num_return_sequences=3).num_return_sequences == 3


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("num_beam", "num_beams"), ("max_new_token", "max_new_tokens"), ("lenght_penalty", "length_penalty")],
)
def test_an_unknown_name_suggests_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(OptionError, match=rf"'{wrong}'.*did you mean '{right}'\?"):
        GenerationOptions().updated({wrong: 1})


def test_a_name_like_no_other_lists_those_there_are() -> None:
    with pytest.raises(OptionError, match=r"'xyzzy'.*bad_words_ids.*suppress_tokens"):
        GenerationOptions().updated({"xyzzy": 1})


def test_updated_leaves_the_original_and_what_is_not_named() -> None:
    defaults = GenerationOptions.from_mapping({"num_beams": 4, "length_penalty": 0.6, "max_length": 30})
    changed = defaults.updated({"num_beams": 2})
    assert (changed.num_beams, changed.length_penalty, changed.max_length) == (2, 0.6, 30)
    assert defaults.num_beams == 4
    assert defaults.updated({}) == defaults


@pytest.mark.parametrize(
    ("defaults", "call", "limit"),
    [
        ({"max_length": 20}, {"max_new_tokens": 50}, 51),
        ({"max_new_tokens": 50}, {"max_length": 20}, 20),
        ({"max_new_tokens": 50}, {"max_length": 20, "max_new_tokens": 5}, 6),
        ({"max_length": 20}, {"max_length": 9}, 9),
        ({"max_length": 20, "max_new_tokens": 7}, {}, 8),
        ({"max_length": 20, "max_new_tokens": 7}, {"max_new_tokens": None}, 20),
    ],
)
def test_a_limit_of_the_call_replaces_that_of_the_defaults(
    defaults: dict[str, Any], call: dict[str, Any], limit: int
) -> None:
    assert GenerationOptions.from_mapping(defaults).updated(call).new_tokens(1, 100) == limit - 1


@pytest.mark.parametrize(
    ("defaults", "call", "expected"),
    [
        ({"min_new_tokens": 9}, {"min_length": 3}, (3, None)),
        ({"min_length": 9}, {"min_new_tokens": 3}, (9, 3)),
        ({"min_new_tokens": 9}, {"min_length": 3, "min_new_tokens": 4}, (3, 4)),
    ],
)
def test_a_minimum_of_the_call_replaces_that_of_the_defaults(
    defaults: dict[str, Any], call: dict[str, Any], expected: tuple[int, int | None]
) -> None:
    options = GenerationOptions.from_mapping(defaults).updated(call)
    assert (options.min_length, options.min_new_tokens) == expected


@pytest.mark.parametrize(
    ("options", "prompt", "positions", "expected"),
    [
        ({}, 1, None, 257),
        ({}, 1, 1000, 257),
        ({}, 1, 257, 257),
        ({}, 1, 40, 40),
        ({}, 3, None, 259),
        ({"max_new_tokens": 10}, 1, None, 11),
        ({"max_new_tokens": 10}, 3, 13, 13),
        ({"max_length": 10}, 1, None, 10),
        ({"max_length": 10}, 3, 10, 10),
        ({"max_length": 2}, 1, 10, 2),
        ({"max_new_tokens": 400}, 1, None, 401),
    ],
)
def test_the_length_limit_counts_the_prompt(
    options: dict[str, Any], prompt: int, positions: int, expected: int
) -> None:
    assert GenerationOptions.from_mapping(options).new_tokens(prompt, positions) == expected - prompt


@pytest.mark.parametrize(
    ("options", "prompt", "positions", "message"),
    [
        ({"max_new_tokens": 10}, 1, 10, r"max_new_tokens 10 .*10 positions.*at most 9"),
        ({"max_length": 11}, 1, 10, r"max_length 11 .*10 positions.*at most 9"),
        ({"max_length": 1}, 1, 10, r"max_length 1 leaves no room"),
        ({"max_length": 2}, 3, None, r"max_length 2 leaves no room"),
    ],
)
def test_a_limit_that_does_not_fit_is_refused(
    options: dict[str, Any], prompt: int, positions: int | None, message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        GenerationOptions.from_mapping(options).new_tokens(prompt, positions)


def test_fewer_beams_than_the_checkpoint_returns_are_no_conflict() -> None:
    options = GenerationOptions.from_mapping({"num_beams": 4, "num_return_sequences": 3})
    assert options.updated({"num_beams": 1}).num_return_sequences == 1
    assert options.updated({"num_beams": 5}).num_return_sequences == 3
    with pytest.raises(OptionError, match="num_return_sequences"):
        options.updated({"num_beams": 1, "num_return_sequences": 3})


def test_a_checkpoint_s_search_is_no_conflict_with_that_of_the_call() -> None:
    sampled = GenerationOptions.from_mapping({"do_sample": True, "num_return_sequences": 4})
    assert sampled.updated({"do_sample": False}).num_return_sequences == 1
    assert sampled.updated({"num_beams": 1}).num_return_sequences == 4
    assert sampled.updated({"num_beams": 2}).num_return_sequences == 2
    assert sampled.updated({"do_sample": False, "alternatives": 3}).num_return_sequences == 1
    assert sampled.updated({"seed": 3}).num_return_sequences == 4
    guessed = GenerationOptions.from_mapping({"prompt_lookup_num_tokens": 3})
    for search in ({"num_beams": 4}, {"do_sample": True}, {"output_attentions": True}):
        assert guessed.updated(search).prompt_lookup_num_tokens is None
        with pytest.raises(OptionError, match="prompt_lookup_num_tokens"):
            guessed.updated({**search, "prompt_lookup_num_tokens": 2})
    for other in ({"num_beams": 1}, {"alternatives": 2}, {"output_scores": True}, {}):
        assert guessed.updated(other).prompt_lookup_num_tokens == 3


@pytest.mark.parametrize("name", ["max_time", "guidance_scale", "num_beam_groups", "use_cache"])
def test_a_refused_option_says_why(name: str) -> None:
    with pytest.raises(OptionError, match=rf"^{name} is not supported: \w.{{20}}"):
        GenerationOptions().updated({"num_beams": 2, name: 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 2.0}, r"patience.*num_beams"),
        ({"coverage_penalty": 0.2}, r"coverage_penalty.*num_beams"),
        ({"num_beams": 4, "patience": 0.5, "num_return_sequences": 3}, r"num_return_sequences.*patience"),
        ({"alternatives": 3, "do_sample": True}, r"alternatives.*do_sample"),
        ({"prompt_lookup_num_tokens": 3, "num_beams": 2}, r"prompt_lookup_num_tokens.*greedy"),
        ({"prompt_lookup_num_tokens": 3, "do_sample": True}, r"prompt_lookup_num_tokens.*greedy"),
        ({"json_schema": {}, "regex": "a+"}, r"only one of json_schema, regex, grammar"),
    ],
)
def test_options_that_leave_each_other_no_meaning_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        GenerationOptions.from_mapping(options)


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "seed"])
def test_an_option_of_sampling_is_refused_in_a_call_that_does_not_sample(name: str) -> None:
    with pytest.raises(OptionError, match=rf"^{name} .*do_sample"):
        GenerationOptions().check_asked({name: 1})
    GenerationOptions(do_sample=True).check_asked({name: 1})
    GenerationOptions().check_asked({"num_beams": 1})


@pytest.mark.parametrize(
    ("name", "value", "search", "message"),
    [
        ("min_alternative_expansion_prob", 0.5, {"alternatives": 2}, "needs alternatives"),
        ("max_matching_ngram_size", 3, {"prompt_lookup_num_tokens": 2}, "needs prompt_lookup_num_tokens"),
        ("attention_layer", 0, {"output_attentions": True}, "needs output_attentions"),
        ("attention_layer", 0, {"num_beams": 2, "coverage_penalty": 0.1}, "needs output_attentions"),
    ],
)
def test_an_option_of_another_option_is_refused_without_it(
    name: str, value: Any, search: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=f"^{name} {message}"):
        GenerationOptions.from_mapping({name: value}).check_asked({name: value})
    GenerationOptions.from_mapping({name: value, **search}).check_asked({name: value, **search})
    GenerationOptions.from_mapping({name: value}).check_asked({})


def test_sampling_returns_as_many_sequences_as_are_asked_for() -> None:
    assert GenerationOptions(do_sample=True, num_return_sequences=5).num_return_sequences == 5
    with pytest.raises(OptionError, match="num_return_sequences"):
        GenerationOptions(do_sample=True, num_beams=2, num_return_sequences=5)
