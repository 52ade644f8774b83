"""What the tasks of an encoder-only model have in common: one text or many, bad ones in their place."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from diptych.runtime import ports
from diptych.runtime.batches import BATCH_SIZE, BATCH_TOKENS
from diptych.runtime.bundle import Bundle
from diptych.runtime.encoder import Encoder
from diptych.runtime.errors import BundleError, InputError
from diptych.runtime.graph import Array
from diptych.runtime.memory_limit import MemoryLimit
from diptych.runtime.providers import SessionSettings
from diptych.runtime.tasks.json_rows import TEXT, texts_of
from diptych.runtime.tasks.options import choose
from diptych.runtime.tokenizer import Tokenizer
from diptych.runtime.tokens import Tokens

TextT = TypeVar("TextT")
OptionsT = TypeVar("OptionsT")
SeenT = TypeVar("SeenT")
ResultT = TypeVar("ResultT")


class EncoderTask(ABC, Generic[TextT, OptionsT, SeenT, ResultT]):
    """Read a text as tokens, see something in what the model makes of them, tell the result.

    A long text may be read as several windows, each seen by itself and all told together.
    """

    doing: ClassVar[str]
    options: ClassVar[type[Any]]
    outputs: ClassVar[tuple[str, ...]]

    def __init__(self, tokenizer: Tokenizer, encoder: Encoder) -> None:
        """Raises BundleError if the graph lacks an output."""
        self.tokenizer = tokenizer
        self.encoder = encoder
        missing = [name for name in self.outputs if name not in encoder.graph.outputs]
        if missing:
            raise BundleError(f"the graph has no {', '.join(missing)}, but {', '.join(encoder.graph.outputs)}")

    @classmethod
    def open(cls, bundle: Bundle, settings: SessionSettings) -> Self:
        tokenizer = Tokenizer(bundle.folder / ports.TOKENIZER_FILE, bundle.manifest.tokens.unknown)
        graph = bundle.model(settings)
        memory = MemoryLimit.of(settings.memory_limit, [graph], bundle.folder / ports.WEIGHTS_FILE)
        return cls(
            tokenizer, Encoder(graph, bundle.manifest, memory, threads=settings.threads, workers=settings.workers)
        )

    @overload
    def __call__(self, texts: TextT, /, **options: Any) -> ResultT: ...
    @overload
    def __call__(self, texts: list[TextT], /, **options: Any) -> list[ResultT]: ...
    def __call__(self, texts: TextT | list[TextT], /, **options: Any) -> ResultT | list[ResultT]:
        """The result of a text, or of each of a list, in order.

        options: `batch_size`, `batch_tokens` and the task's own. Raises InputError, naming the text, for one that
        cannot be read, OptionError for a wrong option.
        """
        if not isinstance(texts, list):
            return self([texts], **options)[0]
        results = self.attempt(texts, **options)
        for number, result in enumerate(results):
            if isinstance(result, InputError):
                raise InputError(f"text {number}: {result}") from result
        return [result for result in results if not isinstance(result, InputError)]

    def attempt(
        self,
        texts: Sequence[TextT | InputError],
        *,
        batch_size: int = BATCH_SIZE,
        batch_tokens: int = BATCH_TOKENS,
        first: int = 0,
        **options: Any,
    ) -> list[ResultT | InputError]:
        """As a call with a list, with the error of a text that cannot be read, or that is one, in its place.

        first: nothing here depends on it.
        """
        chosen = choose(self.options, options)
        readings = [text if isinstance(text, InputError) else self._read(text, chosen) for text in texts]
        windows = [window for reading in readings if not isinstance(reading, InputError) for window in reading]
        seen: dict[int, SeenT] = {}
        for number, outputs in self.encoder.run(windows, batch_size, batch_tokens):
            seen[number] = self.see(windows[number], outputs, chosen)
        in_order = iter([seen[number] for number in range(len(windows))])
        results: list[ResultT | InputError] = []
        for text, reading in zip(texts, readings, strict=True):
            if isinstance(text, InputError):
                results.append(text)
            elif isinstance(reading, InputError):
                results.append(reading)
            else:
                results.append(self.tell(text, [next(in_order) for _ in reading], chosen))
        return results

    def check_options(self, **options: Any) -> None:
        """Raises OptionError if a call with these options would."""
        choose(self.options, options)

    @abstractmethod
    def read(self, text: TextT, options: OptionsT) -> list[Tokens]:
        """The text's windows; raises InputError for a text that has none."""

    @abstractmethod
    def see(self, tokens: Tokens, outputs: dict[str, Array], options: OptionsT) -> SeenT:
        """What is kept of a window's outputs, as `Encoder.run` gives them."""

    @abstractmethod
    def tell(self, text: TextT, seen: list[SeenT], options: OptionsT) -> ResultT:
        """The result, from what was seen in each window."""

    @abstractmethod
    def from_line(self, line: str) -> TextT:
        """A line of the command's input; raises InputError for one that is not what the task takes."""

    def from_json(self, row: object) -> TextT:
        """A row of JSON lines: a string, or an object with `text`. Raises InputError for what is neither."""
        return self.from_line(texts_of(row, [TEXT])[TEXT])

    @abstractmethod
    def to_line(self, result: ResultT) -> str:
        """A result as a line of text."""

    @abstractmethod
    def to_json(self, result: ResultT) -> dict[str, Any]:
        """A result as a JSON object."""

    def _read(self, text: TextT, options: OptionsT) -> list[Tokens] | InputError:
        try:
            windows = self.read(text, options)
            for window in windows:
                self.encoder.check(window)
        except InputError as error:
            return error
        return windows
