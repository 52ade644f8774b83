"""The grid's models: trained within seconds, as transformers has them and as we do."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from families import comparing, training
from families.case import GENERATE
from families.case import Case as Model
from families.decoder_cases import LLAMA
from families.pair_cases import BART
from families.training import VOCAB
from families.twins import Engine, Twins, make_reference
from oracle.grid import Kind

from diptych.export import export_checkpoint
from diptych.runtime import Generator
from diptych.runtime.bundle import Bundle
from diptych.runtime.generation.history import History
from diptych.runtime.generation.plan import Plan
from diptych.runtime.graph import Array

STEPS = 300
MODELS: dict[Kind, Model] = {
    "bart": Model(
        "bart",
        GENERATE,
        "BartForConditionalGeneration",
        BART
        | {"vocab_size": VOCAB, "d_model": 48, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96}
        | {"forced_eos_token_id": None, "dropout": 0.0, "attention_dropout": 0.0},
    ),
    "llama": Model(
        "llama",
        GENERATE,
        "LlamaForCausalLM",
        LLAMA | {"vocab_size": VOCAB, "num_hidden_layers": 1, "hidden_size": 48, "intermediate_size": 96},
    ),
}
LESSONS = {"bart": training.successions, "llama": training.dialects}


class UnverifiedTwins(Twins):
    """The grid is a verification by itself."""

    @cached_property
    def bundle(self) -> Bundle:
        folder = self.folder.with_name("bundle")
        export_checkpoint(self.folder, folder, task=self.task, verify=False)
        return Bundle.open(folder)


@dataclass(frozen=True)
class Learned:
    """theirs: the model of transformers. ours, and the most that its logits differ from theirs (errors), by engine."""

    theirs: Any
    ours: dict[Engine, Generator]
    errors: dict[Engine, float]


class NoisyGenerator(Generator):
    """Scores are wrong by up to `error` either way, before other filters and after them."""

    def __init__(self, exact: Generator, error: float, seed: int) -> None:
        super().__init__(exact.decoder, exact.manifest)
        self._error = error
        self._random = np.random.default_rng(seed)

    def plan(self, **options: Any) -> Plan:
        plan = super().plan(**options)
        return replace(plan, filters=[self._disturb, *plan.filters, self._disturb])

    def _disturb(self, history: History, scores: Array) -> None:
        scores += self._random.uniform(-self._error, self._error, scores.shape).astype(np.float32)


def learn(kind: Kind, folder: Path) -> Learned:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    model = make_reference(MODELS[kind], seed=None)
    training.train(model, LESSONS[kind], STEPS)
    model.save_pretrained(folder / "checkpoint")
    twins = UnverifiedTwins(model, folder / "checkpoint")
    engines: list[Engine] = ["PyTorch", "ONNX"]
    return Learned(
        model, {engine: twins.generator(engine) for engine in engines}, {one: _error(twins, one) for one in engines}
    )


def _error(twins: Twins, engine: Engine) -> float:
    pairs = [comparing.outputs(twins, engine, *shape)["logits"] for shape in comparing.SHAPES]
    return max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)
