"""Where things lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BENCHMARKS = ROOT / "benchmarks"
BUILD = ROOT / "build" / "benchmarks"
MODELS = BUILD / "models"
LOGS = BUILD / "logs"
RESULTS = BUILD / "results"
