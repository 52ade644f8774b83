"""BERT (Devlin et al. 2018)."""

from collections.abc import Mapping, Sequence

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families._bert_layout import STACK, activation, stack, vocabulary_head
from diptych.model.families._heads import head
from diptych.model.rules import Ignore, Rename, Rule, Spare

HEADS: dict[str, tuple[Rule, ...]] = {
    "answer": (Rename(r"^qa_outputs\.", "head.output."),),
    "classify": (Rename(r"^pooler\.", "head."), Rename(r"^classifier\.", "head.output.")),
    "tag": (Rename(r"^classifier\.", "head.output."),),
    "fill": (
        Rename(r"^cls\.predictions\.transform\.LayerNorm\.", "head.transform.norm."),
        Rename(r"^cls\.predictions\.bias$", "head.spare_bias"),
        Rename(r"^cls\.predictions\.(decoder\.)?", "head."),
        Spare("head.bias", "head.spare_bias"),
    ),
    "embed": (),
}


def tasks(config: Config) -> Mapping[str, Sequence[str]]:
    return {
        "answer": (r"^qa_outputs\.weight$",),
        "classify": (r"^classifier\.weight$", r"pooler\.dense\.weight$"),
        "tag": (r"^classifier\.weight$",),
        "fill": (r"^cls\.predictions\.transform\.dense\.weight$",),
        "embed": (r"embeddings\.word_embeddings\.weight$",),
    }


def architecture(config: Config, task: str) -> arch.EncoderOnly:
    encoder = stack(config, arch.Learned(config.size("max_position_embeddings")), unplaced=None)
    return arch.EncoderOnly(encoder, head(config, task, "tanh", vocabulary_head(config, activation(config))))


def rules(config: Config, task: str) -> Sequence[Rule]:
    others = Ignore(r"^(pooler|cls|classifier|qa_outputs)\.")
    return (Rename(r"^bert\.", ""), *HEADS[task], others, *STACK)
