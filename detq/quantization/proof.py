"""Proof of quantization: which modules are int8, what share of the arithmetic that is, and which int8 kernels ran.

Three sources that must agree: the modules' own weights say what should run in int8; forward hooks on one untimed run
count the multiply-accumulates (MACs) of every convolution and linear layer; and the profiler, on the model without
hooks, says which kernels ran. Quantizers can silently do nothing after an upgrade; this notices it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO, Any, cast

import torch
from numpy.typing import NDArray
from torch import nn

from detq.errors import QuantizationError
from detq.models.stages import stage_of
from detq.tensors import as_tensor

__all__ = ["IdleError", "Proof", "prove", "serialized_bytes", "weight_bytes"]

# Operators that compute in int8, as the profiler names them: quantized::linear_dynamic, onednn::qconv2d_pointwise, …
_INT8_KERNEL = re.compile(r"^(quantized::(linear|conv)|onednn::q(linear|conv)|aten::_int_mm)")
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
        module: a detector in eval mode.
        image: uint8 `(height, width, 3)`, RGB. It should show objects: without proposals a box head has no work.
        quantizes: the recipe is meant to end in int8 arithmetic.
        reference_weight_bytes: `weight_bytes` of the fp32 reference; the module's own by default.

    Raises:
        IdleError: `quantizes`, and the image gave the int8 layers nothing to do; another image may.
        QuantizationError: `quantizes`, and no module is int8, or modules, MACs and profiler disagree.
    """
    tensor = as_tensor(image)
    int8 = tuple(path for path, child in module.named_modules() if _int8_weight(child) is not None)
    macs, calls = _count_macs(module, tensor)
    kernels = _int8_kernels(module, tensor)
    own = weight_bytes(module)
    totals: Counter[str] = Counter()
    quantized: Counter[str] = Counter()
    for path, count in macs.items():
        totals[stage_of(path)] += count
        quantized[stage_of(path)] += count if path in int8 else 0
    proof = Proof(
        int8_modules=int8,
        int8_macs=quantized.total(),
        total_macs=totals.total(),
        by_stage={stage: quantized[stage] / count for stage, count in totals.items() if count},
        macs_by_stage={stage: count for stage, count in totals.items() if count},
        kernels=tuple(sorted(kernels)),
        kernel_calls=kernels.total(),
        weight_bytes=own,
        fp32_weight_bytes=own if reference_weight_bytes is None else reference_weight_bytes,
    )
    _check(proof, quantizes=quantizes, int8_calls=sum(calls[path] for path in int8))
    return proof


def _check(proof: Proof, *, quantizes: bool, int8_calls: int) -> None:
    if quantizes and not proof.int8_modules:
        raise QuantizationError("the recipe promises int8, and no module of the model has int8 weights")
    if quantizes and proof.int8_macs == 0:
        raise IdleError(
            "the recipe promises int8, and none of the arithmetic on this image ran in int8 (its box head had no "
            "proposals); prove it on an image that shows objects"
        )
    if proof.kernel_calls < int8_calls:
        raise QuantizationError(
            f"{int8_calls} calls of int8 modules should have run int8 kernels, the profiler saw {proof.kernel_calls} "
            f"({', '.join(proof.kernels) or 'none'}): something computes in another precision than its weights say"
        )


def _int8_weight(module: nn.Module) -> torch.Tensor | None:
    """Return the int8 weight of a quantized convolution or linear layer of torch, or None for any other module."""
    weight = getattr(module, "weight", None)
    if not hasattr(module, "_packed_params") or not callable(weight):
        return None
    with _quietly():
        value = weight()
    return value if isinstance(value, torch.Tensor) and value.dtype == torch.qint8 else None


def _macs(module: nn.Module, given: torch.Tensor, made: torch.Tensor) -> int | None:
    if isinstance(module, nn.ConvTranspose2d):
        return given.numel() * module.weight[0].numel()
    if isinstance(module, nn.Conv2d):
        return made.numel() * module.weight[0].numel()
    if isinstance(module, nn.Linear):
        return made.numel() * module.in_features
    quantized = _int8_weight(module)
    return None if quantized is None else made.numel() * quantized[0].numel()


def _count_macs(module: nn.Module, image: torch.Tensor) -> tuple[Counter[str], Counter[str]]:
    """Return the MACs and the non-empty calls of every convolution and linear layer, by module path."""
    macs: Counter[str] = Counter()
    calls: Counter[str] = Counter()

    def hook(path: str) -> Any:
        def count(child: nn.Module, given: tuple[Any, ...], made: Any) -> None:
            if isinstance(made, torch.Tensor) and (number := _macs(child, given[0], made)) is not None:
                macs[path] += number
                calls[path] += number > 0

        return count

    handles = [child.register_forward_hook(hook(path)) for path, child in module.named_modules()]
    try:
        with torch.inference_mode():
            module([image])
    finally:
        for handle in handles:
            handle.remove()
    return macs, calls


def _int8_kernels(module: nn.Module, image: torch.Tensor) -> Counter[str]:
    from torch.profiler import ProfilerActivity, profile

    with _quiet_profiler(), torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as profiler:
        module([image])
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


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*(quantized tensor|TypedStorage).*", category=UserWarning)
        yield


def weight_bytes(module: nn.Module) -> int:
    """Return the bytes of all parameters and buffers, int8 packed weights included.

    A packed weight is no parameter, so it is counted from what it unpacks to: one byte a weight, its bias in fp32, and
    a scale (float64) and zero point (int64), one of each for the tensor or for each channel.
    """
    plain = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    return plain + sum(_packed_bytes(child) for child in module.modules())


def _packed_bytes(module: nn.Module) -> int:
    weight = _int8_weight(module)
    if weight is None:
        return 0
    per_channel = weight.qscheme() in {torch.per_channel_affine, torch.per_channel_symmetric}
    scales = weight.q_per_channel_scales().numel() if per_channel else 1
    read_bias: Any = getattr(module, "bias", None)
    bias = read_bias() if callable(read_bias) else None
    return weight.numel() * weight.element_size() + 16 * scales + (0 if bias is None else int(bias.nbytes))


def serialized_bytes(module: nn.Module) -> int:
    """Return the size of the file that `torch.save(module.state_dict())` writes; nothing is kept."""
    counter = _Counter()
    with _quietly(), warnings.catch_warnings():
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
