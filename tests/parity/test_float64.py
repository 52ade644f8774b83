"""A float32 network under `Float64` computes what its float64 copy does, and stays float32."""

import copy

import pytest
import torch
from own_models import EVERY
from tiny_checkpoints import fill
from torch.utils import _pytree as pytree

from diptych.export import float64
from diptych.export.float64 import Float64
from diptych.export.graphs import graphs
from diptych.model import architecture as arch
from diptych.model.networks import make_network

TASKS = {arch.EncoderDecoder: "translate", arch.DecoderOnly: "generate", arch.EncoderOnly: "tag"}


def widened(network: torch.nn.Module) -> torch.nn.Module:
    wide = copy.deepcopy(network).double()
    for ours, theirs in zip(wide.buffers(), network.buffers(), strict=True):
        assert torch.equal(ours, theirs.to(ours.dtype))
    return wide


@pytest.mark.parametrize("spec", EVERY, ids=lambda spec: type(spec).__name__)
@pytest.mark.parametrize("numbers", [1 << 22, 8], ids=["whole", "in columns"])
def test_every_operation_is_wide(spec: arch.Architecture, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float64, "_WIDE", numbers)
    network = make_network(spec).eval().requires_grad_(False)
    fill(network, 3)
    task = TASKS[type(spec)]
    for one, other in zip(graphs(network, task), graphs(widened(network), task), strict=True):
        arguments = pytree.tree_map(
            lambda tensor: tensor.double() if tensor.is_floating_point() else tensor, other.arguments
        )
        with torch.inference_mode():
            expected = pytree.tree_leaves(other.module(*arguments))
            narrow = pytree.tree_leaves(one.module(*one.arguments))
            with Float64():
                found = pytree.tree_leaves(one.module(*one.arguments))
        assert all(tensor.dtype == torch.float64 for tensor in found)
        for ours, theirs, rounded in zip(found, expected, narrow, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
            assert not rounded.is_floating_point() or (rounded.double() - theirs).abs().max() < 1e-3
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
