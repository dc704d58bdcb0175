"""Where a model to be packed comes from: a folder, or the Hugging Face hub; its tensors one at a time.

Maps files instead of reading them, so that memory holds no more than is being worked on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from storyteller.engine.checkpoint import find_tensors
from storyteller.engine.config import LlamaConfig, read_config
from storyteller.engine.tensorfile import TensorSpan

#: What of a repository is needed; other formats of the same weights are not.
_PATTERNS = ["*.json", "model*.safetensors", "*.jinja", "LICENSE*", "USE_POLICY*"]
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class SourceError(ValueError):
    """Why a model cannot be had, in one sentence."""


@dataclass(frozen=True)
class Source:
    """A checkpoint folder, what it is called and which revision of it this is."""

    folder: Path
    name: str
    revision: str
    config: LlamaConfig
    spans: dict[str, TensorSpan]

    def rows(self, name: str, begin: int = 0, end: int | None = None) -> Tensor:
        """Rows of a tensor as float32."""
        span = self.spans[name]
        kind = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}[span.dtype]
        mapped = np.memmap(span.path, kind, "r", span.begin, span.shape)
        part = np.array(mapped[begin:end])
        tensor = torch.from_numpy(part)
        return (tensor.view(torch.bfloat16) if span.dtype == "BF16" else tensor).float()


def open_source(name: str, revision: str | None, download: Callable[..., str] | None = None) -> Source:
    """The checkpoint called `name`: a folder, or an id of the hub, which is downloaded (or found in its cache).

    Raises SourceError or EngineError, one sentence, when it is not to be had or no Llama.
    """
    folder = Path(name).expanduser()
    if not folder.exists() and _HUB_NAME.fullmatch(name):
        folder = Path(_download(name, revision, download))
    config = read_config(folder)
    spans = find_tensors(folder, config)
    of_hub = re.fullmatch(r"[0-9a-f]{40}", folder.name)
    return Source(folder, name, folder.name if of_hub else _fingerprint(folder, spans.values()), config, spans)


def _fingerprint(folder: Path, spans: Any) -> str:
    """Names a folder's content by its config and each file's header and length, without reading gigabytes."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted({span.path for span in spans}):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            digest.update(file.read(length) + file.read(4096))
        digest.update(f"{path.name} {path.stat().st_size} {int(path.stat().st_mtime)}".encode())
    return f"local-{digest.hexdigest()[:24]}"


def _download(name: str, revision: str | None, download: Callable[..., str] | None) -> str:
    from huggingface_hub import errors

    if download is None:
        from huggingface_hub import snapshot_download

        download = snapshot_download
    page = f"https://huggingface.co/{name}"
    try:
        return download(name, revision=revision, allow_patterns=_PATTERNS)
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
