"""A LoRA adapter in PEFT's form, merged into the weights of a source as they are read.

    W' = W + scale * B A,  scale = alpha / rank, or alpha / sqrt(rank) for rsLoRA

What changes the model in any other way (DoRA, biases, modules of its own, ...) is refused by its name, for
a bundle without it would be another model than the one that was trained.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from model_build.sources import Source, SourceError
from storyteller.engine.files.checkpoint import expected_tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
#: Settings of PEFT's that must be off for a plain LoRA, and what they are called by those who use them.
_REFUSED = {
    "use_dora": "DoRA",
    "lora_bias": "a bias of its own (lora_bias)",
    "modules_to_save": "modules trained as a whole (modules_to_save)",
    "trainable_token_indices": "trained tokens (trainable_token_indices)",
    "target_parameters": "parameters outside of linears (target_parameters)",
    "layer_replication": "repeated layers (layer_replication)",
    "fan_in_fan_out": "transposed weights (fan_in_fan_out)",
    "alora_invocation_tokens": "activation by tokens (alora_invocation_tokens)",
    "megatron_config": "Megatron's parallel layers (megatron_config)",
    "use_qalora": "QALoRA (use_qalora)",
    "use_bdlora": "BD-LoRA (use_bdlora)",
    "arrow_config": "Arrow (arrow_config)",
    "kasa_config": "KaSA (kasa_config)",
    "velora_config": "VeLoRA (velora_config)",
    "monteclora_config": "MonteCLoRA (monteclora_config)",
}
#: Beginnings of a LoRA that leave the model's own weights as they are; others (PiSSA, OLoRA, LoftQ, ...) train
#: against changed ones.
_BEGINNINGS = (True, False, None, "gaussian", "eva", "orthogonal")
_KEY = re.compile(r"base_model\.model\.(.+)\.lora_(embedding_)?([AB])(?:\.weight)?")


@dataclass(frozen=True)
class _Pair:
    """One matrix's A [rank, columns], B [rows, rank] and scale."""

    a: Tensor
    b: Tensor
    scale: float


class AdaptedSource(Source):
    """A source with the adapter in `adapter` merged into it, in float32. Raises SourceError in a sentence."""

    def __init__(self, base: Source, adapter: Path) -> None:
        self._base, self._adapter = base, adapter
        self.folder, self.config, self.name, self.rounded = base.folder, base.config, base.name, base.rounded
        self._digest = adapter_digest(adapter)
        self.revision = f"{base.revision}+{self._digest[:12]}"
        self._pairs = read_adapter(adapter, expected_tensors(base.config), base.config.tied)

    @property
    def origin(self) -> dict[str, Any]:
        """The model's own origin, and the adapter's name and digest."""
        adapter = {"name": self._adapter.resolve().name, "sha256": self._digest}
        return {**self._base.origin, "adapter": adapter}

    def rows(self, name: str, begin: int = 0, end: int | None = None) -> Tensor:
        """Rows of a tensor as float32, with what the adapter adds."""
        rows = self._base.rows(name, begin, end)
        pair = self._pairs.get(name)
        return rows if pair is None else rows + (pair.b[begin:end] @ pair.a) * pair.scale

    def stored(self, name: str) -> str:
        """As the model itself is kept."""
        return self._base.stored(name)


def adapter_digest(adapter: Path) -> str:
    """The sha256 of an adapter's two files. Raises SourceError when one is missing."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        try:
            digest.update((adapter / name).read_bytes())
        except OSError:
            raise SourceError(
                f"{adapter / name} is missing: give the folder of a LoRA adapter as PEFT saves it."
            ) from None
    return digest.hexdigest()


def read_adapter(adapter: Path, shapes: dict[str, tuple[int, ...]], tied: bool) -> dict[str, _Pair]:
    """The adapter's pairs by the name of the weight they are added to; `shapes` are the model's own."""
    config = _read_config(adapter)
    found: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(adapter / WEIGHTS, "pt") as file:
            for key in file.keys():  # noqa: SIM118 - it is no dict
                match = _KEY.fullmatch(key)
                target = f"{match[1]}.weight" if match else ""
                if match is None or len(shapes.get(target, ())) != 2:
                    raise SourceError(f"{adapter} changes {key}, which is no linear of this model: train one for it.")
                if tied and target in ("model.embed_tokens.weight", "lm_head.weight"):
                    raise SourceError(f"{adapter} changes {target}, but embedding and head are one here: leave it out.")
                tensor = file.get_tensor(key).float()
                # Of an embedding PEFT keeps the transposed matrices under each other's names.
                side = {"A": "B", "B": "A"}[match[3]] if match[2] else match[3]
                found.setdefault(target, {})[side] = tensor.T if match[2] else tensor
    except SafetensorError as error:
        raise SourceError(f"{adapter / WEIGHTS} is cut short or broken ({error}): copy it again.") from None
    if not found:
        raise SourceError(f"{adapter} changes nothing: give the folder of a trained LoRA adapter.")
    return {target: _pair(adapter, config, target, sides, shapes[target]) for target, sides in found.items()}


def _read_config(adapter: Path) -> dict[str, Any]:
    path = adapter / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read ({error}): copy it again.") from None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else None
        raise SourceError(f"{path} describes an adapter of the kind {kind}: use a LoRA.")
    for key, meaning in _REFUSED.items():
        if config.get(key):
            raise SourceError(f"{adapter} uses {meaning}, which cannot be merged: train a plain LoRA.")
    if config.get("bias", "none") != "none":
        raise SourceError(f"{adapter} trains biases (bias is {config['bias']}), which cannot be merged: use bias none.")
    if config.get("init_lora_weights") not in _BEGINNINGS:
        raise SourceError(
            f"{adapter} began with {config['init_lora_weights']}, which changes the model's own weights: convert it to "
            "a plain LoRA with PEFT's path_initial_model_for_weight_conversion."
        )
    return config


def _pair(
    adapter: Path, config: dict[str, Any], target: str, sides: dict[str, Tensor], shape: tuple[int, ...]
) -> _Pair:
    module = target.removesuffix(".weight")
    rank = _of(config, "rank_pattern", module, "r")
    alpha = _of(config, "alpha_pattern", module, "lora_alpha")
    if not isinstance(rank, int) or rank < 1 or isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise SourceError(f"{adapter / CONFIG}: r is {rank!r} and lora_alpha {alpha!r}: both must be numbers above 0.")
    a, b = sides.get("A"), sides.get("B")
    if a is None or b is None:
        raise SourceError(f"{adapter / WEIGHTS} has only half of the change of {target}: copy it again.")
    if a.shape != (rank, shape[1]) or b.shape != (shape[0], rank):
        raise SourceError(
            f"{adapter}: the change of {target} is {list(b.shape)} by {list(a.shape)}, but rank {rank} and the model's "
            f"{list(shape)} ask for {[shape[0], rank]} by {[rank, shape[1]]}: use the adapter's own base model."
        )
    return _Pair(a, b, alpha / rank**0.5 if config.get("use_rslora") else alpha / rank)


def _of(config: dict[str, Any], patterns: str, module: str, key: str) -> Any:
    """A module's own value, where one of the patterns names it (by PEFT's rule: a regular expression at its end)."""
    for pattern, value in (config.get(patterns) or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return config.get(key)
