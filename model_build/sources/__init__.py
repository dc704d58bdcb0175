"""Where a model comes from: a folder, the Hugging Face hub, a GGUF file, any of them with a LoRA adapter.

A source gives its tensors one at a time. It maps files instead of reading them, so that memory holds no
more than is being worked on.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from storyteller.engine.files.checkpoint import find_tensors, read_checkpoint_config
from storyteller.engine.files.config import LlamaConfig

#: What of a repository is needed; other formats of the same weights are not.
_PATTERNS = ["*.json", "model*.safetensors", "*.jinja", "LICENSE*", "USE_POLICY*"]
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class SourceError(ValueError):
    """Why a model cannot be had, in one sentence."""


class Source(ABC):
    """A model's weights by Hugging Face's names, and a folder with its config and tokenizer."""

    #: Holds config.json, tokenizer.json and what else of text belongs to the model.
    folder: Path
    #: What the model is called, and which revision of it this is.
    name: str
    revision: str
    config: LlamaConfig
    #: The types of fewer than 16 bits in which the weights were kept before; none for most.
    rounded: tuple[str, ...] = ()

    @abstractmethod
    def rows(self, name: str, begin: int = 0, end: int | None = None) -> Tensor:
        """Rows of a tensor as float32."""

    def weights(self, name: str, begin: int = 0, end: int | None = None) -> Tensor:
        """Rows of a tensor as float32, all of them numbers. Raises SourceError, which names the tensor, otherwise."""
        rows = self.rows(name, begin, end)
        if not torch.isfinite(rows).all():
            raise SourceError(f"{self.name}: {name} holds infinities or no numbers: download the model again.")
        return rows

    @abstractmethod
    def stored(self, name: str) -> str:
        """The type, by safetensors' names, that keeps a tensor in 16 bits or as it is."""

    @property
    def origin(self) -> dict[str, Any]:
        """What a bundle's manifest says of where the model came from."""
        return {"name": self.name, "revision": self.revision}


class FolderSource(Source):
    """A checkpoint folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.config = read_checkpoint_config(folder)
        self.spans = find_tensors(folder, self.config)
        of_hub = re.fullmatch(r"[0-9a-f]{40}", folder.name)
        self.revision = folder.name if of_hub else _fingerprint(folder, self.spans.values())

    def rows(self, name: str, begin: int = 0, end: int | None = None) -> Tensor:
        """Rows of a tensor as float32."""
        span = self.spans[name]
        kind = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}[span.dtype]
        mapped = np.memmap(span.path, kind, "r", span.begin, span.shape)
        part = np.array(mapped[begin:end])
        tensor = torch.from_numpy(part)
        return (tensor.view(torch.bfloat16) if span.dtype == "BF16" else tensor).float()

    def stored(self, name: str) -> str:
        """As it is."""
        return self.spans[name].dtype


def open_source(
    name: str,
    revision: str | None = None,
    fetch: Callable[..., str] | None = None,
    *,
    adapter: Path | None = None,
) -> Source:
    """The model called `name`: a checkpoint folder, a GGUF file, `smollm2` (which a package carries), or an id of the
    hub, which is downloaded (or found in its cache); with `adapter`, that LoRA is merged into it.

    Raises SourceError or EngineError, one sentence, when it is not to be had or no Llama.
    """
    from model_build.resolve import path_of

    path = path_of(name)
    if is_hub_id(name):
        path = download(name, revision, fetch)
    source: Source
    if path.suffix == ".gguf" or path.is_file():
        from model_build.sources.gguf import GgufSource

        source = GgufSource(path)
    else:
        if path.is_dir() and not (path / "config.json").exists() and (files := sorted(path.glob("*.gguf"))):
            raise SourceError(f"{path} is a folder of GGUF files: give one of them, such as {files[0]}.")
        source = FolderSource(path, name)
    if adapter:
        from model_build.sources.adapter import AdaptedSource

        source = AdaptedSource(source, adapter)
    return source


def _fingerprint(folder: Path, spans: Any) -> str:
    """Names a folder's content by its config and each file's header and length, without reading gigabytes."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted({span.path for span in spans}):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            digest.update(file.read(length) + file.read(4096))
        digest.update(f"{path.name} {path.stat().st_size} {int(path.stat().st_mtime)}".encode())
    return f"local-{digest.hexdigest()[:24]}"


def is_hub_id(name: str) -> bool:
    """Whether this names a repository of the hub; what exists here is a path."""
    return bool(_HUB_NAME.fullmatch(name)) and not name.endswith(".gguf") and not Path(name).exists()


def download(name: str, revision: str | None = None, fetch: Callable[..., str] | None = None) -> Path:
    """The folder of a checkpoint of the hub. Raises SourceError, one sentence, when it is not to be had."""
    from huggingface_hub import errors

    if fetch is None:
        from huggingface_hub import snapshot_download

        fetch = snapshot_download
    page = f"https://huggingface.co/{name}"
    try:
        return Path(fetch(name, revision=revision, allow_patterns=_PATTERNS))
    except errors.GatedRepoError:
        raise SourceError(
            f"{name} is gated: accept its licence at {page} while logged in, then run `hf auth login` "
            "(or set HF_TOKEN) with a token of that account."
        ) from None
    except errors.RevisionNotFoundError:
        raise SourceError(f"{name} has no revision {revision}: see {page}/commits/main.") from None
    except errors.RepositoryNotFoundError:
        raise SourceError(
            f"The hub has no {name}, or not for you: correct the name, or log in with `hf auth login` if it is private."
        ) from None
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise SourceError(f"{name} is no folder here and could not be downloaded ({reason}): check both.") from None


def stack(parts: Sequence[Tensor]) -> Tensor:
    """Matrices stacked by rows; one alone is not copied."""
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]
