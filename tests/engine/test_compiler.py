"""What is compiled ahead of time, and the compiler that does it."""

from __future__ import annotations

import subprocess
import zipfile

import pytest
import torch
from torch import nn

from detq.engine import compiler, cxx
from detq.errors import UnsupportedError

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
        for path in (script, cxx.command()[0])
    ]
    assert versions[0] == versions[1]
    (tmp_path / "plain.c").write_text("#include <stdlib.h>\nvoid *get(void) { return malloc(1); }\n", encoding="utf-8")
    subprocess.run([script, "-x", "c", "-c", tmp_path / "plain.c", "-o", tmp_path / "plain.o"], check=True)
    assert b"aligned_alloc" not in (tmp_path / "plain.o").read_bytes()
    (tmp_path / "other").write_text(f'#!/bin/sh\nexec {cxx.command()[0]} "$@"\n', encoding="utf-8")
    (tmp_path / "other").chmod(0o700)
    monkeypatch.setenv("CXX", str(tmp_path / "other"))
    assert compiler._aligning_compiler() != script


@needs_compiler
def test_a_compiler_may_be_called_by_another_program(tmp_path, monkeypatch):
    """As `CXX="ccache g++"` does: all words are called, and the version is that of the compiler at the end."""
    version, (compiler_path, *_) = cxx.version(), cxx.command()
    wrapper = tmp_path / "with spaces" / "wrap"
    wrapper.parent.mkdir()
    wrapper.write_text('#!/bin/sh\necho "$1" >> "$0.log"\nexec "$@"\n', encoding="utf-8")
    wrapper.chmod(0o700)
    monkeypatch.setenv("CXX", f"'{wrapper}' {compiler_path}")
    monkeypatch.setenv("DETQ_CACHE", str(tmp_path))
    assert cxx.command() == (str(wrapper), compiler_path)
    assert cxx.version() == version
    subprocess.run([compiler._aligning_compiler(), "--version"], capture_output=True, check=True)
    assert wrapper.with_name("wrap.log").read_text(encoding="utf-8").split() == [compiler_path] * 2
    monkeypatch.setenv("CXX", str(wrapper))
    assert cxx.command() == (str(wrapper),)


@pytest.mark.parametrize("named", ["no-such-compiler --fast", "'g++"])
def test_a_compiler_that_is_not_there_is_never_replaced_by_another(named, monkeypatch):
    """Whoever sets CXX means it."""
    monkeypatch.setenv("CXX", named)
    assert cxx.command() is None
    assert cxx.version() == "none"
    assert "correct CXX, or unset it" in compiler.unsupported_reason()


@needs_compiler
def test_a_cache_on_a_file_system_that_runs_nothing_is_an_error(tmp_path, monkeypatch):
    """Compiling calls a script there; the sentence names the folder and the setting."""
    monkeypatch.setenv("DETQ_CACHE", str(tmp_path))
    compiler._aligning_compiler().chmod(0o600)
    with pytest.raises(UnsupportedError, match=rf"{tmp_path}.*noexec.*DETQ_CACHE"):
        compiler._aligning_compiler()


@needs_compiler
def test_a_compiler_that_fails_is_an_error_with_its_own_words(tmp_path, monkeypatch):
    """A full disk, or headers that are not there: nobody has to read inductor's traceback."""
    script = tmp_path / "broken"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) exec {cxx.command()[0]} "$@";; esac\n'
        'echo "x.cpp:1: fatal error: disk full" >&2\nexit 1\n',
        encoding="utf-8",
    )
    script.chmod(0o700)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv("DETQ_CACHE", str(tmp_path))
    module, image = nn.Conv2d(3, 8, 3).eval(), torch.randn(1, 3, 16, 16)
    with pytest.raises(UnsupportedError, match=rf"{script} failed: x.cpp:1: fatal error: disk full; mend that"):
        compiler.compile_exported(compiler.export(module, (image,)), tmp_path / "conv.pt2")
    assert not (tmp_path / "conv.pt2").exists()
