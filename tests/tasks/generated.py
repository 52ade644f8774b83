"""What `generate` of transformers makes of one text, in the words of `diptych run --json`."""

from typing import Any

import pytest
import torch
from tasks.checkpoints import Published

TOLERANCE = 1e-4


def check(made: Published, texts: list[str], objects: list[dict[str, Any]], **options: Any) -> None:
    """Objects of a model with two panels; texts: as the tokenizer of transformers takes them."""
    seen = set()
    for text, ours in zip(texts, objects, strict=True):
        theirs = generated(made.model, made.tokenizer(text).input_ids, **options)
        found = ours.get("hypotheses", [ours])
        assert [it["ids"] for it in found] == [ids for ids, _ in theirs], text
        scores = [score for _, score in theirs]
        assert [it["score"] for it in found] == pytest.approx(scores, abs=TOLERANCE, rel=1e-5)
        expected = [made.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids, _ in theirs]
        assert [it["text"] for it in found] == expected
        seen.add(found[0]["text"])
    assert len(seen) > len(texts) // 2, "the texts are all alike: nothing could be told apart"


def generated(model: Any, ids: list[int], **options: Any) -> list[tuple[list[int], float]]:
    """Ids and score of each sequence, best first; ids: what is read, special tokens included."""
    prompt = torch.tensor([ids])
    with torch.no_grad():
        found = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            return_dict_in_generate=True,
            output_scores=True,
            **options,
        )
    given = 1 if model.config.is_encoder_decoder else len(ids)
    rows = [row.tolist()[given:] for row in found.sequences]
    if getattr(found, "sequences_scores", None) is not None:
        rows = [_ended(model, row, options) for row in rows]
        return list(zip(rows, found.sequences_scores.tolist(), strict=True))
    chosen = [scores[0].log_softmax(-1)[token] for scores, token in zip(found.scores, rows[0], strict=True)]
    return [(rows[0], float(sum(chosen)))]


def _ended(model: Any, row: list[int], options: dict[str, Any]) -> list[int]:
    """Without what fills a row up to the longest."""
    eos = options.get("eos_token_id", model.generation_config.eos_token_id)
    ends = [number for number, token in enumerate(row) if token in (eos if isinstance(eos, list) else [eos])]
    return row[: ends[0] + 1] if ends else row
