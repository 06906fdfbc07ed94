"""What is compiled ahead of time, and the compiler that does it."""

from __future__ import annotations

import subprocess
import zipfile

import pytest
import torch
from torch import nn

from detq.engine import compiler

needs_compiler = pytest.mark.skipif(compiler.unsupported_reason() is not None, reason="there is no C++ compiler")


@needs_compiler
def test_a_package_aligns_its_constants_to_cache_lines(tmp_path):
    """AOTInductor takes the block for them from malloc, which aligns to 16 bytes; ours from aligned_alloc."""
    module, image = nn.Conv2d(3, 8, 3).eval(), torch.randn(1, 3, 16, 16)
    compiler.compile_exported(compiler.export(module, (image,)), tmp_path / "conv.pt2")
    with zipfile.ZipFile(tmp_path / "conv.pt2") as package:
        (library,) = [package.read(name) for name in package.namelist() if name.endswith(".so")]
    assert b"\0aligned_alloc\0" in library
    assert b"\0malloc\0" not in library
    with torch.no_grad():
        assert torch.allclose(compiler.load_compiled(tmp_path / "conv.pt2")(image), module(image), atol=1e-5)


@needs_compiler
def test_the_compiler_is_the_users_own_and_takes_c_and_assembly_as_they_are(tmp_path, monkeypatch):
    """It is made once for each compiler; what is no C++ sees nothing of the header."""
    monkeypatch.setenv("DETQ_CACHE", str(tmp_path))
    script = compiler._aligning_compiler()
    assert compiler._aligning_compiler() == script
    versions = [
        subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        for path in (script, compiler._compiler())
    ]
    assert versions[0] == versions[1]
    (tmp_path / "plain.c").write_text("#include <stdlib.h>\nvoid *get(void) { return malloc(1); }\n", encoding="utf-8")
    subprocess.run([script, "-x", "c", "-c", tmp_path / "plain.c", "-o", tmp_path / "plain.o"], check=True)
    assert b"aligned_alloc" not in (tmp_path / "plain.o").read_bytes()
    (tmp_path / "other").write_text(f'#!/bin/sh\nexec {compiler._compiler()} "$@"\n', encoding="utf-8")
    (tmp_path / "other").chmod(0o700)
    monkeypatch.setenv("CXX", str(tmp_path / "other"))
    assert compiler._aligning_compiler() != script
