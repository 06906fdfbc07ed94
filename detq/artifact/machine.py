"""What compiled code needs of a machine: torch's version, the architecture, and the instructions compiled in."""

from __future__ import annotations

import platform
import re
from dataclasses import asdict, dataclass

from detq.machine import cpu_fields, cpu_flags, isa_overrides, public_version, version_of

__all__ = ["Requirements", "here", "unmet"]

# The compiler is told to use all that the CPU has, so all that it could have used is needed. Other flags of
# /proc/cpuinfo (virtualization, power, bugs) decide nothing.
_INSTRUCTIONS = re.compile(
    r"^(sse|ssse|avx|amx|fma$|f16c$|bmi[12]$|abm$|popcnt$|movbe$|adx$|gfni$|aes$|vaes$|pclmulqdq$|vpclmulqdq$|sha|sm[34]$"
    r"|asimd|sve|sme|i8mm$|bf16$|fp$|fphp$|atomics$|crc32$)"
)


@dataclass(frozen=True)
class Requirements:
    """A machine, as far as compiled stages depend on it.

    Attributes:
        torch: version without the build's suffix.
        torchvision: the same.
        machine: architecture, "x86_64".
        system: "Linux".
        flags: instructions, sorted, by their names in `/proc/cpuinfo`; empty where there is no such file.
        uses: what torch's libraries compute with, sorted: fields of `detq.engine.capability.Capability`. Environment
            variables can forbid what the CPU has. Empty in files of a detq that did not keep it.
    """

    torch: str
    torchvision: str
    machine: str
    system: str
    flags: tuple[str, ...]
    uses: tuple[str, ...] = ()


def here() -> Requirements:
    """Return this machine, as this process may use it."""
    from detq.engine.capability import capability  # imports torch, which reading a manifest does not need

    torch, torchvision = (public_version(version_of(name)) for name in ("torch", "torchvision"))
    flags = tuple(sorted(flag for flag in cpu_flags(cpu_fields()) if _INSTRUCTIONS.match(flag)))
    uses = tuple(sorted(name for name, has in asdict(capability()).items() if has))
    return Requirements(torch, torchvision, platform.machine(), platform.system(), flags, uses)


def unmet(needed: Requirements, found: Requirements) -> str | None:
    """Return a clause that says what of `needed` is not `found`, or None."""
    for name, theirs, ours in (
        ("a", f"{needed.system} {needed.machine}", f"{found.system} {found.machine}"),
        ("torch", needed.torch, found.torch),
        ("torchvision", needed.torchvision, found.torchvision),
    ):
        if theirs != ours:
            return f"it was compiled for {f'{name} ' if name != 'a' else ''}{theirs}, this is {ours}"
    lacking = sorted(set(needed.flags) - set(found.flags))
    if lacking:
        more = f" and {len(lacking) - 6} more" if len(lacking) > 6 else ""
        return f"it needs instructions that this CPU lacks ({', '.join(lacking[:6])}{more})"
    if forbidden := ", ".join(sorted(set(needed.uses) - set(found.uses))):
        # Layers in bf16 would fail, and those in int8 saturate, silently, where VNNI was counted on.
        setting = ", ".join(f"{name}={value}" for name, value in isa_overrides().items())
        return (
            f"it computes with {forbidden}, {f'forbidden by {setting} (unset that)' if setting else 'unknown to torch'}"
        )
    return None
