"""A bundle that classifies, of a few kilobytes, and the command as a shell runs it."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from readers import VOCABULARY, manifest, word_pieces

from diptych.runtime import ports
from diptych.runtime.bundle import file_digest
from diptych.runtime.manifest import Labels

Command = Callable[..., list[str]]
PROGRAM = Path(sys.executable).parent / "diptych"


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of a text are the softmax of its tokens' means in a table."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    table = np.random.default_rng(1).normal(size=(len(VOCABULARY), 3)).astype(np.float32)
    both = [ports.ROWS, ports.SEQUENCE_LENGTH]
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", ports.INPUT_IDS], ["rows"]),
            helper.make_node("ReduceMean", ["rows", "axes"], [ports.LOGITS], keepdims=0),
        ],
        "classify",
        [helper.make_tensor_value_info(name, kinds.INT64, both) for name in (ports.INPUT_IDS, ports.ATTENTION_MASK)],
        [helper.make_tensor_value_info(ports.LOGITS, kinds.FLOAT, [ports.ROWS, 3])],
        [onnx.numpy_helper.from_array(table, "table"), onnx.numpy_helper.from_array(np.array([1]), "axes")],
    )
    folder = tmp_path_factory.mktemp("bundles") / "classifier"
    folder.mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (folder / ports.MODEL_FILE).write_bytes(model.SerializeToString())
    (folder / ports.WEIGHTS_FILE).touch()
    files = {name: file_digest(path) for name, path in (
        (ports.TOKENIZER_FILE, word_pieces(folder)), (ports.MODEL_FILE, folder / ports.MODEL_FILE))}  # fmt: skip
    replace(manifest("classify", 200, Labels(("good", "bad", "neither"))), files=files).write(folder)
    return folder


@pytest.fixture(scope="session")
def command(classifier: Path) -> Command:
    """`diptych run` with more arguments."""
    return lambda *more: [str(PROGRAM), "run", str(classifier), "--threads", "1", "--json", *map(str, more)]


@pytest.fixture(scope="session")
def run(command: Command) -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(*more: object, **settings: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(*more), capture_output=True, text=True, check=False, timeout=120, **settings)  # type: ignore[call-overload]

    return call


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,000 lines, some of them bad."""
    draw = np.random.default_rng(2)
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    words = [*list(VOCABULARY)[5:], "😀", "été"]
    rows = [" ".join(draw.choice(words, size=size)).encode() for size in draw.integers(1, 60, size=5000)]
    for number, bad in ((7, b""), (1500, b"caf\xe9"), (1501, b"  "), (4990, b"\xff")):
        rows[number] = bad
    path.write_bytes(b"\n".join(rows))
    return path
