"""Decoding as checkpoints and command lines ask for it: each result is what transformers' network says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tasks.checkpoints import PAIR, ROBERTA_SPECIALS, Published, byte_pairs, publish
from tasks.command import diptych, results
from tasks.generated import TOLERANCE, generated
from tasks.texts import TEXTS
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
)

from diptych.runtime import Prompt, load

IDS: dict[str, Any] = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
END = "<|endoftext|>"
KEPT = 3


@pytest.fixture(scope="module")
def sampler(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A language model that samples unless told otherwise, and stops where its configuration says."""
    vocabulary, merges = byte_pairs([END])
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 96}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(vocabulary), bos_token_id=0, eos_token_id=0, **sizes))
    told = {"do_sample": True, "temperature": 1.5, "top_k": KEPT, "max_new_tokens": 9, "stop_strings": ["th", "."]}
    for name, value in (told | {"eos_token_id": [0, vocabulary["v"], vocabulary["Ġw"]]}).items():
        setattr(model.generation_config, name, value)
    tokenizer = GPT2Tokenizer(vocab=vocabulary, merges=merges)
    return publish(tmp_path_factory.mktemp("sampler"), model, tokenizer, "--no-verify", strength=2.0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """An encoder-decoder that tells its attention, and whose results begin with a forced token."""
    vocabulary, merges = byte_pairs(ROBERTA_SPECIALS)
    model = BartForConditionalGeneration(BartConfig(vocab_size=len(vocabulary), **IDS, **PAIR | {"decoder_layers": 2}))
    model.generation_config.forced_bos_token_id = 0
    model.generation_config.max_length = 14
    tokenizer = BartTokenizer(vocab=vocabulary, merges=merges)
    options = ("--with-attention", "--no-verify")
    return publish(tmp_path_factory.mktemp("pair"), model, tokenizer, *options, strength=2.0)


def likeliest(made: Published, prompt: list[int], ids: list[int]) -> list[list[int]]:
    """For each of the ids, the tokens that are likeliest in its place."""
    with torch.no_grad():
        logits = made.model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    return logits.topk(KEPT).indices.tolist()


def test_a_checkpoint_may_sample_by_default(sampler: Published) -> None:
    once, again = results(sampler.bundle, *TEXTS), results(sampler.bundle, "--batch-size", "1", *TEXTS)
    assert [it["ids"] for it in once] == [it["ids"] for it in again]
    other = results(sampler.bundle, "--seed", "1", *TEXTS)
    greedy = results(sampler.bundle, "--no-do-sample", *TEXTS)
    assert [it["ids"] for it in other] != [it["ids"] for it in once] != [it["ids"] for it in greedy]
    for text, one in zip(TEXTS * 2, once + other, strict=True):
        kept = likeliest(sampler, sampler.tokenizer(text).input_ids, one["ids"])
        assert all(token in allowed for token, allowed in zip(one["ids"], kept, strict=True)), (
            "top_k is the checkpoint's"
        )
    ended = {0, *sampler.model.generation_config.eos_token_id}
    for one in once + other + greedy:
        stopped = any(one["text"].find(stop) >= 0 for stop in ("th", "."))
        assert len(one["ids"]) == 9 or one["ids"][-1] in ended or stopped
        assert not ended & {*one["ids"][:-1]}


def test_what_the_checkpoint_samples_a_call_may_search(sampler: Published) -> None:
    arguments = ["--no-do-sample", "--stop-strings", "[]"]
    for text, one in zip(TEXTS, results(sampler.bundle, *arguments, *TEXTS), strict=True):
        prompt = sampler.tokenizer(text).input_ids
        options = {"do_sample": False, "max_new_tokens": 9, "stop_strings": None, "pad_token_id": 0}
        ((ids, score),) = generated(sampler.model, prompt, **options)
        assert one["ids"] == ids
        assert one["score"] == pytest.approx(score, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-do-sample", "--temperature", "0.5"], "temperature is for sampling; add do_sample"),
        (["--no-do-sample", "--seed", "3"], "seed is for sampling"),
        (["--alternatives", "2"], "alternatives are not sampled; set do_sample to false"),
        (["--prompt-lookup-num-tokens", "2"], "prompt_lookup_num_tokens is for greedy search alone"),
        (["--target-prefix", "a"], "target_prefix is for models with an encoder"),
        (["--output-attentions"], "export it with --with-attention"),
    ],
    ids=" ".join,
)
def test_what_has_no_meaning_is_refused_by_name(sampler: Published, arguments: list[str], message: str) -> None:
    finished = diptych("run", sampler.bundle, *arguments, *TEXTS)
    assert (finished.status, finished.lines) == (2, [])
    assert message in finished.stderr


