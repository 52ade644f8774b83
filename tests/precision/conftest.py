"""Models traced once for all tests of precision."""

from collections.abc import Callable

import pytest
import transformers
from precision.models import CASES, Traced, trace_case

GetTraced = Callable[[str], Traced]


@pytest.fixture(scope="session")
def traced(tmp_path_factory: pytest.TempPathFactory) -> GetTraced:
    found: dict[str, Traced] = {}

    def get(name: str) -> Traced:
        if name not in found:
            transformers.logging.set_verbosity_error()
            transformers.logging.disable_progress_bar()
            found[name] = trace_case(CASES[name], tmp_path_factory.mktemp("precision") / "checkpoint")
        return found[name]

    return get
