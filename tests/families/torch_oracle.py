"""`torch.nn.Transformer` as a model of transformers, so that `generate` can be its oracle too."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput


class TorchConfig(PreTrainedConfig):
    model_type = "transformer"
    attribute_map: ClassVar[dict[str, str]] = {
        "num_attention_heads": "nhead",
        "num_hidden_layers": "num_encoder_layers",
        "hidden_size": "d_model",
    }

    def __init__(self, **values: Any) -> None:
        super().__init__(is_encoder_decoder=True, **values)


class TorchEncoder(nn.Module):
    """What `generate` runs once: hidden states of the sources."""

    main_input_name = "input_ids"

    def __init__(self, model: "TorchTransformer") -> None:
        super().__init__()
        self._model = [model]  # In a list it is no submodule of its own part.

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> BaseModelOutput:
        (model,) = self._model
        hidden = model.transformer.encoder(model.embed(input_ids), src_key_padding_mask=attention_mask == 0)
        return BaseModelOutput(last_hidden_state=hidden)


class TorchTransformer(PreTrainedModel, GenerationMixin):
    """The paper's model: scaled token vectors, sines and cosines, and the token matrix as head."""

    config_class = TorchConfig

    def __init__(self, config: TorchConfig) -> None:
        super().__init__(config)
        self.transformer = nn.Transformer(
            config.d_model,
            config.nhead,
            config.num_encoder_layers,
            config.num_decoder_layers,
            config.dim_feedforward,
            norm_first=config.norm_first,
            batch_first=True,
        )
        self.transformer.encoder.enable_nested_tensor = False
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.post_init()
        self.generation_config.use_cache = False

    def get_encoder(self) -> nn.Module:
        return TorchEncoder(self)

    def embed(self, ids: Tensor) -> Tensor:
        positions, channels = torch.arange(ids.shape[1])[:, None], torch.arange(self.config.d_model)
        angle = positions / 10000 ** (channels // 2 * 2 / self.config.d_model)
        table = torch.where(channels % 2 == 0, angle.sin(), angle.cos())
        return self.embedding(ids) * math.sqrt(self.config.d_model) + table

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        **_: Any,
    ) -> Seq2SeqLMOutput:
        encoded = encoder_outputs or self.get_encoder()(input_ids, attention_mask)
        length = decoder_input_ids.shape[1]
        decoded = self.transformer.decoder(
            self.embed(decoder_input_ids),
            encoded.last_hidden_state,
            tgt_mask=torch.ones(length, length).triu(1).bool(),
            memory_key_padding_mask=attention_mask == 0,
        )
        return Seq2SeqLMOutput(
            logits=decoded @ self.embedding.weight.T, encoder_last_hidden_state=encoded.last_hidden_state
        )
