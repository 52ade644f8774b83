"""Filters against `generate` of transformers: the processors it makes of options, and what it samples from."""

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from oracle.filter_cases import (
    BAD_WORDS,
    BIASES,
    EOS,
    LIMIT,
    SCORES,
    VOCAB,
    assert_alike,
    make_scores,
    ours,
    probabilities,
    ragged,
    texts,
    unpadded,
)
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessor,
)

from diptych.runtime.generation.history import History
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.graph import Array

PAD, BOS, START = 0, 1, 3
Processor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Network = BartForConditionalGeneration | LlamaForCausalLM


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCAB, "max_position_embeddings": 64, "pad_token_id": PAD, "bos_token_id": BOS}
    bart = BartConfig(
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        decoder_start_token_id=START,
        forced_eos_token_id=None,
        init_std=1.0,
        **sizes,
    )
    llama = LlamaConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.5,
        **sizes,
    )
    return [BartForConditionalGeneration(bart).eval(), LlamaForCausalLM(llama).eval()]


def draw_options(number: int) -> dict[str, Any]:
    draw = random.Random(number)
    every: dict[str, Any] = {
        "sequence_bias": [[list(tokens), bias] for tokens, bias in BIASES.items()],
        "encoder_repetition_penalty": draw.choice([0.8, 1.5]),
        "repetition_penalty": draw.choice([0.8, 1.5]),
        "no_repeat_ngram_size": draw.randint(1, 3),
        "encoder_no_repeat_ngram_size": draw.randint(1, 3),
        "bad_words_ids": BAD_WORDS,
        "min_length": draw.randint(1, 8),
        "min_new_tokens": draw.randint(0, LIMIT),
        "forced_bos_token_id": draw.choice([4, 9]),
        "forced_eos_token_id": draw.choice([9, [2, 9]]),
        "remove_invalid_values": True,
        "exponential_decay_length_penalty": (draw.randint(0, 3), draw.choice([1.1, 1.6])),
        "suppress_tokens": draw.sample([token for token in range(VOCAB) if token not in (4, 9)], 4),
        "begin_suppress_tokens": draw.sample(range(VOCAB), 4),
        "temperature": draw.choice([0.6, 1.4]),
        "top_h": draw.choice([0.4, 0.8]),
        "top_k": draw.choice([0, 1, 4, 15]),
        "top_p": draw.choice([0.4, 0.8, 0.95]),
        "min_p": draw.choice([0.02, 0.2]),
        "typical_p": draw.choice([0.3, 0.8]),
        "epsilon_cutoff": draw.choice([0.01, 0.1]),
        "eta_cutoff": draw.choice([0.01, 0.1]),
        "renormalize_logits": True,
    }
    names = draw.sample(sorted(every), draw.choice([1, 3, 6, 10]))
    if "remove_invalid_values" in names and "exponential_decay_length_penalty" in names:
        names.remove("remove_invalid_values")  # Together they make an infinity, which transformers then trips over.
    fixed = {"do_sample": draw.random() < 0.7, "num_beams": draw.choice([1, 1, 3]), "max_new_tokens": LIMIT}
    return fixed | {name: every[name] for name in names}


def processors(network: Network, options: dict[str, Any], eos: Sequence[int], row: tuple[Any, ...]) -> Processor:
    """What `generate` makes of the options for one row."""
    ids, given, read = row
    config, _ = network._prepare_generation_config(None, **options, eos_token_id=list(eos) or None)
    network._prepare_special_tokens(config, device=ids.device)
    network._prepare_generated_length(
        generation_config=config,
        has_default_max_length=True,
        has_default_min_length=True,
        model_input_name="input_ids",
        input_ids_length=given,
        inputs_tensor=read,
    )
    return network._get_logits_processor(config, given, read, device=ids.device)


