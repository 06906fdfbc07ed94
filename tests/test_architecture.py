"""The imports point one way, and what must stay light stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import detq

PACKAGE = Path(detq.__file__).parent

# A module may import from its own layer and from those above it in this list, never from one below.
LAYERS = (
    ("errors",),
    ("files", "machine", "out_folder", "records", "targets"),
    ("boxes",),
    ("masks",),
    ("types", "tensors"),
    ("datasets", "metrics", "models", "quantization"),
    ("convert",),
    ("engine",),
    ("variants",),
    ("predictor", "predictions", "model_files"),
    ("torchscript",),
    ("measure",),
    ("training",),
    ("results",),
    ("baseline", "report", "artifact"),
    ("gate",),
    ("runner", "bench"),
    ("paired",),
    ("sensitivity",),
    ("pytest_plugin", "cli", "__main__", "__init__"),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MODULES = sorted(PACKAGE.rglob("*.py"))


def _top(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """The top-level parts of detq that a module imports, wherever in the module it does so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "detq":
            found.update(alias.name for alias in node.names if alias.name in RANK)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("detq."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found.update(alias.name.split(".")[1] for alias in node.names if alias.name.startswith("detq."))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_own_layer_and_those_before_it(path):
    """`errors` knows nobody; the command line and the plugin may know everybody."""
    own = _top(path)
    assert own in RANK, f"add {own!r} to a layer"
    later = {name for name in _imports(path) if RANK.get(name, -1) > RANK[own]}
    assert not later, f"{path.name} imports from a later layer: {sorted(later)}"


def _seconds_and_modules(code: str, enough: float) -> tuple[float, set[str]]:
    """The quickest of up to five runs, until one is quick `enough`: other processes can only make a run slower."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
        )
        times.append(time.perf_counter() - start)
        if times[-1] < enough:
            break
    return min(times), set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import detq",
        "import detq.cli, contextlib\nwith contextlib.suppress(SystemExit): detq.cli.app(['--help'])",
        "import detq.variants; list(detq.variants.VARIANTS)",
        "import detq.pytest_plugin",
    ],
    ids=["import detq", "detq --help", "the list of variants", "the pytest plugin"],
)
def test_start_up_takes_under_half_a_second_and_loads_no_torch(code):
    """Help, listings and every pytest run of an environment with detq installed must stay instant."""
    seconds, modules = _seconds_and_modules(code, 0.5)
    assert "torch" not in modules
    assert seconds < 0.5
