"""Decoder-only models: prompts of any lengths are continued as each would be alone."""

from typing import Any

import numpy as np
import pytest
from fakes import POSITIONS, VOCAB, FakeCausalGraph

from diptych.runtime import ports
from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.errors import InputError
from diptych.runtime.generation.generator import Generator
from diptych.runtime.manifest import Manifest, SpecialTokens

EOS, PAD = 1, 0
PROMPTS = [[3, 4, 5, 6], [7], [2, 9, 3, 3, 8, 10, 4], [5, 5], [10], [9, 8, 7, 6, 5, 4], [6, 6, 6]]


def make(**defaults: Any) -> tuple[Generator, FakeCausalGraph]:
    graph = FakeCausalGraph()
    manifest = Manifest(
        "generate", "gpt2", SpecialTokens(PAD, (EOS,)), VOCAB, POSITIONS, POSITIONS, {"max_new_tokens": 9, **defaults}
    )
    return Generator(CachedDecoder(None, graph), manifest), graph


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_beams": 3, "num_return_sequences": 3},
        {"num_beams": 2, "early_stopping": "never", "max_length": 12},
        {"repetition_penalty": 1.8},
        {"no_repeat_ngram_size": 1},
        {"no_repeat_ngram_size": 2, "num_beams": 2},
        {"min_length": 8, "max_length": 11},
        {"max_length": 10, "forced_eos_token_id": EOS},
        {"begin_suppress_tokens": [2, 3, 4, 5]},
        {"bad_words_ids": [[2], [3, 4]]},
        {"encoder_repetition_penalty": 3.0, "encoder_no_repeat_ngram_size": 2},
        {"exponential_decay_length_penalty": (2, 1.3), "sequence_bias": [[[9, 9], -4.0], [[2], 1.5]]},
        {"max_new_tokens": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("batch_size", [2, 32])
def test_a_ragged_batch_gives_what_each_prompt_gives_alone(options: dict[str, Any], batch_size: int) -> None:
    """Those that join later find others far ahead."""
    generator, _ = make()
    alone = [generator([prompt], **options)[0] for prompt in PROMPTS]
    assert len({tuple(found[0].ids) for found in alone}) > 3, "results must differ for their order to show"
    together = generator(PROMPTS, batch_size=batch_size, **options)
    assert [[item.ids for item in found] for found in together] == [[item.ids for item in found] for found in alone]
    scores = [[item.score for item in found] for found in together]
    np.testing.assert_allclose(scores, [[item.score for item in found] for found in alone], atol=1e-4)


def test_greedy_ids_are_the_likeliest_of_an_uncached_pass() -> None:
    generator, graph = make()
    for prompt, (found,) in zip(PROMPTS, generator(PROMPTS), strict=True):
        ids = np.array([[*prompt, *found.ids[:-1]]])
        empty = {
            name: np.zeros((1, *graph.inputs[name][1:2], 0, *graph.inputs[name][3:]), np.float32)
            for name in pasts(graph)
        }
        outputs = graph.run(
            {
                ports.INPUT_IDS: ids,
                ports.POSITION_IDS: np.arange(ids.shape[1])[None],
                ports.ATTENTION_MASK: np.ones_like(ids),
                ports.NUM_LOGITS_TO_KEEP: np.array(len(found.ids)),
                **empty,
            }
        )
        assert outputs[ports.LOGITS][0].argmax(axis=1).tolist() == found.ids


def pasts(graph: FakeCausalGraph) -> list[str]:
    return [name for name in graph.inputs if name.startswith("past_key_values.")]


def test_a_prompt_is_run_once_for_all_beams_and_gives_one_row_of_logits() -> None:
    generator, graph = make()
    generator([PROMPTS[2]], num_beams=3)
    assert graph.feeds[0][ports.INPUT_IDS].shape == (1, 7)
    assert [int(feeds[ports.NUM_LOGITS_TO_KEEP]) for feeds in graph.feeds] == [1] * len(graph.feeds)
    assert graph.feeds[1][ports.INPUT_IDS].shape == (3, 1)


def test_generation_stops_at_the_positions_whatever_was_asked() -> None:
    generator, _ = make(max_new_tokens=POSITIONS)
    (found,) = generator([PROMPTS[0]], suppress_tokens=[EOS])[0]
    assert len(found.ids) == POSITIONS - len(PROMPTS[0])


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ([], {}, "no tokens"),
        ([3] * POSITIONS, {}, f"{POSITIONS} tokens leave no room"),
        ([3] * (POSITIONS + 1), {}, "too long"),
        ([3] * 5, {"max_length": 5}, "max_length 5 leaves no room after the 5 tokens"),
    ],
)
def test_a_prompt_without_room_is_refused_by_its_number(
    prompt: list[int], options: dict[str, Any], message: str
) -> None:
    generator, _ = make()
    with pytest.raises(InputError, match=f"source 1: .*{message}"):
        generator([[3], prompt], **options)


def test_a_stream_is_the_greedy_ids() -> None:
    generator, _ = make()
    for prompt in PROMPTS:
        assert list(generator.stream(prompt)) == generator([prompt])[0][0].ids
