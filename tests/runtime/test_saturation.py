"""Products of 8-bit numbers stay exact, in the faster way where a processor has one."""

import pytest

from diptych.runtime import saturation, sessions
from diptych.runtime.engine import onnxruntime as ort

OPTION = "session.x64quantprecision"


@pytest.mark.parametrize("overflows", [True, False])
def test_the_slower_way_is_taken_where_products_overflow_alone(
    overflows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "saturates", lambda: overflows)
    options = sessions._session_options()
    if overflows:
        assert options.get_session_config_entry(OPTION) == "1"
    else:
        with pytest.raises(RuntimeError):
            options.get_session_config_entry(OPTION)


@pytest.mark.parametrize("overflows", [True, False])
def test_whether_products_overflow_is_seen_in_one(overflows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a pair's sum is cut off at 16 bits, as it is without VNNI."""

    class Session(ort.InferenceSession):
        def run(self, *arguments: object, **others: object) -> object:
            (found,) = super().run(*arguments, **others)
            return [found // 255 // 127 // 2 * 32767 if overflows else found]

    monkeypatch.setattr(ort, "InferenceSession", Session)
    assert saturation.saturates.__wrapped__() == overflows
