"""RoBERTa (Liu et al. 2019), and XLM-RoBERTa and CamemBERT, which differ in their tokenizers."""

from collections.abc import Mapping, Sequence

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families._bert_layout import STACK, stack, vocabulary_head
from diptych.model.families._heads import head
from diptych.model.rules import Ignore, Rename, Rule, Spare

HEADS: dict[str, tuple[Rule, ...]] = {
    "answer": (Rename(r"^qa_outputs\.", "head.output."),),
    "classify": (Rename(r"^classifier\.out_proj\.", "head.output."), Rename(r"^classifier\.", "head.")),
    "tag": (Rename(r"^classifier\.", "head.output."),),
    "fill": (
        Rename(r"^lm_head\.dense\.", "head.transform.dense."),
        Rename(r"^lm_head\.layer_norm\.", "head.transform.norm."),
        Rename(r"^lm_head\.bias$", "head.spare_bias"),
        Rename(r"^lm_head\.(decoder\.)?", "head."),
        Spare("head.bias", "head.spare_bias"),
    ),
    "embed": (),
}


def tasks(config: Config) -> Mapping[str, Sequence[str]]:
    return {
        "answer": (r"^qa_outputs\.weight$",),
        "classify": (r"^classifier\.out_proj\.weight$",),
        "tag": (r"^classifier\.weight$",),
        "fill": (r"^lm_head\.dense\.weight$",),
        "embed": (r"embeddings\.word_embeddings\.weight$",),
    }


def architecture(config: Config, task: str) -> arch.EncoderOnly:
    pad = config.get("pad_token_id", int, 1)
    count = config.size("max_position_embeddings") - pad - 1
    if pad < 0 or count < 1:
        config.fail(f"max_position_embeddings {count + pad + 1} leaves no position after pad_token_id {pad}")
    return arch.EncoderOnly(
        stack(config, arch.Learned(count, offset=pad + 1), unplaced=pad),
        head(config, task, "tanh", vocabulary_head(config, "gelu")),
    )


def rules(config: Config, task: str) -> Sequence[Rule]:
    others = Ignore(r"^(pooler|lm_head|classifier|qa_outputs)\.")
    return (Rename(r"^(roberta|camembert)\.", ""), *HEADS[task], others, *STACK)
