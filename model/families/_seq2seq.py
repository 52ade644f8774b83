"""What encoder-decoders share: which tasks their checkpoints can do."""

from collections.abc import Mapping, Sequence
from typing import Literal

from diptych.model.config import Config

Task = Literal["translate", "summarise", "generate"]

# A checkpoint that speaks of one of these alone was made for it.
_SPECIFIC: dict[str, Task] = {"translation": "translate", "summarization": "summarise"}


def tasks(config: Config, usual: Task) -> Mapping[str, Sequence[str]]:
    """Text to text needs both panels, under whichever name; embeddings the encoder alone."""
    kinds = {key.partition("_")[0] for key in config.get("task_specific_params", dict, {})}
    named = [task for kind, task in _SPECIFIC.items() if kind in kinds]
    first = named[0] if usual == "generate" and len(named) == 1 else usual
    both = (r"(^|\.)encoder\.", r"(^|\.)decoder\.")
    return {**dict.fromkeys((first, "translate", "summarise", "generate"), both), "embed": both[:1]}
