"""Tables that rows are taken of are found in the bytes of a graph."""

from pathlib import Path

import numpy as np
import pytest

from diptych.runtime import ports
from diptych.runtime.manifest import Manifest
from diptych.runtime.onnx_bytes import Node, Value, model
from diptych.runtime.tables import tables


@pytest.mark.parametrize("graph", [ports.ENCODER_FILE, ports.DECODER_FILE])
def test_an_embedding_is_where_the_manifest_has_it(bundle: Path, graph: str) -> None:
    manifest = Manifest.read(bundle)
    (table,) = tables((bundle / graph).read_bytes(), ports.INPUT_IDS)
    (entry,) = [each for each in manifest.tensors.values() if each.offset == table.offset]
    assert entry.shape[0] == table.rows == manifest.source_vocabulary
    assert entry.length == table.row * table.rows


def test_each_input_takes_rows_of_its_own(bundle: Path) -> None:
    graph = (bundle / ports.DECODER_FILE).read_bytes()
    found = [tables(graph, name) for name in (ports.INPUT_IDS, ports.POSITION_IDS, ports.ENCODER_ATTENTION_MASK)]
    assert [len(each) for each in found] == [1, 1, 0]
    assert found[0] != found[1]


def test_what_is_in_no_file_is_passed_over() -> None:
    wide, whole = np.dtype(np.float32), np.dtype(np.int64)
    nodes = [Node("Gather", ["table", "input_ids"], ["rows"], {})]
    inputs = [Value("input_ids", whole, 1), Value("table", wide, 2)]
    assert tables(model(nodes, inputs, [Value("rows", wide, 2)]), "input_ids") == ()
    assert tables(b"", "input_ids") == ()
