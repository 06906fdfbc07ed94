"""Proof of quantization: which modules are int8, what share of the arithmetic that is, and which int8 kernels ran.

Three sources that must agree: the layers' own weights say what should run in int8; one untimed run counts the
multiply-accumulates (MACs) of every convolution and linear layer (`detq.quantization.work`); and the profiler, on the
model as it is timed, says which kernels ran. Quantizers can silently do nothing after an upgrade; this notices it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import IO, Any, cast

import torch
from numpy.typing import NDArray
from torch import nn

from detq.errors import QuantizationError
from detq.models.stages import stage_of
from detq.quantization.work import count_work, quietly, weight_bytes
from detq.tensors import as_tensor

__all__ = ["IdleError", "Proof", "prove", "serialized_bytes", "weight_bytes"]

# Operators that compute in int8, as the profiler names them: quantized::linear_dynamic, onednn::qconv2d_pointwise, and
# in a package of AOTInductor aoti_torch_cpu__qlinear_pointwise_tensor.
_INT8_KERNEL = re.compile(r"^(quantized::(linear|conv)|(onednn::|aoti_torch_cpu__)q(linear|conv)|aten::_int_mm)")
_SETUP_KERNEL = re.compile(r"prepack|unpack")


class IdleError(QuantizationError):
    """The image gave the int8 layers nothing to do: without proposals a box head has no work."""


@dataclass(frozen=True)
class Proof:
    """What a variant runs in int8, on the image that it was proved with.

    Attributes:
        int8_modules: paths of the modules with int8 weights, in the order of `named_modules()`.
        int8_macs: multiply-accumulates that those modules did.
        total_macs: multiply-accumulates of all convolutions and linear layers.
        by_stage: stage -> share of its MACs in int8, in [0, 1]; stages without MACs are left out.
        macs_by_stage: stage -> its MACs.
        kernels: int8 operators that the profiler saw.
        kernel_calls: how often they ran.
        weight_bytes: of all parameters and buffers; see `weight_bytes`.
        fp32_weight_bytes: the same of the fp32 reference.
    """

    int8_modules: tuple[str, ...]
    int8_macs: int
    total_macs: int
    by_stage: dict[str, float]
    macs_by_stage: dict[str, int]
    kernels: tuple[str, ...]
    kernel_calls: int
    weight_bytes: int
    fp32_weight_bytes: int

    @property
    def share(self) -> float:
        """The share of all MACs in int8, in [0, 1]."""
        return self.int8_macs / self.total_macs if self.total_macs else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it ready for JSON, `share` included."""
        return asdict(self) | {
            "share": self.share,
            "int8_modules": list(self.int8_modules),
            "kernels": list(self.kernels),
        }


def prove(
    module: nn.Module, image: NDArray[Any], *, quantizes: bool, reference_weight_bytes: int | None = None
) -> Proof:
    """Run `module` on `image` twice, untimed, and return what ran in int8. Hooks are gone afterwards.

    Args:
        module: a detector in eval mode. What hooks cannot see into counts its own work, see `CountsWork`.
        image: uint8 `(height, width, 3)`, RGB. It should show objects: without proposals a box head has no work.
        quantizes: the recipe is meant to end in int8 arithmetic.
        reference_weight_bytes: `weight_bytes` of the fp32 reference; the module's own by default.

    Raises:
        IdleError: `quantizes`, and the image gave the int8 layers nothing to do; another image may.
        QuantizationError: `quantizes`, and no module is int8, or modules, MACs and profiler disagree.
    """
    tensor = as_tensor(image)
    layers = count_work(module, tensor)
    kernels = _int8_kernels(module, tensor)
    own = weight_bytes(module)
    totals: Counter[str] = Counter()
    quantized: Counter[str] = Counter()
    for layer in layers:
        totals[stage_of(layer.path)] += layer.macs
        quantized[stage_of(layer.path)] += layer.macs if layer.int8 else 0
    proof = Proof(
        int8_modules=tuple(layer.path for layer in layers if layer.int8),
        int8_macs=quantized.total(),
        total_macs=totals.total(),
        by_stage={stage: quantized[stage] / count for stage, count in totals.items() if count},
        macs_by_stage={stage: count for stage, count in totals.items() if count},
        kernels=tuple(sorted(kernels)),
        kernel_calls=kernels.total(),
        weight_bytes=own,
        fp32_weight_bytes=own if reference_weight_bytes is None else reference_weight_bytes,
    )
    calls: Counter[str] = Counter()
    for layer in layers:
        calls[stage_of(layer.path)] += layer.calls if layer.int8 else 0
    _check(proof, quantizes=quantizes, calls=calls, where=lambda: _fallen(module, tensor, calls))
    return proof


def _check(proof: Proof, *, quantizes: bool, calls: Counter[str], where: Callable[[], list[str]]) -> None:
    if quantizes and not proof.int8_modules:
        raise QuantizationError("the recipe promises int8, and no module of the model has int8 weights")
    if quantizes and proof.int8_macs == 0:
        raise IdleError(
            "the recipe promises int8, and none of the arithmetic on this image ran in int8 (its box head had no "
            "proposals); prove it on an image that shows objects"
        )
    if proof.kernel_calls < calls.total():
        raise QuantizationError(
            f"{calls.total()} calls of int8 modules should have run int8 kernels, the profiler saw "
            f"{proof.kernel_calls} ({', '.join(proof.kernels) or 'none'}): {' and '.join(where()) or 'something'} "
            "computes in another precision than its weights say"
        )


def _fallen(module: nn.Module, image: torch.Tensor, calls: Counter[str]) -> list[str]:
    """Return the stages that ran fewer int8 kernels than they have int8 calls; none for a detector without stages."""
    steps = getattr(module, "steps", None)
    if not isinstance(steps, dict):
        return []
    seen: Counter[str] = Counter()

    def watched(stage: str, step: Callable[[Any], None]) -> Callable[[Any], None]:
        def run(frame: Any) -> None:
            with _profiled() as profiler:
                step(frame)
            seen[stage] = _count(profiler).total()

        return run

    before = dict(steps)
    try:
        steps.update({stage: watched(stage, step) for stage, step in before.items()})
        module([image])
    finally:
        steps.update(before)
    return [stage for stage, count in calls.items() if seen[stage] < count]


def _int8_kernels(module: nn.Module, image: torch.Tensor) -> Counter[str]:
    with _profiled() as profiler:
        module([image])
    return _count(profiler)


@contextlib.contextmanager
def _profiled() -> Iterator[Any]:
    from torch.profiler import ProfilerActivity, profile

    with _quiet_profiler(), torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as profiler:
        yield profiler


def _count(profiler: Any) -> Counter[str]:
    """Return how often each int8 operator ran."""
    return Counter(
        {
            event.key: event.count
            for event in profiler.key_averages()
            if _INT8_KERNEL.match(event.key) and not _SETUP_KERNEL.search(event.key)
        }
    )


@contextlib.contextmanager
def _quiet_profiler() -> Iterator[None]:
    # Builds of torch with CUDA log to stderr from C++ when they are profiled on a machine without a GPU.
    name, before = "KINETO_LOG_LEVEL", os.environ.get("KINETO_LOG_LEVEL")
    os.environ.setdefault(name, "99")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)


def serialized_bytes(module: nn.Module) -> int:
    """Return the size of the file that `torch.save(module.state_dict())` writes; nothing is kept."""
    counter = _Counter()
    with quietly(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.save(module.state_dict(), cast("IO[bytes]", counter))
    return counter.size


class _Counter(io.RawIOBase):
    """A stream that counts what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        count = memoryview(data).nbytes
        self.size += count
        return count
