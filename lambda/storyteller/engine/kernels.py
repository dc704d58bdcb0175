"""Which code multiplies INT4 matrices on this machine; the one place that decides."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .errors import EngineError
from .files.bundle import KernelName
from .files.config import LlamaConfig
from .linears import FineSum, Kleidi, Linear, Reference, Stock, Sum, rest, unpack_rows
from .native import Native, NativeLinear, NativeOperations, find_native, suits
from .ops import Operations, TorchOperations


@dataclass(frozen=True)
class Kernel:
    """A way to multiply, and the operations that go with it.

    `rounds_inputs` says that a row of inputs is rounded to int8, `native` is the library where it has the matrices; see
    `model.Llama` for the other flags.
    """

    name: str
    linear: Callable[[Tensor, int, int], Linear]
    operations: Operations
    batch_invariant: bool
    cheap_batches: bool
    rounds_inputs: bool = True
    native: Native | None = None

    @property
    def own_threads(self) -> bool:
        """Whether torch's threads would only be in the way: they wait for work by spinning."""
        return self.native is not None

    def add_residual(self, first: Linear, second: Linear, *, fine: bool) -> Linear:
        """A matrix with another one that holds what its rounding left; `fine` keeps the precision of the inputs."""
        if fine and self.rounds_inputs:
            return FineSum(first, second, self.native.rest if self.native else rest)
        if isinstance(first, NativeLinear) and isinstance(second, NativeLinear):
            return replace(first, residual=second.packed)
        return Sum(first, second)

    def unpack_rows(self, parts: Sequence[Tensor], ids: Tensor, columns: int) -> Tensor:
        """Single rows of packed matrices of one shape, added up, float32 [ids, columns]."""
        return (self.native.unpack_rows if self.native else unpack_rows)(parts, ids, columns)


def choose_kernel(wanted: KernelName, config: LlamaConfig, threads: int) -> Kernel:
    """The kernel for this CPU, or the one that is asked for.

    Our own where they have been built. Else arm64 takes torch's operator, which is KleidiAI, and x86-64 another of
    torch's. Raises EngineError when what is asked for is not to be had.
    """
    arm = platform.machine() in ("aarch64", "arm64")
    native = find_native(threads) if suits(config) else None
    if wanted == "auto":
        if native and (native.name != "plain" or not arm):
            wanted = "native"
        else:
            wanted = "kleidi" if arm else "stock" if platform.machine() == "x86_64" else "reference"
    operations: Operations
    if native and wanted != "stock":
        operations = NativeOperations(native, config)
    else:
        operations = TorchOperations(config, torch.float16, rowwise=True)
    if wanted == "native":
        if native is None:
            raise EngineError("The C++ kernels have not been built: run python -m model_build kernel.")
        name, linear = f"native {native.name}", _native(native)
        return Kernel(name, linear, operations, batch_invariant=True, cheap_batches=True, native=native)
    if wanted == "kleidi":
        if not arm:
            raise EngineError("The kleidi kernel is for arm64: leave the kernel to be chosen.")
        return Kernel("torch with KleidiAI", Kleidi, operations, batch_invariant=True, cheap_batches=False)
    if wanted == "stock":
        return Kernel(
            "stock torch INT4", Stock, operations, batch_invariant=False, cheap_batches=True, rounds_inputs=False
        )
    return Kernel("plain reference", Reference, operations, batch_invariant=False, cheap_batches=False)


def _native(native: Native) -> Callable[[Tensor, int, int], Linear]:
    return lambda packed, rows, columns: NativeLinear(native, packed, rows, columns)
