"""Assertions of the modules that the tests share tell as much as the tests' own."""

import pytest

pytest.register_assert_rewrite("tasks.command", "tasks.checkpoints", "tasks.generated")
