"""One model to be compared, and the sizes that all of them share: odd ones, which hide nothing."""

from dataclasses import dataclass
from typing import Any

Values = dict[str, Any]

VOCAB, PAD, EOS, START, POSITIONS = 67, 1, 2, 3, 40
GENERATE, BEAMS = "generate", 4
SEARCHES = [(1, "greedy"), (BEAMS, f"{BEAMS} beams")]
ENDS: Values = {"pad_token_id": PAD, "eos_token_id": EOS}


@dataclass(frozen=True)
class Case:
    """`model` and `config` in the words of transformers, `task` what the checkpoint is then for.

    name: what is particular about it, empty for the family's usual form. exported: its graphs are traced, too. alone:
    in transformers a text depends on those in its batch, in ours it does not; on the past both do.
    """

    family: str
    task: str
    model: str
    config: Values
    name: str = ""
    exported: bool = False
    alone: bool = False

    def __str__(self) -> str:
        return f"{self.family}, {self.task}" + (f", {self.name}" if self.name else "")
