"""Every generation option of transformers is one of ours or refused, and every other one of ours is meant to be."""

from dataclasses import fields

import pytest
from transformers import GenerationConfig

from diptych.runtime.errors import OptionError
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.refused import REFUSED

THEIRS = set(vars(GenerationConfig()))
OURS = {option.name for option in fields(GenerationOptions)}
OURS_ALONE = {
    "alternatives",
    "attention_layer",
    "coverage_penalty",
    "grammar",
    "json_schema",
    "min_alternative_expansion_prob",
    "patience",
    "regex",
    "seed",
}
OTHER_DEFAULTS = {
    "max_length": "without a limit, generation goes on to the model's positions or 256 new tokens",
    "max_matching_ngram_size": "theirs is None, and read as 2",
}


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_an_option_of_transformers_is_honoured_or_refused_by_name(name: str) -> None:
    if name in OURS:
        assert name not in REFUSED
        return
    with pytest.raises(OptionError, match=rf"{name}\b.* not supported: \S"):
        GenerationOptions().updated({name: 1})


def test_options_that_transformers_has_not_are_those_we_mean_to_have() -> None:
    assert OURS - THEIRS == OURS_ALONE


@pytest.mark.parametrize("name", sorted((OURS & THEIRS) - OTHER_DEFAULTS.keys()))
def test_a_default_is_that_of_transformers(name: str) -> None:
    expected, ours = GenerationConfig._get_default_generation_params().get(name), getattr(GenerationOptions(), name)
    assert ours == expected or (expected is None and not ours)
