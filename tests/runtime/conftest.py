"""The bundle that the command-line tests run on."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bundle(demo_bundle: Path) -> Path:
    return demo_bundle
