"""What a checkpoint can be exported for: chosen from its architecture and from the tensors it has."""

import re
from collections.abc import Collection, Mapping, Sequence

from diptych.model.config import Config

TASKS = ("embed", "classify", "tag", "answer", "fill", "generate", "translate", "summarise")
GENERATING = ("generate", "translate", "summarise")

# By the end of a class's name in `architectures`; a text-generating one does whatever its family does first.
_NAMED: tuple[tuple[str, Collection[str]], ...] = (
    (r"For(MaskedLM|PreTraining)$", ("fill", *GENERATING)),
    (r"ForSequenceClassification$", ("classify",)),
    (r"ForTokenClassification$", ("tag",)),
    (r"ForQuestionAnswering$", ("answer",)),
    (r"(ForConditionalGeneration|ForCausalLM|LMHeadModel|DoubleHeadsModel|MTModel)$", GENERATING),
    (r"Model$", ("embed",)),
)


def choose_task(
    config: Config, asked: str | None, offered: Mapping[str, Sequence[str]], tensors: Collection[str]
) -> str:
    """The task asked for, or the one that the checkpoint was made for.

    Raises CheckpointError, with the tasks that this checkpoint supports, if it has no tensors for it.
    """
    able = [task for task, patterns in offered.items() if _has(tensors, patterns)]
    if not able:
        needed = "; ".join(f"{task}: {', '.join(patterns)}" for task, patterns in offered.items())
        config.fail(f"the weights have the tensors of no task. Needed are, as patterns of names, {needed}")
    if asked is not None:
        if asked not in able:
            config.fail(f"{_why_not(asked, offered)}; this checkpoint supports --task {', '.join(able)}")
        return asked
    name = str(next(iter(config.get("architectures", list, [])), ""))
    wanted = next((tasks for end, tasks in _NAMED if re.search(end, name)), () if "For" in name else able)
    found = [task for task in able if task in wanted]
    if not found:
        config.fail(f"it was made as {name}, which is not supported; this checkpoint supports --task {', '.join(able)}")
    return found[0]


def _has(tensors: Collection[str], patterns: Sequence[str]) -> bool:
    return all(any(re.search(pattern, name) for name in tensors) for pattern in patterns)


def _why_not(task: str, offered: Mapping[str, Sequence[str]]) -> str:
    if task not in offered:
        return f"this family does not {task}"
    return f"task {task!r} needs tensors named {' and '.join(offered[task])}, and they are not here"
