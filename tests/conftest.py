"""Fixtures that many tests share."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

# Networks this small run faster on one thread than on several that wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The runtime's tests also run where there is no torch to make checkpoints with.
pytest_plugins = ["tiny_checkpoints"] if find_spec("torch") else []

CHECKPOINT = Path(__file__).parent.parent / "examples" / "eng-fra" / "checkpoint"


@pytest.fixture(scope="session")
def demo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that DIPTYCH_TEST_BUNDLE names, else the example's checkpoint, exported."""
    given = os.environ.get("DIPTYCH_TEST_BUNDLE")
    if given:
        return Path(given).resolve()
    from diptych.export import export_checkpoint

    folder = tmp_path_factory.mktemp("bundles") / "eng-fra"
    export_checkpoint(CHECKPOINT, folder)
    return folder
