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
from diptych.runtime.generation.generator import Generator
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.scoring import Scored
from diptych.runtime.generation.steps import Hypothesis, Progress
from diptych.runtime.loading import load, load_generator
from diptych.runtime.tasks.answer import Answer, Answerer, Span
from diptych.runtime.tasks.classify import Classification, Classifier
from diptych.runtime.tasks.embed import Embedder
from diptych.runtime.tasks.entities import Entity
from diptych.runtime.tasks.fill import Candidate, Filled, Filler
from diptych.runtime.tasks.generate import Prompt, TextGenerator
from diptych.runtime.tasks.generated import GeneratedText
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
    "Progress",
    "Prompt",
    "ProviderError",
    "Scored",
    "Span",
    "Tagger",
    "Tags",
    "TextGenerator",
    "load",
    "load_generator",
]
