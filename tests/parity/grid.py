"""What is exported and verified: small models of every family, for each target, in each precision."""

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from families.case import EOS, PAD, START, VOCAB, Case
from families.cases import CASES
from families.twins import MakeTwins, Twins
from own_models import EVERY, as_json, own_checkpoint
from tiny_checkpoints import write_tokenizer

from diptych.model.networks import make_network
from diptych.model.tasks import GENERATING

# Set where all of the grid is to run.
EVERY_BUNDLE = "DIPTYCH_EVERY_BUNDLE"
OWN = "diptych"
# The kernel of the CPU's decoders alone takes no other widths.
LLAMA = next(case for case in CASES if str(case) == "llama, generate")
WIDE_HEADS = replace(LLAMA, name="heads of 8", config=LLAMA.config | {"head_dim": 8})
MODELS = [
    *(case for case in CASES if case.exported),
    WIDE_HEADS,
    Case(OWN, "translate", "", {}, "groups, a window, biases by distance"),
]
COLUMNS = [
    ("portable", "fp32"),
    ("cpu", "fp32"),
    ("portable", "fp16"),
    ("portable", "int8"),
    ("cpu", "int8"),
    ("portable", "int4"),
    ("cpu", "int4"),
]


@dataclass(frozen=True)
class Cell:
    """A model, for a target, in a precision."""

    case: Case
    target: str
    precision: str

    def __str__(self) -> str:
        return f"{self.case}, {self.target}, {self.precision}"

    @property
    def refused(self) -> bool:
        """By the CPU's decoders alone."""
        return self.target == "cpu" and self.case.family == "llama" and bool(self.case.config["head_dim"] % 8)

    @property
    def proven(self) -> set[str]:
        """Properties that must hold, and from which no model of this kind is exempt."""
        found = {"determinism", "batch invariance"}
        decodes = self.case.task in GENERATING
        reads = self.case.config.keys() & {"d_model", "nhead"} or self.case.family == OWN
        if decodes:
            found |= {"causality", "padding invariance", "rearranged rows", "autoregression"}
            found |= {"cross-attention"} if reads else set()
            found |= {"ranking"} if self.target == "cpu" else set()
        elif self.case.family in ("gpt2", "llama"):
            found |= {"causality"}
        if reads or not (decodes or "causality" in found):
            found |= {"bidirectionality"}
        if self.precision in (
            "fp16",
            "int4",
        ):  # What so small a network says of a change may be less than its rounding.
            found -= {"bidirectionality", "cross-attention"} | ({"causality"} if self.case.family == OWN else set())
        return found | ({"range of float16"} if self.precision == "fp16" else set())


GRID = [cell for case in MODELS for target, precision in COLUMNS if not (cell := Cell(case, target, precision)).refused]


def chosen() -> list[Cell]:
    """All of it if it is asked for; else every model portable, and every family for each target and in each precision,
    in int8 for both.
    """
    if os.environ.get(EVERY_BUNDLE):
        return GRID
    last = {case.family: case for case in MODELS}
    turns = {family: ("portable", "cpu")[turn % 2] for turn, family in enumerate(last)}
    return [
        cell
        for cell in GRID
        if (cell.target, cell.precision) == ("portable", "fp32")
        or (
            cell.case == last[cell.case.family]
            and (cell.precision in ("int8", "fp16") or cell.target == turns[cell.case.family])
        )
    ]


def own_twins(folder: Path) -> Twins:
    """A model of one's own, with much that no family has."""
    torch.manual_seed(1)
    network = make_network(EVERY[0])
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.4)
    folder.mkdir()
    ids = {"pad_token_id": PAD, "eos_token_id": EOS, "decoder_start_token_id": START}
    tensors = network.state_dict()
    own_checkpoint(folder, as_json(EVERY[0]), tensors, linear_layout="in_out", task="translate", **ids)
    return Twins(None, folder)


def twins_of(case: Case, make_twins: MakeTwins, folder: Path) -> Twins:
    return own_twins(folder / "checkpoint") if case.family == OWN else make_twins(case)


def with_tokenizer(case: Case, checkpoint: Path, folder: Path) -> Path:
    """A copy that reads texts, if the vocabulary is as large as the tokenizer's."""
    shutil.copytree(checkpoint, folder)
    if case.config.get("vocab_size") == VOCAB:
        write_tokenizer(folder / "tokenizer.json")
        if case.task == "fill":
            (folder / "tokenizer_config.json").write_text(json.dumps({"mask_token": "<unk>"}), encoding="utf-8")
    return folder
