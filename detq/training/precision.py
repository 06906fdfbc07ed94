"""Where and in which precision a training computes: the device, bf16 autocast, and how memory is kept."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from detq.errors import UnsupportedError

__all__ = ["Compute", "choose_compute", "deterministic", "keep_freed_memory"]


@dataclass(frozen=True)
class Compute:
    """A device and a precision.

    Attributes:
        device: "cpu" or "cuda".
        precision: "fp32" or "bf16" (autocast).
        why: what the precision was chosen for, for the user.
    """

    device: str
    precision: str
    why: str

    def autocast(self) -> torch.autocast:
        """Return the context in which losses are computed."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")


def choose_compute(precision: str) -> Compute:
    """Choose the device, a GPU if there is one, and what `precision` "auto" means on it.

    Raises:
        UnsupportedError: bf16 is asked for on a GPU without it.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    native, what = _native_bf16(device)
    if precision == "auto":
        return Compute(device, "bf16" if native else "fp32", what)
    if precision == "bf16" and device == "cuda" and not native:
        raise UnsupportedError("--precision bf16: this GPU has no bf16 arithmetic; use --precision fp32")
    return Compute(device, precision, "as asked" if precision == "fp32" or native else f"as asked, although {what}")


def _native_bf16(device: str) -> tuple[bool, str]:
    if device == "cuda":
        native = bool(torch.cuda.is_bf16_supported())
        return native, "the GPU has bf16 arithmetic" if native else "the GPU has no bf16 arithmetic"
    # These questions are no public API of torch: another version may not answer them.
    for name, what in (("_is_amx_tile_supported", "AMX"), ("_is_avx512_bf16_supported", "AVX512-BF16")):
        asked = getattr(torch.cpu, name, None)
        if asked is not None and asked():
            return True, f"the CPU has {what}"
    return False, "the CPU has no bf16 arithmetic that torch knows of"


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Let torch choose kernels that give the same sums every time; the settings before are restored."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    # warn_only would be for operations without such a kernel; on the CPU the detectors' operations all have one.
    torch.use_deterministic_algorithms(mode=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time, hides nothing
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory instead of returning it to the system; elsewhere do nothing.

    Activations of 100 MB are allocated and freed many times a step. By default each time the system maps and clears
    fresh pages, which takes longer than the arithmetic on them: a step is 10 to 15 % faster without that.
    It is for the whole process and cannot be taken back, so only a program of its own should ask for it.
    """
    if not sys.platform.startswith("linux"):
        return
    trim_threshold, mmap_max = -1, -4
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
