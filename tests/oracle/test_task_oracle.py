"""Tasks of encoder-only models against the pipelines of transformers, over the same tiny BERT of random weights."""

from typing import Any

import numpy as np
import pytest
import torch
from readers import PIECES, VOCABULARY, manifest, word_pieces
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    PreTrainedTokenizerFast,
    pipeline,
)

from diptych.runtime import ports
from diptych.runtime.encoder import Encoder
from diptych.runtime.graph import Array, Arrays, Shape
from diptych.runtime.manifest import Labels
from diptych.runtime.tasks.classify import Classifier
from diptych.runtime.tasks.fill import Filler
from diptych.runtime.tasks.tag import Tagger
from diptych.runtime.tokenizer import Tokenizer

POSITIONS = 24
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "NOUN")
TOLERANCE = 1e-5


class Network:
    """A network of transformers as a graph."""

    def __init__(self, network: Any, axes: Shape) -> None:
        self.network = network
        self.inputs: dict[str, Shape] = dict.fromkeys(
            (ports.INPUT_IDS, ports.ATTENTION_MASK, ports.TOKEN_TYPE_IDS), (ports.ROWS, ports.SEQUENCE_LENGTH)
        )
        self.outputs: dict[str, Shape] = {ports.LOGITS: axes}

    def run(self, feeds: Arrays) -> dict[str, Array]:
        with torch.no_grad():
            values = self.network(**{name: torch.from_numpy(value) for name, value in feeds.items()})
        return {ports.LOGITS: values.logits.numpy()}


def network(kind: Any, seed: int = 0, **settings: Any) -> Any:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=POSITIONS, initializer_range=0.6, **settings,
    )  # fmt: skip
    return kind(config).eval()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return PreTrainedTokenizerFast(
        tokenizer_file=str(word_pieces(tmp_path_factory.mktemp("theirs"))), model_max_length=POSITIONS,
        unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
        model_input_names=[ports.INPUT_IDS, ports.TOKEN_TYPE_IDS, ports.ATTENTION_MASK],
    )  # fmt: skip


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer(word_pieces(tmp_path_factory.mktemp("ours")))


def texts(count: int, longest: int, seed: int) -> list[str]:
    """Words glued and apart, known and not, with accents and emoji."""
    random = np.random.default_rng(seed)
    words = [*(piece.removeprefix("##") for piece in PIECES), "capital", "capitals", "Café", "xyz", "😀", "cafe\u0301s"]
    return [
        "".join(word + random.choice(["", " ", "  "]) for word in random.choice(words, random.integers(1, longest)))
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("problem", "labels"),
    [
        *[("single_label_classification", labels) for labels in (2, 5)],
        *[(problem, labels) for problem in ("multi_label_classification", None) for labels in (1, 2, 5)],
    ],
)
def test_classes_and_scores(theirs: Any, ours: Tokenizer, problem: str | None, labels: int) -> None:
    model = network(BertForSequenceClassification, num_labels=labels, problem_type=problem)
    names = Labels(
        tuple(model.config.id2label.values()),
        "sigmoid" if problem == "multi_label_classification" or model.config.num_labels == 1 else "softmax",
    )
    classify = Classifier(ours, Encoder(Network(model, (ports.ROWS, labels)), manifest("classify", POSITIONS, names)))
    inputs: list[Any] = [*texts(20, 12, 1), ("who is old", "paris is"), ("Café", "very, very old")]
    reference = pipeline("text-classification", model=model, tokenizer=theirs, device="cpu")
    for text, found in zip(inputs, classify(inputs, batch_size=4), strict=True):
        expected = reference(text if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}, top_k=None)
        assert [item["label"] for item in expected] == list(found.scores)
        assert [item["score"] for item in expected] == pytest.approx(list(found.scores.values()), abs=TOLERANCE)
        assert (found.label, found.score) == next(iter(found.scores.items()))


@pytest.mark.parametrize("aggregation", ["none", "simple", "first", "average", "max"])
def test_entities(theirs: Any, ours: Tokenizer, aggregation: str) -> None:
    model = network(BertForTokenClassification, num_labels=len(TAGS), id2label=dict(enumerate(TAGS)))
    graph = Network(model, (ports.ROWS, ports.SEQUENCE_LENGTH, len(TAGS)))
    tag = Tagger(ours, Encoder(graph, manifest("tag", POSITIONS, Labels(TAGS))))
    reference = pipeline(
        "token-classification", model=model, tokenizer=theirs, aggregation_strategy=aggregation, device="cpu"
    )
    inputs = [text for text in texts(60, 12, 2) if len(theirs(text).input_ids) <= POSITIONS]
    assert len(inputs) > 40
    for text, found in zip(inputs, tag(inputs, aggregation=aggregation, batch_size=8), strict=True):
        expected = reference(text)
        key = "entity" if aggregation == "none" else "entity_group"
        assert [(item[key], item["start"], item["end"]) for item in expected] == [
            (entity.label, entity.start, entity.end) for entity in found.entities
        ]
        assert [item["score"] for item in expected] == pytest.approx(
            [entity.score for entity in found.entities], abs=TOLERANCE
        )


@pytest.mark.parametrize("top_k", [1, 5, 20])
def test_candidates(theirs: Any, ours: Tokenizer, top_k: int) -> None:
    model = network(BertForMaskedLM)
    graph = Network(model, (ports.ROWS, ports.SEQUENCE_LENGTH, len(VOCABULARY)))
    fill = Filler(ours, Encoder(graph, manifest("fill", POSITIONS)))
    reference = pipeline("fill-mask", model=model, tokenizer=theirs, device="cpu")
    inputs = [f"{one} [MASK] {other}" for one, other in zip(texts(20, 5, 3), texts(20, 5, 4), strict=True)]
    inputs += ["[MASK] is the [MASK].", "[MASK][MASK]s"]
    for text, found in zip(inputs, fill(inputs, top_k=top_k), strict=True):
        expected = reference(text, top_k=top_k)
        if text.count("[MASK]") == 1:
            assert found.text == expected[0]["sequence"]
            expected = [expected]
        assert [[(item["token"], item["token_str"]) for item in mask] for mask in expected] == [
            [(candidate.id, candidate.token) for candidate in mask] for mask in found.masks
        ]
        assert [item["score"] for mask in expected for item in mask] == pytest.approx(
            [candidate.score for mask in found.masks for candidate in mask], abs=TOLERANCE
        )
