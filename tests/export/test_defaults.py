"""Special ids and generation options: from where they are taken, and which are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diptych.export import ExportError
from diptych.export.defaults import generation_defaults, special_tokens
from diptych.model import Checkpoint, load_checkpoint
from diptych.runtime import GenerationOptions
from diptych.runtime.manifest import SpecialTokens

Values = dict[str, Any]

POSITIONS = 64
IDS: Values = {"pad_token_id": 3, "bos_token_id": 5, "eos_token_id": 6, "decoder_start_token_id": 7}


@pytest.fixture(scope="module")
def loaded(transformer_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(transformer_checkpoint)


@pytest.mark.parametrize(
    ("config", "generation", "expected"),
    [
        (IDS, {}, SpecialTokens(3, (6,), 7)),
        ({}, IDS, SpecialTokens(3, (6,), 7)),
        (IDS, {"eos_token_id": 16, "decoder_start_token_id": 17, "pad_token_id": 13}, SpecialTokens(13, (16,), 17)),
        (IDS, {"pad_token_id": None, "eos_token_id": None, "decoder_start_token_id": None}, SpecialTokens(3, (6,), 7)),
        (IDS, {"eos_token_id": [6, 9, 8]}, SpecialTokens(3, (6, 9, 8), 7)),
        (IDS | {"decoder_start_token_id": None}, {}, SpecialTokens(3, (6,), 5)),
        (IDS | {"decoder_start_token_id": 0}, {}, SpecialTokens(3, (6,), 0)),
        (IDS | {"pad_token_id": None}, {"eos_token_id": [9, 8]}, SpecialTokens(9, (9, 8), 7)),
        (IDS | {"pad_token_id": 0}, {}, SpecialTokens(0, (6,), 7)),
        (IDS | {"eos_token_id": None}, {}, SpecialTokens(3, (), 7)),
    ],
)
def test_special_ids(config: Values, generation: Values, expected: SpecialTokens, loaded: Checkpoint) -> None:
    assert special_tokens(replace(loaded, config=config, generation=generation)) == expected


@pytest.mark.parametrize(
    "config", [{}, {"eos_token_id": 2, "pad_token_id": 0}, {"decoder_start_token_id": "<s>"}], ids=str
)
def test_no_start(config: Values, loaded: Checkpoint) -> None:
    with pytest.raises(ExportError, match="no decoder_start_token_id") as caught:
        special_tokens(replace(loaded, config=config, generation={}))
    assert str(loaded.folder) in str(caught.value)


@pytest.mark.parametrize("ending", ["</s>", ["</s>"], [2, None], 2.5])
def test_ending_that_is_no_id(ending: object, loaded: Checkpoint) -> None:
    with pytest.raises(ExportError, match="eos_token_id"):
        special_tokens(replace(loaded, config=IDS, generation={"eos_token_id": ending}))


def test_options_of_the_generation_config_win(loaded: Checkpoint) -> None:
    config = {"num_beams": 5, "length_penalty": 2.0, "no_repeat_ngram_size": 3, "d_model": 32}
    checkpoint = replace(loaded, config=config, generation={"num_beams": 4, "early_stopping": True, "use_cache": True})
    assert generation_defaults(checkpoint, POSITIONS, ()) == {
        "num_beams": 4,
        "length_penalty": 2.0,
        "no_repeat_ngram_size": 3,
        "early_stopping": True,
    }


def test_unset_options_are_left_out(loaded: Checkpoint) -> None:
    checkpoint = replace(loaded, config={"num_beams": 5}, generation={"num_beams": 2, "max_length": None})
    assert generation_defaults(checkpoint, POSITIONS, ()) == {"num_beams": 2}


def test_unsupported_options_are_all_listed(loaded: Checkpoint) -> None:
    generation = {"guidance_scale": 1.5, "num_beam_groups": 2, "novel_option": 1, "num_beams": 4}
    checkpoint = replace(loaded, config={"diversity_penalty": 0.3}, generation=generation)
    with pytest.raises(ExportError) as caught:
        generation_defaults(checkpoint, POSITIONS, ())
    message = str(caught.value)
    for text in ("guidance_scale = 1.5", "num_beam_groups = 2", "diversity_penalty = 0.3", "novel_option"):
        assert text in message
    for key in ("guidance_scale", "num_beam_groups", "diversity_penalty", "novel_option"):
        assert f"--ignore-config-key {key}" in message
    assert "num_beams" not in message
    ignored = ("guidance_scale", "num_beam_groups", "diversity_penalty", "novel_option")
    assert generation_defaults(checkpoint, POSITIONS, ignored) == {"num_beams": 4}


@pytest.mark.parametrize(
    "generation",
    [{"num_beam_groups": 1}, {"diversity_penalty": 0.0}, {"output_attentions": True}, {"seed": 3}, {"use_cache": True}],
    ids=str,
)
def test_neutral_options_pass(generation: Values, loaded: Checkpoint) -> None:
    assert generation_defaults(replace(loaded, config={}, generation=generation), POSITIONS, ()) == {}


def test_how_a_checkpoint_samples_is_kept(loaded: Checkpoint) -> None:
    stored = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 0, "num_return_sequences": 3}
    options = generation_defaults(replace(loaded, config={}, generation=stored), POSITIONS, ())
    assert options == stored
    assert GenerationOptions.from_mapping(options).temperature == 0.6


@pytest.mark.parametrize(("stored", "expected"), [(40, 40), (64, 64), (65, 64), (1024, 64)])
def test_max_length_is_clamped_to_the_positions(stored: int, expected: int, loaded: Checkpoint) -> None:
    checkpoint = replace(loaded, config={}, generation={"max_length": stored})
    assert generation_defaults(checkpoint, POSITIONS, ()) == {"max_length": expected}


@pytest.mark.parametrize("stored", [8, 63, 64, 1024])
def test_max_new_tokens_fits_the_positions(stored: int, loaded: Checkpoint) -> None:
    """Otherwise a call without options could never succeed."""
    checkpoint = replace(loaded, config={}, generation={"max_new_tokens": stored})
    options = GenerationOptions.from_mapping(generation_defaults(checkpoint, POSITIONS, ()))
    assert options.new_tokens(1, POSITIONS) == min(stored, POSITIONS - 1)


@pytest.mark.parametrize(
    "generation",
    [
        {"num_beams": 0},
        {"num_beams": "4"},
        {"length_penalty": "long"},
        {"max_length": 2.5},
        {"num_return_sequences": 3},
    ],
    ids=str,
)
def test_values_that_cannot_be(generation: Values, loaded: Checkpoint) -> None:
    with pytest.raises(ExportError, match=next(iter(generation))) as caught:
        generation_defaults(replace(loaded, config={}, generation=generation), POSITIONS, ())
    assert "generation_config.json" in str(caught.value)
