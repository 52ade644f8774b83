"""embed: vectors equal those pooled here from transformers' hidden states."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tasks.checkpoints import BERT, Published, bert_tokenizer, byte_pairs, export, publish, save, sentence_pieces
from tasks.command import diptych, results
from tasks.texts import TEXTS
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    GPT2Config,
    GPT2Model,
    GPT2Tokenizer,
    T5Config,
    T5EncoderModel,
)

Vectors = np.ndarray[Any, np.dtype[np.float32]]
POOLED: dict[str, Callable[[Vectors], Vectors]] = {
    "mean": lambda states: states.mean(axis=0),
    "cls": lambda states: states[0],
    "max": lambda states: states.max(axis=0),
    "last": lambda states: states[-1],
}
TOLERANCE = 1e-5


def expected(made: Published, pooling: str, *, normalize: bool, **reading: Any) -> Vectors:
    """Of all texts, each read alone."""
    readings = [made.tokenizer(text, return_tensors="pt", **reading) for text in TEXTS]
    with torch.no_grad():
        states = [made.model(**tokens).last_hidden_state[0].numpy() for tokens in readings]
    vectors = np.stack([POOLED[pooling](state) for state in states])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if normalize else vectors


def found(bundle: Path, *arguments: str) -> Vectors:
    """Of all texts, in batches of three."""
    objects = results(bundle, "--batch-size", "3", *arguments, *TEXTS)
    return np.array([item["embedding"] for item in objects], dtype=np.float32)


def same(ours: Vectors, theirs: Vectors) -> bool:
    assert np.std(theirs, axis=0).max() > 0.02, "the texts are all alike: nothing could be told apart"
    return ours.shape == theirs.shape and bool(np.abs(ours - theirs).max() < TOLERANCE * max(1, np.abs(theirs).max()))


def bert() -> tuple[BertModel, BertTokenizer]:
    tokenizer = bert_tokenizer()
    return BertModel(BertConfig(vocab_size=len(tokenizer), **BERT)), tokenizer


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(tmp_path_factory.mktemp("plain"), *bert())


def test_an_encoder_gives_the_mean_of_length_1(plain: Published) -> None:
    assert same(found(plain.bundle), expected(plain, "mean", normalize=True))


@pytest.mark.parametrize("pooling", POOLED)
@pytest.mark.parametrize("normalize", [True, False])
def test_pooling_as_the_call_says(plain: Published, pooling: str, normalize: bool) -> None:
    arguments = ["--pooling", pooling, "--normalize" if normalize else "--no-normalize"]
    assert same(found(plain.bundle, *arguments), expected(plain, pooling, normalize=normalize))


def test_lines_have_the_numbers_of_the_objects(plain: Published) -> None:
    finished = diptych("run", plain.bundle, *TEXTS)
    assert (finished.status, finished.stderr) == (0, "")
    lines = np.array([line.split(" ") for line in finished.lines], dtype=np.float32)
    assert np.abs(lines - found(plain.bundle)).max() < 1e-6


def test_similarity_is_the_cosine(plain: Published) -> None:
    pairs = list(zip(TEXTS, reversed(TEXTS), strict=True))
    objects = results(plain.bundle, "--similarity", *("\t".join(pair) for pair in pairs))
    vectors = expected(plain, "mean", normalize=True)
    cosines = (vectors * vectors[::-1]).sum(axis=1)
    assert [item["similarity"] for item in objects] == pytest.approx(cosines.tolist(), abs=TOLERANCE)
    vectors = expected(plain, "cls", normalize=True)
    objects = results(plain.bundle, "--similarity", "--pooling", "cls", "--no-normalize", "\t".join(pairs[1]))
    assert objects[0]["similarity"] == pytest.approx(float(vectors[1] @ vectors[-2]), abs=TOLERANCE)


def write(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


LONGEST = 9
FLAGS = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_max_tokens": False}
POOLINGS = [
    ("mean", True, "", FLAGS | {"pooling_mode_mean_tokens": True}),
    ("cls", False, "0_Transformer", FLAGS | {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}),
    ("max", True, "", {"embedding_dimension": 32, "pooling_mode": "max"}),
]


@pytest.mark.parametrize(("pooling", "normalize", "inside", "settings"), POOLINGS, ids=["mean", "cls", "max"])
def test_a_folder_of_sentence_transformers(
    pooling: str, normalize: bool, inside: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint"
    paths = {"Transformer": inside, "Pooling": "1_Pooling"} | ({"Normalize": "2_Normalize"} if normalize else {})
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, path) in enumerate(paths.items())
    ]
    model, tokenizer = bert()
    save(checkpoint / inside, model, tokenizer)
    write(checkpoint / "modules.json", modules)
    write(checkpoint / "1_Pooling" / "config.json", settings)
    write(checkpoint / inside / "sentence_bert_config.json", {"max_seq_length": LONGEST, "do_lower_case": False})
    made = export(checkpoint, model, inside=inside)
    cut = expected(made, pooling, normalize=normalize, truncation=True, max_length=LONGEST)
    assert same(found(made.bundle), cut)
    assert not same(cut, expected(made, pooling, normalize=normalize))


def decoder(folder: Path) -> Published:
    """GPT-2 without a head."""
    vocabulary, merges = byte_pairs(["<|endoftext|>"])
    config = GPT2Config(
        vocab_size=len(vocabulary), n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0
    )
    return publish(folder, GPT2Model(config), GPT2Tokenizer(vocab=vocabulary, merges=merges))


def half_of_two(folder: Path) -> Published:
    """T5's encoder, with the tokenizer file that T5 came with."""
    pieces = sentence_pieces(folder / "checkpoint" / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    config = T5Config(vocab_size=len(pieces) + 100, d_model=32, d_kv=10, d_ff=48, num_heads=3, num_layers=2)
    return publish(folder, T5EncoderModel(config))


@pytest.mark.parametrize(("make", "pooling"), [(decoder, "last"), (half_of_two, "mean")])
def test_other_models_of_states(make: Callable[[Path], Published], pooling: str, tmp_path: Path) -> None:
    made = make(tmp_path)
    assert same(found(made.bundle), expected(made, pooling, normalize=True))
