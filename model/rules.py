"""Renames as data: ordered rules that turn a checkpoint's tensors into ours."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Rename:
    """`re.sub(pattern, replacement)` on every name."""

    pattern: str
    replacement: str

    def __call__(self, name: str, tensor: Tensor) -> Tensors:
        return {re.sub(self.pattern, self.replacement, name): tensor}


@dataclass(frozen=True)
class Split:
    """A fused tensor becomes equal parts along an axis, the first or the last, one for each replacement."""

    pattern: str
    replacements: tuple[str, ...]
    axis: Literal[0, -1] = 0

    def __call__(self, name: str, tensor: Tensor) -> Tensors:
        if not re.search(self.pattern, name) or tensor.ndim == 0 or tensor.shape[self.axis] % len(self.replacements):
            return {name: tensor}
        parts = tensor.chunk(len(self.replacements), dim=self.axis)
        return {re.sub(self.pattern, new, name): part for new, part in zip(self.replacements, parts, strict=True)}


@dataclass(frozen=True)
class Transpose:
    """[out, in], as `torch.nn.Linear` stores it, becomes our [in, out]."""

    pattern: str

    def __call__(self, name: str, tensor: Tensor) -> Tensors:
        return {name: tensor.T if re.search(self.pattern, name) and tensor.ndim == 2 else tensor}


@dataclass(frozen=True)
class Squeeze:
    """A leading axis of length 1 goes: a row vector [1, n] becomes [n]."""

    pattern: str

    def __call__(self, name: str, tensor: Tensor) -> Tensors:
        return {name: tensor.squeeze(0) if re.search(self.pattern, name) and tensor.ndim else tensor}


@dataclass(frozen=True)
class Ignore:
    """Tensors that are computed here, not loaded."""

    pattern: str

    def __call__(self, name: str, tensor: Tensor) -> Tensors:
        return {} if re.search(self.pattern, name) else {name: tensor}


@dataclass(frozen=True)
class Zeros:
    """A vector that some checkpoints leave out because it is zero."""

    name: str
    length: int

    def default(self, _: Tensors) -> Tensor | None:
        return torch.zeros(self.length)


@dataclass(frozen=True)
class Copy:
    """A tensor that some checkpoints leave out because it equals another."""

    name: str
    original: str

    def default(self, tensors: Tensors) -> Tensor | None:
        return tensors.get(self.original)


@dataclass(frozen=True)
class Spare:
    """A tensor that stands in for another where that is missing, and goes where it is not."""

    name: str
    spare: str

    def default(self, tensors: Tensors) -> Tensor | None:
        return tensors.get(self.spare)


Rule = Rename | Split | Transpose | Squeeze | Ignore | Zeros | Copy | Spare

TRANSPOSE_LINEARS = Transpose(r"\.(query|key|value|output|up|gate|down|dense|projection)\.weight$")
# What is left of a checkpoint whose states are asked for: no head, and of two panels the encoder.
_HEADS = Ignore(r"^(head|score|classifier|qa_outputs|classification_head|multiple_choice_head)\.")
WITHOUT_HEAD = (_HEADS,)
ENCODER_ALONE = (_HEADS, Ignore(r"^decoder\."))
SHARED_TOKENS = (Rename(r"^decoder\.embedding\.tokens\.", "encoder.embedding.tokens."),)


def apply_rules(rules: Sequence[Rule], tensors: Tensors) -> tuple[Tensors, list[str]]:
    """Apply each rule, in order, to every tensor; also the problems: two different tensors that claim one name."""
    result: Tensors = {}
    origin: dict[str, str] = {}
    clashes = []
    changes = [rule for rule in rules if not isinstance(rule, Zeros | Copy | Spare)]
    for original, tensor in tensors.items():
        renamed = {original: tensor}
        for change in changes:
            renamed = {new: part for name, value in renamed.items() for new, part in change(name, value).items()}
        for name, part in renamed.items():
            if name in result and not same(result[name], part):
                clashes.append(f"{origin[name]} and {original} are both {name}, and differ")
            result[name], origin[name] = part, original
    for rule in rules:
        if isinstance(rule, Zeros | Copy | Spare) and rule.name not in result:
            default = rule.default(result)
            result |= {} if default is None else {rule.name: default}
        if isinstance(rule, Spare):
            result.pop(rule.spare, None)
    return result, clashes


def same(one: Tensor, other: Tensor) -> bool:
    """Equal in shape and values, whatever their types."""
    return one.shape == other.shape and torch.equal(one, other.to(one.dtype))
