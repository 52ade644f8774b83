"""Run a bundle: its graphs in ONNX Runtime, texts in, and out whatever the bundle is for.

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
from diptych.runtime.loading import load
from diptych.runtime.options import GenerationOptions
from diptych.runtime.strategies import Hypothesis
from diptych.runtime.tasks.answer import Answer, Answerer, Span
from diptych.runtime.tasks.classify import Classification, Classifier
from diptych.runtime.tasks.embed import Embedder
from diptych.runtime.tasks.entities import Entity
from diptych.runtime.tasks.fill import Candidate, Filled, Filler
from diptych.runtime.tasks.generate import GeneratedText, TextGenerator
from diptych.runtime.tasks.tag import Tagger, Tags

__all__ = [
    "Answer",
    "Answerer",
    "BundleError",
    "BundleNotFoundError",
    "Candidate",
    "Classification",
    "Classifier",
    "DiptychError",
    "Embedder",
    "EngineError",
    "Entity",
    "Filled",
    "Filler",
    "GeneratedText",
    "GenerationOptions",
    "Generator",
    "Hypothesis",
    "InputError",
    "OptionError",
    "ProviderError",
    "Span",
    "Tagger",
    "Tags",
    "TextGenerator",
    "load",
    "load_generator",
]
