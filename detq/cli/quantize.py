"""`detq quantize`: dynamic int8 for an existing TorchScript file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from detq.cli.export import image_to_check_with, refuse_existing
from detq.cli.options import JsonOption, ThreadsOption

__all__ = ["quantize_command"]


def quantize_command(
    model: Annotated[Path, typer.Argument(metavar="FILE", help="A TorchScript detector, fp32.")],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The TorchScript file to write.")],
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE", help="An image that shows objects, for the proof; a rendered road."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Quantize the linear layers of a TorchScript detector dynamically to int8, and prove it.

    The file may be detq's own, torchvision's scripted detector, or what Detectron2 exported by scripting or tracing.

    Example: `detq quantize model.ts --out model.int8.ts`
    """
    from detq.measure.threads import choose_threads, pinned_threads

    refuse_existing(out, overwrite=overwrite)
    with pinned_threads(choose_threads(threads), keep_memory=True):
        from detq.torchscript.convert_file import quantize_file

        made = quantize_file(model, out, image_to_check_with(image))
    if as_json:
        result = {
            "file": str(out),
            "bytes": {"before": made.sizes_bytes[0], "after": made.sizes_bytes[1]},
            "by": made.quantized.way,
            "layers": list(made.quantized.layers),
            "detections": {"before": made.found[0], "after": made.found[1]},
            "proof": made.proof.to_json(),
        }
        print(json.dumps(result, indent=2))
        return
    before, after = (size / 1e6 for size in made.sizes_bytes)
    typer.echo(
        f"{out}: {len(made.quantized.layers)} linear layers are int8 now ({made.quantized.way}), "
        f"{made.proof.share:.1%} of the arithmetic; {before:.1f} → {after:.1f} MB; "
        f"{made.found[0]} → {made.found[1]} objects on the image it was checked with."
    )
    typer.echo("Convolutions stay in fp32: PyTorch has no dynamically quantized ones.")
