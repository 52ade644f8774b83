"""Run a bundle: encoder and decoder graphs in ONNX Runtime, greedy and beam search, text in and text out.

Needs neither torch nor onnx.
"""

from diptych.runtime.errors import (
    BundleError,
    BundleNotFoundError,
    DiptychError,
    EngineError,
    InputError,
    OptionError,
    ProviderError,
)
from diptych.runtime.generator import Generator, load_generator
from diptych.runtime.options import GenerationOptions
from diptych.runtime.strategies import Hypothesis
from diptych.runtime.translator import Translation, Translator, load

__all__ = [
    "BundleError",
    "BundleNotFoundError",
    "DiptychError",
    "EngineError",
    "GenerationOptions",
    "Generator",
    "Hypothesis",
    "InputError",
    "OptionError",
    "ProviderError",
    "Translation",
    "Translator",
    "load",
    "load_generator",
]
