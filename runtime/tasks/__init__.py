"""What bundles are for: a task takes texts, in Python or as lines, and gives results."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self, TypeVar

from diptych.runtime.bundle import Bundle
from diptych.runtime.errors import BundleError, InputError
from diptych.runtime.providers import SessionSettings
from diptych.runtime.tasks.answer import Answerer
from diptych.runtime.tasks.classify import Classifier
from diptych.runtime.tasks.embed import Embedder
from diptych.runtime.tasks.fill import Filler
from diptych.runtime.tasks.generate import TextGenerator
from diptych.runtime.tasks.tag import Tagger

TextT = TypeVar("TextT")
ResultT = TypeVar("ResultT")


class Task(Protocol[TextT, ResultT]):
    """All that the command line knows of what a bundle is for.

    options: a dataclass of what may be given with a call; the metadata of its fields have their `help`.
    """

    options: ClassVar[type[Any]]

    @classmethod
    def open(cls, bundle: Bundle, settings: SessionSettings) -> Self:
        """Raises BundleError or ProviderError if the bundle's graphs cannot be run for this."""
        ...

    @property
    def doing(self) -> str:
        """What it is at while it runs, in a word."""
        ...

    def check_options(self, **options: Any) -> None:
        """Raises OptionError if `attempt` with these options would."""
        ...

    def attempt(
        self,
        texts: Sequence[TextT | InputError],
        *,
        batch_size: int = ...,
        batch_tokens: int = ...,
        first: int = ...,
        **options: Any,
    ) -> list[ResultT | InputError]:
        """A result for each text, in order, or the error of one that cannot be read, which may stand there already.

        first: the number of the first text among all, on which it depends what is drawn where results are sampled.
        """
        ...

    def from_line(self, line: str) -> TextT:
        """A line of input; raises InputError for one that is not what the task takes."""
        ...

    def from_json(self, row: object) -> TextT:
        """A row of JSON lines, a string or an object of texts; raises InputError as `from_line` does."""
        ...

    def to_line(self, result: ResultT) -> str: ...

    def to_json(self, result: ResultT) -> dict[str, Any]: ...


TASKS: dict[str, type[Task[Any, Any]]] = {
    "translate": TextGenerator,
    "summarise": TextGenerator,
    "generate": TextGenerator,
    "embed": Embedder,
    "classify": Classifier,
    "tag": Tagger,
    "answer": Answerer,
    "fill": Filler,
}


def task_of(bundle: Bundle) -> type[Task[Any, Any]]:
    """What a bundle is for. Raises BundleError if that is nothing this version knows."""
    name = bundle.manifest.task
    if name not in TASKS:
        raise BundleError(f"{bundle.folder}: made to {name}, this diptych runs {', '.join(TASKS)}; install a newer one")
    return TASKS[name]