@pytest.mark.parametrize("number", range(150))
def test_a_combination_is_that_of_transformers(number: int, networks: list[Network]) -> None:
    encodes, eos = number % 2 == 0, [(2,), EOS][number % 3 == 0]
    options = draw_options(number)
    history, scores = ragged(number, encodes=encodes), make_scores(SCORES[number % 4], number)
    if options["num_beams"] > 1:
        scores = torch.tensor(scores).log_softmax(dim=1).numpy()
    rows = [unpadded(history, row) for row in range(len(history))]
    result = ours(GenerationOptions().updated(options), eos, history, scores)
    for row, own, mine in zip(rows, scores, result, strict=True):
        make = processors(networks[not encodes], options, eos, row)
        if (mine == -np.inf).all():  # Where nothing is allowed, transformers has no numbers, or no entropy.
            with contextlib.suppress(ValueError):
                assert (~(make(row[0], torch.tensor(own[None])) > -np.inf)).all()
            continue
        assert_alike(mine[None], make(row[0], torch.tensor(own[None])).numpy())


class Watch(LogitsProcessor):
    """The ids of every running row, as processors see them, at each step."""

    def __init__(self) -> None:
        self.ids: list[Array] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.ids.append(input_ids.numpy().copy())
        return scores


SAMPLED: list[dict[str, Any]] = [
    {},
    {"top_k": 0},
    {"temperature": 0.7, "top_k": 8},
    {"top_p": 0.8},
    {"top_p": 0.6, "top_k": 0, "temperature": 1.5},
    {"min_p": 0.1, "repetition_penalty": 1.4},
    {"typical_p": 0.7, "top_k": 0, "no_repeat_ngram_size": 2},
    {"epsilon_cutoff": 0.03, "min_new_tokens": 4},
    {"eta_cutoff": 0.1, "encoder_repetition_penalty": 1.6, "renormalize_logits": True},
    {"top_h": 0.5, "exponential_decay_length_penalty": (2, 1.3)},
    {"top_k": 12, "top_p": 0.9, "sequence_bias": [[[5], 2.0], [[3, 4], 3.0]], "forced_eos_token_id": 2},
    {"bad_words_ids": [[5], [3, 3]], "begin_suppress_tokens": [2, 4], "encoder_no_repeat_ngram_size": 2, "top_p": 0.9},
]


def steps(network: Network, options: dict[str, Any], seed: int) -> Iterator[tuple[History, Array, Array]]:
    """Sample from a network; at each step, what its rows are, their logits, and their scores after all processors."""
    encodes, rows, watch = network.config.is_encoder_decoder, 3, Watch()
    read = torch.tensor(texts(random.Random(seed), rows, 5, 5))
    torch.manual_seed(seed)
    output = network.generate(
        read,
        attention_mask=torch.ones_like(read),
        do_sample=True,
        max_new_tokens=LIMIT,
        eos_token_id=list(EOS),
        logits_processor=[watch],
        output_scores=True,
        output_logits=True,
        return_dict_in_generate=True,
        **options,
    )
    beams = options["num_beams"]
    sources = [source for source in read.tolist() for _ in range(beams)]
    prompts = [[START]] * len(sources) if encodes else sources
    for ids, logits, scores in zip(watch.ids, output.logits, output.scores, strict=True):
        begun = [[(token, 0.0) for token in row[len(prompts[0]) :]] for row in ids.tolist()]
        history = History.start(prompts, [LIMIT] * len(prompts), sources if encodes else None, begun)
        running = ~np.isin(ids[:, len(prompts[0]) :], [*EOS, PAD]).any(axis=1)
        yield history.select(np.flatnonzero(running)), logits.numpy()[running], scores.numpy()[running]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("options", SAMPLED, ids=str)
def test_sampled_texts_have_the_same_distributions_at_every_step(
    options: dict[str, Any], beams: int, networks: list[Network]
) -> None:
    for network in networks:
        seen, cut = 0, 0
        for seed in range(3):
            chosen = {**options, "num_beams": beams}
            for history, logits, expected in steps(network, chosen, seed):
                scores = torch.tensor(logits).log_softmax(dim=1).numpy() if beams > 1 else logits
                settings = GenerationOptions().updated({**chosen, "do_sample": True})
                result = ours(settings, EOS, history, scores)
                np.testing.assert_array_equal(result > -np.inf, expected > -np.inf)
                np.testing.assert_allclose(probabilities(result), probabilities(expected), atol=1e-5)
                seen += len(history)
                cut += int((result == -np.inf).any(axis=1).sum())
        assert seen > 20
        assert cut > 5 or options in ({}, {"top_k": 0})


def test_the_default_of_top_k_is_that_of_transformers() -> None:
    assert GenerationOptions().top_k == GenerationConfig._get_default_generation_params()["top_k"]