def test_a_continuations_score(sampler: Published) -> None:
    pairs = [(text, f" {other.strip()}") for text, other in zip(TEXTS, reversed(TEXTS), strict=True)]
    found = results(sampler.bundle, "--score", *("\t".join(both) for both in pairs))
    for (text, target), one in zip(pairs, found, strict=True):
        prompt = sampler.tokenizer(text).input_ids
        assert prompt + one["ids"] == sampler.tokenizer(text + target).input_ids
        with torch.no_grad():
            logits = sampler.model(torch.tensor([prompt + one["ids"]])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1)[range(len(one["ids"])), one["ids"]].tolist()
        assert one["token_scores"] == pytest.approx(expected, abs=TOLERANCE)
        assert one["score"] == pytest.approx(sum(expected), abs=TOLERANCE * 10)


def test_a_given_translations_score(pair: Published) -> None:
    pairs = list(zip(TEXTS, reversed(TEXTS), strict=True))
    lines = "".join(f"{text}\t{target}\n" for text, target in pairs)
    found = results(pair.bundle, "--score", stdin=lines)
    told = diptych("run", pair.bundle, "--score", "--batch-tokens", "1", stdin=lines)
    assert (told.status, told.stderr) == (0, "")
    assert [float(line) for line in told.lines] == pytest.approx([one["score"] for one in found], abs=TOLERANCE * 10)
    for (text, target), one in zip(pairs, found, strict=True):
        source, labels = (pair.tokenizer(each, return_tensors="pt").input_ids for each in (text, target))
        assert one["ids"] == labels[0].tolist()
        with torch.no_grad():
            logits = pair.model(input_ids=source, labels=labels).logits[0]
        expected = logits.log_softmax(-1)[range(len(one["ids"])), one["ids"]].tolist()
        assert one["token_scores"] == pytest.approx(expected, abs=TOLERANCE)


def test_bad_rows_of_targets_keep_their_places(pair: Published) -> None:
    finished = diptych("run", pair.bundle, "--score", stdin="Hello!\tBye!\nnothing\n\t\nHello!\t\nHello!\tBye!\n")
    assert finished.status == 1
    assert finished.lines == [finished.lines[0], "", "", "", finished.lines[0]]
    told = finished.stderr.splitlines()
    assert [line.partition(":")[0] for line in told] == ["line 2", "line 3", "line 4"]
    assert "expected text<TAB>target, found no tabs" in told[0]


def test_attention_is_the_networks(pair: Published) -> None:
    for layer in (-1, 0):
        arguments = ["--output-attentions", "--attention-layer", str(layer), "--num-beams", "1", "--output-scores"]
        for text, one in zip(TEXTS, results(pair.bundle, *arguments, *TEXTS), strict=True):
            source = pair.tokenizer(text, return_tensors="pt").input_ids
            pair.model.set_attn_implementation("eager")
            with torch.no_grad():
                read = torch.tensor([[2, *one["ids"][:-1]]])
                heads = pair.model(input_ids=source, decoder_input_ids=read, output_attentions=True).cross_attentions
            attention = np.array(one["attention"])
            assert attention.shape == (len(one["ids"]), source.shape[1])
            np.testing.assert_allclose(attention, heads[layer][0].mean(dim=0), atol=1e-4)
            np.testing.assert_allclose(attention.sum(axis=1), 1.0, atol=1e-4)
            assert len(one["token_scores"]) == len(one["ids"])


@pytest.mark.parametrize("beams", [1, 3])
def test_a_prefix_comes_after_a_forced_token(pair: Published, beams: int, tmp_path: Path) -> None:
    prefixes = ["the lazy dog", None, "Paris", "the"]
    rows = [{"text": text, "target_prefix": prefix} for text, prefix in zip(TEXTS, prefixes, strict=False)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    options = {"num_beams": beams, "max_new_tokens": 8}
    arguments = ["--num-beams", str(beams), "--max-new-tokens", "8", "--target-prefix", "a"]
    found = results(pair.bundle, *arguments, "--input", tmp_path / "rows.jsonl")
    tokenizer = pair.tokenizer
    for row, one in zip(rows, found, strict=True):
        prefix = tokenizer(row["target_prefix"] or "a", add_special_tokens=False).input_ids
        given = [2, 0, *prefix]
        source = tokenizer(row["text"], return_tensors="pt")
        with torch.no_grad():
            theirs = pair.model.generate(**source, decoder_input_ids=torch.tensor([given]), **options)[0].tolist()
        assert [*given, *one["ids"]] == theirs
        assert one["text"] == tokenizer.decode(theirs, skip_special_tokens=True).strip()
        assert one["text"].startswith(row["target_prefix"] or "a")


def test_prefixes_and_streams_in_python(pair: Published) -> None:
    translate = load(pair.bundle, threads=1)
    options = {"max_new_tokens": 7}
    for text in TEXTS:
        for prompt in (text, Prompt(text, "Paris is")):
            for beams in (1, 4):
                (whole,) = translate([prompt], num_beams=beams, **options)
                assert "".join(translate.stream(prompt, num_beams=beams, **options)) == whole
    assert translate([Prompt(TEXTS[0], "Paris is")], **options)[0].startswith("Paris is")
