"""TorchScript files: reading them with whatever lies beside the module, and writing them whole or not at all."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
import torchvision  # noqa: F401  # registers nms and roi_align, which detectors call

from detq.errors import ModelFileError
from detq.files import atomic_path
from detq.quantization.script_layers import nodes_of
from detq.quantization.scripted import quiet_torchscript

__all__ = ["METADATA", "ScriptFile", "read_script", "write_script"]

METADATA = "detq.json"
"""Name of the extra file inside a TorchScript file in which detq keeps what it knows about the model."""

FORMAT = "detq-torchscript/1"


@dataclass(frozen=True, eq=False)
class ScriptFile:
    """What a TorchScript file holds.

    Attributes:
        module: in eval mode.
        metadata: what detq wrote about it; empty for a file of another origin.
        extra: the other extra files by name, such as somebody else's metadata.
    """

    module: torch.jit.ScriptModule
    metadata: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, bytes] = field(default_factory=dict)


def read_script(source: Path | bytes, device: str = "cpu") -> ScriptFile:
    """Read a TorchScript file onto `device`.

    Args:
        source: a path, or the file's bytes.
        device: "cpu" or "cuda". A graph that names another device, as traced ones do, is told this one instead.

    Raises:
        ModelFileError: no such file, or it is not TorchScript, or needs operators that are not there.
    """
    name = str(source) if isinstance(source, Path) else "the TorchScript file's bytes"
    if isinstance(source, Path) and not source.is_file():
        raise ModelFileError(f"{name}: no such file; expected a TorchScript file, as torch.jit.save writes")
    names = _extra_names(name, source)
    extra: dict[str, Any] = dict.fromkeys(names, "")
    with quiet_torchscript():
        _let_torch_announce()
        try:
            stream = str(source) if isinstance(source, Path) else io.BytesIO(source)
            load: Any = torch.jit.load
            module = load(stream, map_location=device, _extra_files=extra)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelFileError(f"{name}: torch cannot read it as TorchScript: {_reason(error)}") from error
    module.eval()
    _move_constants(module, device)
    contents = {key: value if isinstance(value, bytes) else value.encode() for key, value in extra.items()}
    return ScriptFile(module, _metadata(name, contents.pop(METADATA, None)), contents)


def _let_torch_announce() -> None:
    # Once a process torch announces the end of quantized tensors, and while it loads a file it does so from C++ to
    # standard error. Here it comes first, as a warning that Python can hold back.
    with contextlib.suppress(AttributeError, RuntimeError):
        torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.qint8)


def _extra_names(name: str, source: Path | bytes) -> list[str]:
    """Return the names of the extra files, and refuse what is no TorchScript file before torch tries."""
    try:
        with zipfile.ZipFile(source if isinstance(source, Path) else io.BytesIO(source)) as archive:
            members = [member.partition("/")[2] for member in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise ModelFileError(
            f"{name}: expected a TorchScript file, as torch.jit.save writes, found something else or half of one "
            f"({error}); `detq export` writes one"
        ) from error
    if "constants.pkl" not in members:
        kind = "a checkpoint of torch.save" if "data.pkl" in members else "another archive"
        raise ModelFileError(
            f"{name}: expected a TorchScript file, as torch.jit.save writes, found {kind}; `detq export` makes one "
            "of a model and its --weights"
        )
    return [member.removeprefix("extra/") for member in members if member.startswith("extra/")]


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def _metadata(name: str, content: bytes | None) -> Mapping[str, Any]:
    if content is None:
        return {}
    try:
        parsed = json.loads(content)
    except ValueError as error:
        raise ModelFileError(f"{name}: its {METADATA} is not readable JSON: {error}; export it again") from None
    if not isinstance(parsed, dict) or parsed.get("format") != FORMAT:
        found = parsed.get("format") if isinstance(parsed, dict) else type(parsed).__name__
        raise ModelFileError(f"{name}: expected metadata of format {FORMAT}, found {found}; export it again")
    return parsed


def _move_constants(module: torch.jit.ScriptModule, device: str) -> None:
    """Let every constant that names a device name `device`: tracing writes down the one that it ran on."""
    for child in module.modules():
        inner: Any = getattr(child, "_c", None)
        for method in inner._method_names() if inner is not None else ():  # noqa: SLF001  # graphs have no other way in
            for node in nodes_of(inner._get_method(method).graph):  # noqa: SLF001
                if node.kind() != "prim::Constant" or str(next(node.outputs()).type()) != "Device":
                    continue
                if torch.device(node.s("value")).type != torch.device(device).type:
                    node.s_("value", device)


def write_script(
    path: Path,
    module: torch.jit.ScriptModule,
    metadata: Mapping[str, Any],
    *,
    extra: Mapping[str, bytes] | None = None,
    check: Callable[[ScriptFile, Path], None] | None = None,
) -> None:
    """Write `module` with `metadata` to `path`, whole or not at all.

    Args:
        path: the file, by convention `.ts`.
        module: what to write.
        metadata: JSON beside it.
        extra: other files beside it.
        check: is given what was read back and from where, before the file takes its name; what it raises, leaves no
            file behind.

    Raises:
        OutputError: the file cannot be written.
    """
    content = {METADATA: json.dumps({"format": FORMAT, **metadata}, indent=2), **(extra or {})}
    with atomic_path(path) as temporary:
        with quiet_torchscript():
            # torch names the archive's folder after the file; a temporary name would be found in every copy.
            buffer = io.BytesIO()
            torch.jit.save(module, buffer, _extra_files=cast("Any", content))
            temporary.write_bytes(buffer.getbuffer())
        if check is not None:
            check(read_script(temporary), temporary)
