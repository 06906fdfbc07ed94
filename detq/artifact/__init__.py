"""A variant as one file that starts without compiling: compiled stages, quantized graphs, the glue's settings.

The file is a zip: `manifest.json` says what is in it and what it needs, `stages/` holds AOTInductor packages,
`programs/` the graphs that they were compiled from. It holds machine code, so load files only from whom you trust.
"""

from __future__ import annotations

from detq.artifact.load import open_predictor
from detq.artifact.manifest import Manifest

__all__ = ["Manifest", "open_predictor"]
