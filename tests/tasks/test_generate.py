"""generate: ids, scores and continuations equal those of `generate` for each prompt alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from tasks.checkpoints import Published, byte_pairs, publish, sentence_pieces
from tasks.command import diptych, results
from tasks.generated import TOLERANCE, generated
from tasks.texts import TEXTS
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer, LlamaConfig, LlamaForCausalLM

END = "<|endoftext|>"


def gpt2(folder: Path) -> Published:
    vocabulary, merges = byte_pairs([END])
    config = GPT2Config(
        vocab_size=len(vocabulary), n_embd=32, n_layer=2, n_head=2, n_positions=96, bos_token_id=0, eos_token_id=0
    )
    model = GPT2LMHeadModel(config)
    # Three that end a text, two of which are text themselves.
    model.generation_config.eos_token_id = [0, vocabulary["v"], vocabulary["Ġw"]]
    return publish(folder, model, GPT2Tokenizer(vocab=vocabulary, merges=merges), strength=2.0)


def llama(folder: Path) -> Published:
    """With the file that LLaMA's tokenizer came with: unknown characters are bytes."""
    pieces = sentence_pieces(folder / "checkpoint" / "tokenizer.model", "bpe", 500, byte_fallback=True)
    settings = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False}
    (folder / "checkpoint" / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    config = LlamaConfig(
        vocab_size=len(pieces), hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=96, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return publish(folder, LlamaForCausalLM(config), strength=2.0)


@pytest.fixture(scope="module", params=[gpt2, llama])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return request.param(tmp_path_factory.mktemp("generate"))


SEARCHES: list[dict[str, Any]] = [
    {"num_beams": 1, "max_new_tokens": 12},
    {"num_beams": 4, "max_new_tokens": 12},
    {"num_beams": 4, "max_new_tokens": 9, "length_penalty": 0.0, "early_stopping": True, "num_return_sequences": 3},
    {"num_beams": 1, "max_length": 90, "repetition_penalty": 1.4, "no_repeat_ngram_size": 2, "min_new_tokens": 7},
]


@pytest.mark.parametrize("options", SEARCHES, ids=["greedy", "beams", "several", "filters"])
def test_continuations(made: Published, options: dict[str, Any]) -> None:
    arguments = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", json.dumps(value))]
    objects = results(made.bundle, "--batch-size", "4", *arguments, *TEXTS)
    seen = set()
    for text, ours in zip(TEXTS, objects, strict=True):
        prompt = made.tokenizer(text).input_ids
        theirs = generated(made.model, prompt, pad_token_id=0, **options)
        found = ours.get("hypotheses", [ours])
        assert [it["ids"] for it in found] == [ids for ids, _ in theirs], text
        assert [it["score"] for it in found] == pytest.approx([score for _, score in theirs], abs=TOLERANCE)
        for hypothesis in found:
            whole = made.tokenizer.decode(prompt + hypothesis["ids"], skip_special_tokens=True)
            assert made.tokenizer.decode(prompt, skip_special_tokens=True) + hypothesis["text"] == whole
        seen |= {*found[0]["ids"]}
    assert len(seen) > 20, "all prompts are continued alike: nothing could be told apart"


def test_lines_are_the_continuations(made: Published) -> None:
    arguments = ["--max-new-tokens", "5", "--num-beams", "2", "--num-return-sequences", "2"]
    finished = diptych("run", made.bundle, *arguments, stdin="".join(f"{text}\n" for text in TEXTS))
    assert (finished.status, finished.stderr) == (0, "")
    for line, ours in zip(finished.lines, results(made.bundle, *arguments, *TEXTS), strict=True):
        texts = [it["text"].replace("\r", "\\r").replace("\n", "\\n") for it in ours["hypotheses"]]
        assert line == "\t".join(texts)


def test_a_prompt_that_leaves_no_room_keeps_its_place(made: Published) -> None:
    finished = diptych("run", made.bundle, "--max-new-tokens", "4", "Hello!", " ".join(TEXTS), "Hello!")
    assert finished.status == 1
    assert finished.lines == [finished.lines[0], "", finished.lines[0]]
    assert finished.stderr.startswith("line 2: too long: ")
