"""What a filter is, and in which rows it acts."""

from collections.abc import Callable

import numpy as np

from diptych.runtime.generation.history import History
from diptych.runtime.graph import Array

# Edits scores [R, V], float32, in place, by what each row's own history says. It remembers nothing between calls:
# rows are reordered, leave and join, and may be asked about before they are decided.
Filter = Callable[[History, Array], None]

# Which rows, as bool [R].
Condition = Callable[[History], Array]

FORBIDDEN = np.float32(-np.inf)
