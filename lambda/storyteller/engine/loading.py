"""From a folder to an engine: reading starts first, torch is imported meanwhile.

The one place that knows both files and models; it imports torch only inside `load_engine`.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Literal

from .errors import EngineError
from .files.bundle import KernelName, Manifest, fetch_small_files, is_bundle, read_manifest, read_stored_manifest
from .files.bundle_reading import BundleReading
from .files.checkpoint import CheckpointReading, read_checkpoint_config
from .files.config import LlamaConfig
from .files.defaults import checkpoint_defaults
from .files.reading import Progress
from .files.store import Store
from .generation import Engine
from .text.grammar import Grammars
from .text.tokenizer import Tokenizer

_log = logging.getLogger(__name__)


def load_engine(
    folder: str | os.PathLike[str] | Store,
    progress: Progress = lambda done, total: None,
    *,
    context: int = 4096,
    threads: int | None = None,
    pace_s: float = 0.0,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    chat: bool = True,
    kernel: KernelName = "auto",
    copy: bool = False,
    cache_slots: int = 2,
    speculate: bool = True,
    prepare_grammars: bool = False,
    check: bool | None = None,
) -> Engine:
    """The engine for a bundle, or for a Hugging Face Llama checkpoint folder.

    A bundle may be in a `Store`: then its weights are read into memory of this process, every file is compared with its
    checksum.

    `progress(done, total)` gets the true count of weight bytes read, from another thread, never
    falling, and (total, total) last. `context` is cut to what the model was made for. `threads` is
    the number of CPU threads (None: as many as this process may use). `pace_s` makes the reading
    take at least this many seconds, to try the wait that larger weights bring. `prepare_grammars` does
    meanwhile what the first reply with a grammar would wait for. `dtype` is what a
    16 or 32-bit checkpoint is computed in. Without `chat`, a missing chat template is no error.

    Of a bundle only: `kernel` is which code multiplies; `copy` reads the weights into this process's
    own memory instead of mapping the files; `check` compares every byte with its checksum (None:
    where that takes no time). `cache_slots` is how many stories keep their computed prefix in memory, and
    `speculate` drafts tokens ahead where that pays; neither changes a token.

    Raises EngineError, one sentence, for a folder that is missing, incomplete or no Llama.
    """

    def report(done: int, total: int) -> None:
        if done < total:  # the end is told when the engine is ready
            progress(done, total)

    weights: CheckpointReading | BundleReading
    store: Store | None = None
    path = Path()
    if not isinstance(folder, str | os.PathLike):
        store = folder
        manifest = read_stored_manifest(store)
        config, defaults = manifest.config, manifest.sampling
        weights = BundleReading(manifest, report, pace_s=pace_s, store=store)
    elif is_bundle(path := Path(folder)):
        manifest = read_manifest(path)
        config, defaults = manifest.config, manifest.sampling
        weights = BundleReading(manifest, report, pace_s=pace_s, copy=copy, check=check)
    else:
        config, defaults = read_checkpoint_config(path), checkpoint_defaults(path)
        if not (path / "tokenizer.json").exists():
            Tokenizer(path)  # says so, before gigabytes are read
        weights = CheckpointReading(path, config, report, pace_s)
    context = min(context, config.context)
    count = threads or usable_cpus()
    prefix = None
    try:
        import torch

        from .model import Llama, build_dense

        tokenizer = fetch_tokenizer(store, manifest, chat=chat) if store else load_tokenizer(path, config, chat=chat)
        stops = stop_ids(config, tokenizer)
        grammars = Grammars(tokenizer, config.vocab, stops)
        if prepare_grammars:
            try:
                grammars.prepare()
            except EngineError as error:  # raised again where a grammar is asked for
                _log.warning("%s", error)
        model: Llama
        if isinstance(weights, BundleReading):
            model = weights.build(context=context, threads=count, kernel=kernel)
            prefix = weights.prefix(model)
        else:
            torch.set_num_threads(count)
            kind: torch.dtype = getattr(torch, dtype)
            model = build_dense(config, weights.tensors(kind), context=context, dtype=kind)
            _log.info("computing in %s, %d threads, context %d", dtype, count, context)
    except BaseException:
        weights.reading.abandon()
        raise
    progress(weights.reading.total, weights.reading.total)
    return Engine(
        model,
        tokenizer,
        stops,
        cache_slots=cache_slots,
        prefix=prefix,
        speculate=speculate,
        grammars=grammars,
        defaults=defaults,
    )


def load_tokenizer(folder: Path, config: LlamaConfig, *, chat: bool) -> Tokenizer:
    """The folder's tokenizer, checked against the model's vocabulary."""
    tokenizer = Tokenizer(folder)
    size = tokenizer.vocabulary.get_vocab_size()
    if size > config.vocab:
        raise EngineError(
            f"{folder / 'tokenizer.json'} knows {size:,} tokens, but the model only {config.vocab:,}: "
            "use the tokenizer that belongs to these weights."
        )
    if chat and not tokenizer.has_chat:
        raise EngineError(f"{folder} has no chat template: use an Instruct checkpoint, or add its chat_template.jinja.")
    return tokenizer


def fetch_tokenizer(store: Store, manifest: Manifest, *, chat: bool) -> Tokenizer:
    """The tokenizer of a store's bundle, by way of a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        fetch_small_files(store, manifest, Path(folder))
        return load_tokenizer(Path(folder), manifest.config, chat=chat)


def stop_ids(config: LlamaConfig, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Every token that ends a reply: the model's, the generation config's and the tokenizer's."""
    own = tokenizer.eos_id()
    return tuple(dict.fromkeys([*config.eos_ids, *([] if own is None else [own])]))


def usable_cpus() -> int:
    """CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
