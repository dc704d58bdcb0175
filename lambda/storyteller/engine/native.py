"""The C++ kernels of `native/`, through ctypes: INT4 matrices, norms, the gate, attention.

Checks shapes and types before it hands addresses over; the library trusts them. It is built by
`python -m model_build kernel` and found beside this file, in `build/kernel`, or where
OVERTURE_KERNEL says. Without it the engine works on stock torch.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import EngineError
from .files.config import LlamaConfig
from .files.layout import ROWS, packed_bytes
from .linears import check_packed
from .ops import Cache, Pass

#: The interface that this module and the library agree on.
VERSION = 3

_BLOCK = 16


def library_name() -> str:
    """The library's file name on this machine."""
    return f"overture-engine-{platform.system().lower()}-{platform.machine()}.so"


def library_places() -> list[Path]:
    """Where the library is looked for, first one first."""
    here = Path(__file__).resolve()
    named = os.environ.get("OVERTURE_KERNEL")
    found = [here.parent / library_name(), here.parents[3] / "build" / "kernel" / library_name()]
    return [Path(named), *found] if named else found


class Native:
    """The loaded library. Raises EngineError when the file is broken or of another version."""

    def __init__(self, path: Path, threads: int) -> None:
        try:
            library = ctypes.CDLL(str(path))
            library.overture_version.restype = ctypes.c_int
            version = library.overture_version()
        except (OSError, AttributeError) as error:
            raise EngineError(
                f"{path} cannot be used ({error}): build it again (python -m model_build kernel)."
            ) from None
        if version != VERSION:
            raise EngineError(f"{path} is of another version: build it again (python -m model_build kernel).")
        address, long, whole, real = ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_float
        library.overture_kernels.restype = ctypes.c_char_p
        library.overture_choose.argtypes = [ctypes.c_char_p]
        library.overture_threads.argtypes = [whole]
        library.overture_matmul.argtypes = [address, long, long, address, address, long, address, whole]
        library.overture_rest.argtypes = [address, long, long, address]
        library.overture_unpack.argtypes = [address, long, address, long, long, address, whole]
        library.overture_norm.argtypes = [address, long, long, address, real, address]
        library.overture_swiglu.argtypes = [address, long, long, address]
        library.overture_attend.argtypes = [address, *[long] * 5, *[address] * 4, long, address]
        library.overture_layers.argtypes = [address, *[long] * 2, address, *[long] * 6, real, *[address] * 4, long]
        for function in ("threads", "matmul", "rest", "norm", "swiglu", "attend", "layers"):
            getattr(library, f"overture_{function}").restype = None
        self.library = library
        library.overture_threads(threads)

    @property
    def name(self) -> str:
        """The instruction set in use: avx512, avx2, i8mm, dotprod or plain."""
        return str(self.library.overture_kernels().decode())

    def choose(self, name: str) -> bool:
        """Takes another instruction set than this CPU's best; False where it is lacking. For tests."""
        return bool(self.library.overture_choose(name.encode()))

    def rest(self, x: Tensor) -> Tensor:
        """What rounding each row of `x` takes away, as `linears.rest` has it."""
        x = x.contiguous()
        out = torch.empty_like(x)
        self.library.overture_rest(x.data_ptr(), len(x), x.shape[1], out.data_ptr())
        return out

    def unpack_rows(self, parts: Sequence[Tensor], ids: Tensor, columns: int) -> Tensor:
        """Single rows of packed matrices of one shape, added up, float32 [ids, columns]. Raises IndexError."""
        ids = ids.to(torch.int64).contiguous()
        out = torch.empty(len(ids), columns)
        for number, packed in enumerate(parts):
            rows = packed.numel() // packed_bytes(ROWS, columns) * ROWS
            if not self.library.overture_unpack(
                packed.data_ptr(), rows, ids.data_ptr(), len(ids), columns, out.data_ptr(), number > 0
            ):
                raise IndexError(f"A token is not below {rows:,}, the rows of the embedding.")
        return out


def find_native(threads: int) -> Native | None:
    """The library, where one has been built."""
    for path in library_places():
        if path.exists():
            return Native(path, threads)
    return None


@dataclass(frozen=True)
class NativeLinear:
    """x times packed INT4 weights, and times what their rounding left, by the C++ kernel, as they lie in the file."""

    native: Native
    packed: Tensor
    rows: int
    columns: int
    residual: Tensor | None = None

    def __post_init__(self) -> None:
        for packed in (self.packed, self.residual):
            if packed is not None:
                check_packed(packed, self.rows, self.columns)

    @property
    def addresses(self) -> tuple[int, int | None]:
        """Where the two lie."""
        return self.packed.data_ptr(), None if self.residual is None else self.residual.data_ptr()

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """[tokens, rows] for `x` [tokens, columns]; added to `onto`, in place, when that is given."""
        x = x.contiguous()
        out = torch.empty(len(x), self.rows) if onto is None else onto
        self.native.library.overture_matmul(
            x.data_ptr(), len(x), self.columns, *self.addresses, self.rows, out.data_ptr(), onto is not None
        )
        return out


