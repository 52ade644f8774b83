"""Encoders alone: all of their heads."""

from families.case import ENDS, PAD, POSITIONS, VOCAB, Case, Values

BERT: Values = {
    **ENDS,
    "vocab_size": VOCAB,
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": POSITIONS,
}
ROBERTA: Values = {**BERT, "max_position_embeddings": POSITIONS + PAD + 1, "type_vocab_size": 1}
DISTILBERT: Values = {
    **ENDS,
    "vocab_size": VOCAB,
    "dim": 24,
    "n_layers": 1,
    "n_heads": 3,
    "hidden_dim": 40,
    "max_position_embeddings": POSITIONS,
}
HEADS = {
    "embed": ("Model", {}),
    "fill": ("ForMaskedLM", {}),
    "classify": ("ForSequenceClassification", {"num_labels": 5}),
    "tag": ("ForTokenClassification", {"num_labels": 3}),
    "answer": ("ForQuestionAnswering", {}),
}


def _encoders(
    family: str, prefix: str, config: Values, layers: str, exported: tuple[str, ...], **other: Values
) -> list[Case]:
    """A model for each head; also a deep one, and the `other` ones, by name, with a vocabulary.

    exported: of these tasks. The three RoBERTas are one in code, and share the heads out among them.
    """
    cases = [
        Case(family, task, f"{prefix}{end}", config | values, exported=task in exported)
        for task, (end, values) in HEADS.items()
    ]
    deep = Case(family, "classify", f"{prefix}ForSequenceClassification", config | {layers: 5}, "five layers")
    return [*cases, deep, *(Case(family, "fill", f"{prefix}ForMaskedLM", config | v, n) for n, v in other.items())]


ALL = tuple(HEADS)
ENCODERS = [
    *_encoders(
        "bert", "Bert", BERT, "num_hidden_layers", ("embed", "classify", "tag", "answer"),
        untied={"tie_word_embeddings": False, "num_hidden_layers": 2}, relu={"hidden_act": "relu"},
    ),
    *_encoders(
        "roberta", "Roberta", ROBERTA, "num_hidden_layers", ("fill", "classify", "answer"),
        untied={"tie_word_embeddings": False}, **{"two token types": {"type_vocab_size": 2}},
    ),
    *_encoders("xlm-roberta", "XLMRoberta", ROBERTA, "num_hidden_layers", ("embed",)),
    *_encoders("camembert", "Camembert", ROBERTA, "num_hidden_layers", ("tag",)),
    *_encoders(
        "distilbert", "DistilBert", DISTILBERT, "n_layers", ALL,
        untied={"tie_word_embeddings": False}, relu={"activation": "relu"},
    ),
]  # fmt: skip
