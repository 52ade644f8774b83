"""What language models share: which tasks their checkpoints can do."""

from collections.abc import Mapping, Sequence

from diptych.model.config import Config


def tasks(config: Config, *, tied: bool = True) -> Mapping[str, Sequence[str]]:
    """Generating needs a head: in the file, or the token matrix where the two are tied (`tied` where nothing says)."""
    head = () if config.get("tie_word_embeddings", bool, tied) else (r"^lm_head\.weight$",)
    return {"generate": head, "embed": ()}
