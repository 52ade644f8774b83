"""The best of all logits, found where these lie: only what was chosen comes to the host."""

from typing import Any

import numpy as np

from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.engine import reason
from diptych.runtime.errors import EngineError
from diptych.runtime.graph import DTYPES, Array
from diptych.runtime.onnx_bytes import ELEMENT_TYPES, Node, Value, model
from diptych.runtime.ranked import LEAST, Ranked, log_sum
from diptych.runtime.sessions import Device

_INT64, _FLOAT32 = np.dtype(np.int64), np.dtype(np.float32)
# More than any vocabulary has tokens; float32 tells twice as many from each other, and more.
_MANY = np.array(1 << 22, dtype=np.float32)
_FETCHED = ("tokens", "chosen", "told", "sums")


class DeviceRanking:
    """What `ranked` does, as a graph on a device."""

    def __init__(self, device: Device, logits: Any) -> None:
        """logits: any of those that are to come, [R, T, V]."""
        self._place = f"{device.kind}:{device.number}"
        self._vocabulary = int(logits.shape()[2])
        self._session = device.session(_written(DTYPES[logits.data_type()]))
        places = np.arange(self._vocabulary, dtype=np.float32)
        self._places = ort.OrtValue.ortvalue_from_numpy(places, device.kind, device.number)

    def __call__(self, logits: Any, count: int, asked: Array) -> Ranked:
        """Of logits [R, T, V], after the last token; where they are no numbers, the sum is none either.

        Raises EngineError.
        """
        count = min(count, self._vocabulary)
        integers = {"count": [count], "worst": [count - 1], "best": [0], "axis": [2], "asked": asked}
        binding = self._session.io_binding()
        for name, value in integers.items():
            binding.bind_cpu_input(name, np.asarray(value, dtype=np.int64))
        binding.bind_cpu_input("least", np.array(LEAST))
        binding.bind_cpu_input("many", _MANY)
        binding.bind_ortvalue_input("places", self._places)
        binding.bind_ortvalue_input("logits", logits)
        for name in _FETCHED:
            binding.bind_output(name)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # Out of memory, or a driver that gave up.
            raise EngineError(f"the best tokens cannot be found on {self._place}: {reason(error)}") from error
        tokens, chosen, told, sums = (value[:, -1] for value in binding.copy_outputs_to_cpu())
        order = (-chosen).argsort(axis=1, kind="stable")
        rows = np.arange(len(order))[:, None]
        tokens, chosen = tokens[rows, order], chosen[rows, order]
        return Ranked(tokens, chosen, log_sum(chosen[:, 0], sums), told)


def _written(dtype: np.dtype[np.generic]) -> bytes:
    """A model of what `ranked` computes; equals are taken in the order of the vocabulary.

    The operator TopK of a GPU does not say which of equals it takes, so it is asked twice: for the values, then for the
    places of what is above the last of them, before those of its equals.
    """
    wide = {"to": ELEMENT_TYPES[_FLOAT32.name]}
    nodes = [
        Node("Cast", ["logits"], ["wide"], wide),
        Node("TopK", ["wide", "count"], ["values", "unsure"], {}),
        Node("Gather", ["values", "worst"], ["bound"], {"axis": 2}),
        Node("Greater", ["wide", "bound"], ["is_above"], {}),
        Node("GreaterOrEqual", ["wide", "bound"], ["reaches"], {}),
        Node("Cast", ["is_above"], ["above"], wide),
        Node("Cast", ["reaches"], ["reaching"], wide),
        Node("Add", ["above", "reaching"], ["class"], {}),
        Node("Mul", ["class", "many"], ["class_first"], {}),
        Node("Sub", ["class_first", "places"], ["order"], {}),
        Node("TopK", ["order", "count"], ["unused", "tokens"], {}),
        Node("GatherElements", ["wide", "tokens"], ["chosen"], {"axis": 2}),
        Node("Gather", ["wide", "asked"], ["told"], {"axis": 2}),
        Node("Gather", ["values", "best"], ["largest"], {"axis": 2}),
        Node("Max", ["largest", "least"], ["offset"], {}),
        Node("Sub", ["wide", "offset"], ["below"], {}),
        Node("Exp", ["below"], ["exponentials"], {}),
        Node("ReduceSum", ["exponentials", "axis"], ["sums"], {"keepdims": 0}),
    ]
    inputs = [
        Value("logits", dtype, 3),
        *(Value(name, _INT64, 1) for name in ("count", "worst", "best", "axis", "asked")),
        *(Value(name, _FLOAT32, 0) for name in ("least", "many")),
        Value("places", _FLOAT32, 1),
    ]
    outputs = [Value("tokens", _INT64, 3), Value("chosen", _FLOAT32, 3), Value("told", _FLOAT32, 3)]
    return model(nodes, inputs, [*outputs, Value("sums", _FLOAT32, 2)])