#: The weights of a `model.Layer` in the order in which the library takes their addresses, two for each matrix.
_WEIGHTS = ("attention_norm", "qkv", "out", "mlp_norm", "gate_up", "down")


class NativeOperations:
    """The C++ forms; the cache is float16, keys in blocks of 16 positions side by side."""

    def __init__(self, native: Native, config: LlamaConfig) -> None:
        self.name = f"native {native.name}"
        self._library = native.library
        self._config = config

    def norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """RMSNorm of each row."""
        out = torch.empty_like(x)
        self._library.overture_norm(x.data_ptr(), len(x), x.shape[1], weight.data_ptr(), eps, out.data_ptr())
        return out

    def swiglu(self, gate_up: Tensor) -> Tensor:
        """silu(gate) * up, where a row is gate then up."""
        intermediate = gate_up.shape[1] // 2
        out = torch.empty(len(gate_up), intermediate)
        self._library.overture_swiglu(gate_up.data_ptr(), len(gate_up), intermediate, out.data_ptr())
        return out

    def attend(self, qkv: Tensor, cache: Cache, layer: int, start: int, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotary positions, the cache's update and grouped-query attention."""
        c = self._config
        keys, values = cache.keys[layer], cache.values[layer]
        out = torch.empty(len(qkv), c.heads * c.head_dim)
        self._library.overture_attend(
            qkv.data_ptr(), len(qkv), start, c.heads, c.kv_heads, c.head_dim, cos.data_ptr(), sin.data_ptr(),
            keys.data_ptr(), values.data_ptr(), values.shape[1], out.data_ptr(),
        )  # fmt: skip
        return out

    def fuse(self, layers: Sequence[Any], eps: float) -> Pass | None:
        """All layers as one call, where every matrix is the library's own; the same bits as one by one."""
        parts = [getattr(layer, name) for layer in layers for name in _WEIGHTS]
        if not all(isinstance(part, Tensor | NativeLinear) for part in parts):
            return None
        # Addresses alone: the weights stay where they are as long as the model has them.
        places = [part.addresses if isinstance(part, NativeLinear) else (part.data_ptr(),) for part in parts]
        flat = [place for several in places for place in several]
        table = (ctypes.c_void_p * len(flat))(*flat)
        c, library = self._config, self._library
        sizes = (c.dim, c.intermediate, c.heads, c.kv_heads, c.head_dim)

        def run(x: Tensor, cache: Cache, start: int, cos: Tensor, sin: Tensor) -> Tensor:
            x = x.contiguous()
            library.overture_layers(
                x.data_ptr(), len(x), start, table, len(layers), *sizes, eps, cos.data_ptr(), sin.data_ptr(),
                cache.keys.data_ptr(), cache.values.data_ptr(), cache.values.shape[2],
            )  # fmt: skip
            return x

        return run

    def new_cache(self, context: int) -> Cache:
        """Room for `context` positions, rounded up to whole blocks; memory is taken as it is used."""
        c, blocks = self._config, -(-context // _BLOCK)
        keys = torch.empty(c.layers, c.kv_heads, blocks, c.head_dim, _BLOCK, dtype=torch.float16)
        return Cache(keys, torch.empty(c.layers, c.kv_heads, blocks * _BLOCK, c.head_dim, dtype=torch.float16))

    def copy(self, source: Cache, target: Cache, count: int) -> None:
        """Copies the first `count` positions, and what else their last block holds."""
        blocks = -(-count // _BLOCK)
        target.keys[:, :, :blocks] = source.keys[:, :, :blocks]
        target.values[:, :, :count] = source.values[:, :, :count]

    def put(self, cache: Cache, keys: Tensor, values: Tensor) -> None:
        """Fills the first positions from plain tensors."""
        count = keys.shape[2]
        whole = count // _BLOCK
        if whole:
            blocks = keys[:, :, : whole * _BLOCK].reshape(*keys.shape[:2], whole, _BLOCK, keys.shape[3])
            cache.keys[:, :, :whole] = blocks.transpose(3, 4)
        if count % _BLOCK:
            cache.keys[:, :, whole, :, : count % _BLOCK] = keys[:, :, whole * _BLOCK :].transpose(2, 3)
        cache.values[:, :, :count] = values

    def take(self, cache: Cache, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` positions as plain tensors."""
        blocks = -(-count // _BLOCK)
        keys = cache.keys[:, :, :blocks].transpose(3, 4).flatten(2, 3)
        return keys[:, :, :count], cache.values[:, :, :count]


def suits(config: LlamaConfig) -> bool:
    """Whether the C++ kernels can work on a model's sizes."""
    return config.head_dim % 16 == 0 and config.head_dim <= 1024 and not (config.dim % 32 or config.intermediate % 32)
