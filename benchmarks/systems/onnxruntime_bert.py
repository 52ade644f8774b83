"""ONNX Runtime's own BERT: exported by PyTorch, fused by its optimizer, quantised by its dynamic quantizer."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from harness.system import Work

_FILE = "model.onnx"


class Encoding:
    """Encoders, ids in; of each text, the mean of its states. Options of `prepare`: fp32 or int8."""

    packages = ("onnxruntime",)

    @staticmethod
    def prepare(checkpoint: Path, folder: Path, options: Sequence[str]) -> None:
        # Only those who make the model need these.
        import torch  # noqa: PLC0415
        import transformers  # noqa: PLC0415
        from onnx import TensorProto  # noqa: PLC0415
        from onnxruntime.quantization import quantize_dynamic  # noqa: PLC0415
        from onnxruntime.transformers.fusion_options import FusionOptions  # noqa: PLC0415
        from onnxruntime.transformers.optimizer import optimize_model  # noqa: PLC0415

        folder.mkdir(parents=True)
        model = transformers.AutoModel.from_pretrained(checkpoint, attn_implementation="eager").eval()
        ids = torch.full((2, 8), 5)
        axes = {0: "batch", 1: "length"}
        exported = folder / "exported.onnx"
        torch.onnx.export(
            _States(model),
            (ids, torch.ones_like(ids), torch.zeros_like(ids)),
            str(exported),
            input_names=["input_ids", "attention_mask", "token_type_ids"],
            output_names=["last_hidden_state"],
            dynamic_axes=dict.fromkeys(("input_ids", "attention_mask", "token_type_ids", "last_hidden_state"), axes),
            dynamo=False,
        )
        heads, width = model.config.num_attention_heads, model.config.hidden_size
        fused = optimize_model(str(exported), "bert", heads, width, optimization_options=FusionOptions("bert"))
        fused.save_model_to_file(str(folder / _FILE))
        print("fused:", fused.get_fused_operator_statistics())
        exported.unlink()
        if options[0] == "int8":
            # Types do not pass through fused operators; all of them are float32.
            quantize_dynamic(
                folder / _FILE,
                folder / "int8.onnx",
                per_channel=True,
                extra_options={"DefaultTensorType": TensorProto.FLOAT},
            )
            shutil.move(folder / "int8.onnx", folder / _FILE)

    def __init__(self, folder: Path, threads: int) -> None:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(folder / _FILE, settings, providers=["CPUExecutionProvider"])

    def work(self, inputs: Sequence[Sequence[int]], beams: int, new_tokens: int) -> Work:
        ids = np.array(inputs, dtype=np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        kinds = {given.name: np.int32 if "int32" in given.type else np.int64 for given in self.session.get_inputs()}
        feeds = {name: feeds[name].astype(kind) for name, kind in kinds.items()}
        return Work(lambda: self.session.run(["last_hidden_state"], feeds)[0], _means)


def _means(states: Any) -> Any:
    return states.mean(axis=1).tolist()


def _States(model: Any) -> Any:  # noqa: N802 - a module of torch, which this file does not import before it must
    import torch  # noqa: PLC0415

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, mask: Any, types: Any) -> Any:
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state

    return States()
