"""Our forward pass against Hugging Face's own, on random tiny Llamas of every form."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from storyteller.engine.files.checkpoint import CheckpointReading
from storyteller.engine.files.config import read_config
from storyteller.engine.model import Llama, build_dense
from tests.tiny_llama import LLAMA_2, LLAMA_3, LLAMA_3_1, LLAMA_3_2, TRANSFORMERS_5, write_tiny_llama

LINEAR = {"rope_theta": 10_000.0, "rope_scaling": {"type": "linear", "factor": 2.0}}

YARN = {
    "rope_theta": 10_000.0,
    "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
}
MISTRAL = {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": None}
CLASSES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM"}
QWEN2 = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "use_sliding_window": False}


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Llama:
    config = read_config(folder)
    reading = CheckpointReading(folder, config, lambda done, total: None, 0.0)
    return build_dense(config, reading.tensors(dtype), context=config.context, dtype=dtype)


def their_class(form: dict[str, Any]) -> Any:
    with warnings.catch_warnings():  # theirs, about one another
        warnings.simplefilter("ignore")
        import transformers  # here, so that only one of pytest-xdist's workers imports it

        return getattr(transformers, CLASSES[form.get("model_type", "llama")])


def whole_pass(model: Llama, ids: list[int]) -> torch.Tensor:
    return model.forward(ids, 0, model.new_cache(), rows=len(ids))


@pytest.mark.parametrize(
    "form",
    [
        pytest.param({}, id="grouped-queries"),
        pytest.param({"kv_heads": 4}, id="a-key-for-every-query"),
        pytest.param({"kv_heads": 1}, id="one-key"),
        pytest.param({"tied": True}, id="tied"),
        pytest.param(LLAMA_2, id="llama-2-rope"),
        pytest.param(LLAMA_3, id="llama-3-rope"),
        pytest.param(LLAMA_3_1, id="llama-3.1-rope"),
        pytest.param(LLAMA_3_2, id="llama-3.2-rope"),
        pytest.param(TRANSFORMERS_5, id="transformers-5-rope"),
        pytest.param(LINEAR, id="linear-rope"),
        pytest.param(YARN, id="yarn-rope"),
        pytest.param({"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}, id="dynamic-rope"),
        pytest.param({**MISTRAL, "head_dim": 32}, id="mistral"),
        pytest.param(QWEN2, id="qwen2"),
        pytest.param({"shards": 3}, id="shards"),
        pytest.param({"stored": torch.bfloat16}, id="stored-bf16"),
        pytest.param({"stored": torch.float16, "tied": True}, id="stored-f16"),
        pytest.param({"head_dim": 32}, id="own-head-dim"),
        pytest.param({"attention_bias": True, "mlp_bias": True}, id="biases"),
    ],
)
def test_logits_equal_those_of_transformers(tmp_path: Path, form: dict[str, Any]) -> None:
    folder = write_tiny_llama(tmp_path, **form)
    kind = their_class(form)
    ids = torch.randint(0, 256, (150,), generator=torch.Generator().manual_seed(7)).tolist()
    with torch.inference_mode():
        theirs = kind.from_pretrained(folder, dtype=torch.float32)(torch.tensor([ids])).logits[0]
    ours = whole_pass(load(folder), ids)
    assert theirs.std() > 0.1  # or the comparison would prove nothing
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_bf16_stays_near_float32(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path, stored=torch.bfloat16)
    ids = list(range(100))
    exact, rounded = whole_pass(load(folder), ids), whole_pass(load(folder, torch.bfloat16), ids)
    assert 0 < (exact - rounded).norm() / exact.norm() < 0.03


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_and_steps_give_the_logits_of_one_pass(tmp_path: Path, chunk: int) -> None:
    model = load(write_tiny_llama(tmp_path))
    ids = list(range(90))
    whole, cache = whole_pass(model, ids), model.new_cache()
    parts = [
        model.forward(ids[at : at + chunk], at, cache, rows=len(ids[at : at + chunk])) for at in range(0, 90, chunk)
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-4)
