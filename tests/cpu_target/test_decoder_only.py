"""Decoders alone for ONNX Runtime's CPU, their cache written in place: they say what the portable graphs say."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cpu_target.models import Models, close
from cpu_target.models import generator as generator_of
from families.case import PAD, VOCAB, Case
from families.decoder_cases import BIASES, GPT, GPT_NEO, LLAMA, OPT
from families.twins import SETTINGS
from mixing import Mix, alone

from diptych.export.errors import ExportError
from diptych.export.graphs import graphs
from diptych.export.pipeline import export_checkpoint
from diptych.export.torch_graph import TorchGraph
from diptych.model import architecture as arch
from diptych.model import load_checkpoint
from diptych.model.networks import DecoderOnly, make_network
from diptych.runtime import Generator, ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.decoder import CachedDecoder, Sources
from diptych.runtime.errors import BundleError, EngineError
from diptych.runtime.graph import Array
from diptych.runtime.grouped import GroupedDecoder
from diptych.runtime.row_cache import PLACES

Decoders = tuple[GroupedDecoder, CachedDecoder]

CASES = {
    "gpt2": Case("gpt2", "generate", "GPT2LMHeadModel", GPT | {"n_layer": 2}),
    "openai-gpt": Case("openai-gpt", "generate", "OpenAIGPTLMHeadModel", GPT),
    "opt": Case("opt", "generate", "OPTForCausalLM", OPT | {"word_embed_proj_dim": 16, "do_layer_norm_before": False}),
    "gpt_neo": Case("gpt_neo", "generate", "GPTNeoForCausalLM", GPT_NEO),
    "llama": Case("llama", "generate", "LlamaForCausalLM", LLAMA | {"head_dim": 8}),
    "turned": Case("llama", "generate", "LlamaForCausalLM", LLAMA | BIASES | {"head_dim": 16}),
    "dynamic": Case(
        "llama",
        "generate",
        "LlamaForCausalLM",
        LLAMA
        | {"head_dim": 16, "num_hidden_layers": 1, "max_position_embeddings": 6}
        | {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 6.0}},
    ),
}
EMPTY = Sources.pad([[]], PAD)
MODELS = Models(CASES)


@cache
def both(name: str) -> Decoders:
    """The exported graph, and the portable one as PyTorch computes it."""
    network = load_checkpoint(MODELS.checkpoint(name), "generate").network
    (graph,) = MODELS.opened(name, graphs(network, "generate", target="cpu"))
    return GroupedDecoder(graph), CachedDecoder(None, TorchGraph(graphs(network, "generate")[0]))


def drawn(rows: int, length: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(3, VOCAB, (rows, length))


def ragged(lengths: list[int], seed: int = 0) -> Array:
    """Prompts of these lengths, padded on the left."""
    ids = drawn(len(lengths), max(lengths), seed)
    return np.where(np.arange(max(lengths)) >= max(lengths) - np.array(lengths)[:, None], ids, -1)


def begun(name: str, prompts: Array, rows_per_source: int = 1) -> list[tuple[Any, Any]]:
    """Both decoders, each with a state that has read the prompts."""
    pairs = [(decoder, decoder.start(Sources.pad([[]] * (len(prompts) // rows_per_source), PAD), rows_per_source))
             for decoder in both(name)]  # fmt: skip
    found, expected = (decoder.step(state, prompts) for decoder, state in pairs)
    close(found, expected)
    return pairs


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(4))
def test_each_row_decodes_as_if_alone(name: str, seed: int) -> None:
    """Ragged prompts, joins, beams, rows that leave or go back, one token or several at a time; buffers grow."""
    grouped, portable = both(name)
    mix: Any = Mix(grouped, VOCAB, seed, longest_source=0)  # type: ignore[arg-type]
    for _ in range(12):
        found = mix.turn()
        rows = zip(mix.sources, mix.targets, strict=True)
        expected = np.stack([alone(portable, source, target) for source, target in rows])
        # What turns by the length of its text so far is not what it is when read at once.
        if name != "dynamic":
            close(found, expected)
    assert mix.state.cache.places >= PLACES


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("keep", [0, 1, 3])
def test_logits_of_prompts_and_of_what_follows(name: str, keep: int) -> None:
    """Several tokens with a past too, of rows that have different numbers of them."""
    pairs = begun(name, ragged([5, 2, 7]))
    for ids in (ragged([4, 4, 4], 1), drawn(3, 1, 2), drawn(3, 3, 3), drawn(3, PLACES, 4)):
        found, expected = (decoder.forward(state, ids, keep) for decoder, state in pairs)
        close(found, expected)
    lengths = [decoder.length(state) for decoder, state in pairs]
    assert lengths[0] == lengths[1] == 7 + 4 + 1 + 3 + PLACES


def test_padding_within_rows_is_no_token() -> None:
    """Rows that wait while others go on, with logits of padding never compared."""
    pairs = begun("llama", ragged([1, 6, 3]))
    for ids in ([[5], [-1], [7]], [[-1], [8], [-1]], [[-1, -1, 4], [3, 4, 5], [-1, 6, 6]], [[9], [9], [9]]):
        found, expected = (decoder.forward(state, np.array(ids)) for decoder, state in pairs)
        known = np.array(ids) >= 0
        close(found[known], expected[known])
    assert [decoder.length(state) for decoder, state in pairs] == [6 + 1 + 1 + 3 + 1] * 2


def test_a_prompt_of_padding_alone_harms_no_other() -> None:
    grouped, portable = both("llama")
    states = [decoder.start(Sources.pad([[], []], PAD), 1) for decoder in (grouped, portable)]
    ids = np.array([[-1, -1], [4, 5]])
    found, expected = grouped.forward(states[0], ids), portable.forward(states[1], ids)
    assert np.isfinite(found).all()
    close(found[1], expected[1])
    after = np.array([[6], [7]])
    close(grouped.step(states[0], after), portable.step(states[1], after))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("count", [1, 4, ports.MOST_TOP_LOGITS, ports.MOST_TOP_LOGITS + 1, VOCAB + 5])
def test_the_best_tokens_are_those_of_all_logits(name: str, count: int) -> None:
    pairs = begun(name, ragged([5, 2]))
    asked = np.array([1, 2, 60])
    for ids in (drawn(2, 1), drawn(2, 3)):
        found, expected = (decoder.rank(state, ids, count, asked) for decoder, state in pairs)
        assert found.tokens.tolist() == expected.tokens.tolist()
        close(found.logits, expected.logits)
        close(found.log_sum, expected.log_sum)
        close(found.asked, expected.asked)
        assert found[np.array([1])].tokens.tolist() == [found.tokens[1].tolist()]


def test_what_was_told_stays_what_it_was() -> None:
    """Later steps write where earlier ones did."""
    ((decoder, state), _) = begun("gpt2", drawn(2, 3))
    logits = decoder.step(state, drawn(2, 1, 1))
    best = decoder.rank(state, drawn(2, 1, 2), 2, np.array([5]))
    kept = logits.copy(), best.tokens.copy(), best.logits.copy(), best.log_sum.copy(), best.asked.copy()
    decoder.step(state, drawn(2, 1, 3))
    decoder.rank(state, drawn(2, 1, 4), 2, np.array([5]))
    for now, before in zip((logits, best.tokens, best.logits, best.log_sum, best.asked), kept, strict=True):
        np.testing.assert_array_equal(now, before)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"no_repeat_ngram_size": 1},
    {"num_beams": 3},
    {"num_beams": 4, "num_return_sequences": 3, "no_repeat_ngram_size": 2, "batch_size": 2},
    {"do_sample": True, "seed": 3, "num_return_sequences": 2},
    {"prompt_lookup_num_tokens": 3},
    {"alternatives": 3},
    {"batch_size": 2},
    {"target_prefixes": [[5, 6], [], [7], [8, 9, 10], []]},
]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_search_finds_the_same(name: str, options: dict[str, Any]) -> None:
    ours, theirs = (
        [[(hypothesis.ids, hypothesis.score) for hypothesis in found] for found in generator(decoder)(
            prompts(), **{"max_new_tokens": 14} | options)]
        for decoder in both(name)
    )  # fmt: skip
    assert [[ids for ids, _ in found] for found in ours] == [[ids for ids, _ in found] for found in theirs]
    np.testing.assert_allclose(
        [score for found in ours for _, score in found], [score for found in theirs for _, score in found], atol=1e-4
    )


@pytest.mark.parametrize("name", CASES)
def test_scores_are_the_same(name: str) -> None:
    targets = [[*prompt[::-1], 4] for prompt in prompts()]
    ours, theirs = (generator(decoder).score(prompts(), targets) for decoder in both(name))
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found.token_scores, expected.token_scores, atol=1e-4)


def prompts() -> list[list[int]]:
    random = np.random.default_rng(5)
    return [random.integers(3, VOCAB, length).tolist() for length in (5, 1, 9, 3, 7)]


def generator(decoder: GroupedDecoder | CachedDecoder) -> Generator:
    return generator_of(decoder, "generate", VOCAB, 40)


def test_a_step_that_fails_changes_nothing() -> None:
    (decoder, state), (_, other) = begun("gpt2", drawn(2, 3))
    portable = both("gpt2")[1]
    with pytest.raises(EngineError):
        decoder.step(state, np.full((2, 1), VOCAB + 9))
    assert decoder.length(state) == 3
    close(decoder.step(state, drawn(2, 1)), portable.step(other, drawn(2, 1)))


def test_what_it_cannot_do_is_refused() -> None:
    decoder, _ = both("gpt2")
    with pytest.raises(BundleError, match="no cross-attention"):
        decoder.start(EMPTY, 1, attend=True)
    state = decoder.start(EMPTY, 1)
    with pytest.raises(ValueError, match="no attention"):
        decoder.attention(state)
    with pytest.raises(ValueError, match="2 cannot join 1"):
        decoder.join(state, decoder.start(EMPTY, 2))
    assert not decoder.attends


def test_a_bundle_opens_with_it(tmp_path: Path) -> None:
    export_checkpoint(MODELS.checkpoint("gpt2"), tmp_path / "bundle", target="cpu", verify=False)
    decoder = Bundle.open(tmp_path / "bundle").decoder(SETTINGS)
    assert isinstance(decoder, GroupedDecoder)
    assert decoder.encoder is None
    assert decoder.decoder.inputs[ports.SEQLENS_K] == ("batch_size",)


def test_attention_that_the_kernel_lacks_is_refused() -> None:
    attention = arch.Attention(heads=3, head_dim=12)
    layer = arch.Layer(attention, arch.FeedForward(8, "relu"), arch.LayerNorm(), "input")
    stack = arch.Stack(36, (layer,), arch.Embedding(VOCAB, None))
    spec = arch.DecoderOnly(stack, arch.Head(tied=True))
    with pytest.raises(ExportError, match="layer 0 has heads 12 wide, expected a multiple of 8"):
        graphs(network(spec), "generate", target="cpu")
    wider = replace(layer, attention=replace(attention, head_dim=16))
    by_distance = replace(stack, layers=(wider,), relative=arch.Bucketed(8, 16))
    with pytest.raises(ExportError, match="bias by distance"):
        graphs(network(replace(spec, decoder=by_distance)), "generate", target="cpu")


def test_states_alone_need_no_cache() -> None:
    (spec,) = graphs(network(arch.DecoderOnly(_stack(), None)), "embed", target="cpu")
    assert [port.name for port in spec.inputs] == [ports.INPUT_IDS, ports.ATTENTION_MASK]


def _stack() -> arch.Stack:
    layer = arch.Layer(arch.Attention(2, 8), arch.FeedForward(8, "relu"), arch.LayerNorm(), "input")
    return arch.Stack(16, (layer,), arch.Embedding(VOCAB, None))


def network(spec: arch.DecoderOnly) -> DecoderOnly:
    torch.manual_seed(1)
    made = make_network(spec)
    assert isinstance(made, DecoderOnly)
    return made
