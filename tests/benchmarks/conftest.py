"""The benchmarks are scripts beside a package of their own; they are imported as their scripts import them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
