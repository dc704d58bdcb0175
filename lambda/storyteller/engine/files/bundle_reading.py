"""A bundle's weights, mapped while reader threads fetch them, and the model over them.

No byte is packed or converted. Torch is imported only where a tensor is made.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EngineError
from .bundle import PREFIX, RESIDUAL, KernelName, Manifest, expected, head_rows, matrices, verify
from .layout import GROUP, LAYOUT
from .reading import Part, Progress, Reading
from .store import Store
from .tensorfile import TensorSpan, open_tensor_file, read_tensor_header

if TYPE_CHECKING:
    from torch import Tensor

    from ..kernels import Kernel
    from ..model import Llama
    from ..prefix_cache import CachedPrefix

#: Bundles up to this size are compared with their checksums at every load; it costs some 30 ms.
_CHECKED_BYTES = 64 << 20

#: Linux's MADV_POPULATE_READ, which Python has no name for.
_POPULATE_READ = 22

_log = logging.getLogger(__name__)


class BundleReading:
    """A bundle's weights being read; the threads start when this is made.

    The files are mapped, and the threads draw their bytes into the page cache; with `copy` they
    are read into memory of this process instead, which a snapshot carries along. A bundle in a `store` is read into
    memory too, and every byte is compared with its checksum on the way.
    """

    def __init__(
        self,
        manifest: Manifest,
        progress: Progress,
        *,
        pace_s: float,
        copy: bool = False,
        check: bool | None = None,
        store: Store | None = None,
    ) -> None:
        self._manifest = manifest
        self._maps: dict[Path, mmap.mmap] = {}
        self._spans: dict[str, TensorSpan] = {}
        paths = [*manifest.weights, *([manifest.folder / PREFIX] if PREFIX in manifest.files else [])]
        if store is None:
            if check or (check is None and sum(size for size, _ in manifest.files.values()) <= _CHECKED_BYTES):
                verify(manifest)
            self.reading = self._read_files(paths, progress, pace_s, copy)
        else:
            self.reading = self._read_store(store, paths, progress, pace_s)

    def _read_files(self, paths: list[Path], progress: Progress, pace_s: float, copy: bool) -> Reading:
        parts = []
        for path in paths:
            file = open_tensor_file(path)
            self._spans |= file.spans
            if copy:
                self._maps[path] = mmap.mmap(-1, file.size)
                parts.append(Part(path, 0, file.size, memoryview(self._maps[path])))
            else:
                with path.open("rb") as opened:
                    # Copied on write: torch wants memory that could be written, and nobody writes.
                    self._maps[path] = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
                parts.append(Part(path, 0, file.size, None))
        self._check_spans(self._manifest.folder)
        return Reading(parts, progress, pace_s=pace_s)

    def _read_store(self, store: Store, paths: list[Path], progress: Progress, pace_s: float) -> Reading:
        parts = []
        for path in paths:
            size, digest = self._manifest.files[path.name]
            self._maps[path] = mmap.mmap(-1, size)
            parts.append(Part(path, 0, size, memoryview(self._maps[path]), digest))
        reading = Reading(parts, progress, pace_s=pace_s, store=store)
        try:
            # The headers come a second time, by themselves: nothing waits for them.
            for part in parts:

                def read(begin: int, end: int, name: str = part.path.name) -> bytes:
                    found = bytearray(end - begin)
                    store.fill(name, begin, memoryview(found))
                    return bytes(found)

                self._spans |= read_tensor_header(part.path, part.end, read).spans
            self._check_spans(store.address)
        except BaseException:
            reading.abandon()
            raise
        return reading

    def _check_spans(self, where: Path | str) -> None:
        again = "pack the model again."
        for name, (dtype, shape) in expected(self._manifest.config, self._manifest.types).items():
            span = self._spans.get(name)
            if span is None:
                raise EngineError(f"{where} lacks the tensor {name}: {again}")
            if span.dtype != dtype:
                raise EngineError(f"{span.path}: {name} is stored as {span.dtype}, not {dtype}: {again}")
            if span.shape != shape:
                raise EngineError(f"{span.path}: {name} has shape {list(span.shape)}, not {list(shape)}: {again}")

    def tensor(self, name: str) -> Tensor:
        """A tensor over the mapped bytes."""
        import torch

        kinds = {"U8": torch.uint8, "I8": torch.int8, "F32": torch.float32, "BF16": torch.bfloat16}
        kinds |= {"F16": torch.float16, "I32": torch.int32}
        span = self._spans[name]
        kind = kinds[span.dtype]
        count = (span.end - span.begin) // kind.itemsize
        return torch.frombuffer(self._maps[span.path], dtype=kind, count=count, offset=span.begin).view(span.shape)

    def build(self, *, context: int, threads: int, kernel: KernelName) -> Llama:
        """Waits for the bytes, then the model over them. Sets torch's number of threads."""
        import torch

        from ..kernels import choose_kernel
        from ..model import Layer, Llama

        config = self._manifest.config
        chosen = choose_kernel(kernel, config, threads)
        torch.set_num_threads(1 if chosen.own_threads else threads)
        self.reading.wait()
        self._enter_pages()

        def matrix(name: str, rows: int, columns: int) -> Any:
            first = chosen.linear(self.tensor(name), rows, columns)
            if name + RESIDUAL not in self._spans:
                return first
            second = chosen.linear(self.tensor(name + RESIDUAL), rows, columns)
            return chosen.add_residual(first, second, fine=name == "head")

        shapes = matrices(config)
        layers = [
            Layer(
                attention_norm=self.tensor(f"layers.{number}.attention_norm"),
                mlp_norm=self.tensor(f"layers.{number}.mlp_norm"),
                **{name: matrix(f"layers.{number}.{name}", *shapes[name]) for name in shapes},
            )
            for number in range(config.layers)
        ]
        attention = chosen.operations.name
        _log.info(
            "kernel %s, layout %s, attention %s, %d threads, context %d",
            *(chosen.name, LAYOUT, attention, threads, context),
        )
        return Llama(
            config,
            self._embedding(chosen),
            layers,
            self.tensor("norm"),
            matrix("head", head_rows(config), config.dim),
            chosen.operations,
            name=chosen.name,
            context=context,
            batch_invariant=chosen.batch_invariant,
            cheap_batches=chosen.cheap_batches,
        )

    def _enter_pages(self) -> None:
        """Has the kernel enter the mapped pages now, not one by one at the first token; where it knows how to."""
        for mapped in self._maps.values():
            with contextlib.suppress(OSError):  # before Linux 5.14, and on other systems
                mapped.madvise(_POPULATE_READ)

    def prefix(self, model: Llama) -> CachedPrefix | None:
        """The shipped prefix in a cache of its own; None where there is none or it does not fit the context."""
        from ..prefix_cache import CachedPrefix

        if PREFIX not in self._manifest.files:
            return None
        ids = self.tensor("ids").tolist()
        if len(ids) >= model.context:
            return None
        cache = model.operations.new_cache(len(ids))
        model.operations.put(cache, self.tensor("keys"), self.tensor("values"))
        return CachedPrefix(cache, ids)

    def _embedding(self, kernel: Kernel) -> Callable[[Tensor], Tensor]:
        config, types = self._manifest.config, self._manifest.types
        if types.embedding == "int8":
            values, scales = self.tensor("embedding.values"), self.tensor("embedding.scales")

            def embed(ids: Tensor) -> Tensor:
                wide = values[ids].float().view(len(ids), -1, GROUP) * scales[ids].float()[..., None]
                return wide.view(len(ids), -1)

            return embed
        names = ["embedding.packed"] if types.embedding == "int4" else ["head", "head" + RESIDUAL]
        parts = [self.tensor(name) for name in names if name in self._spans]
        return lambda ids: kernel.unpack_rows(parts, ids, config.dim)
