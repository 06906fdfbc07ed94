"""What a figure was measured on."""

from __future__ import annotations

import dataclasses
import getpass
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from detq.measure.environment import MachineClass, _cpu, environment, machine_class
from detq.measure.threads import available_cores

CPUINFO = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
stepping\t: 1
flags\t\t: fpu sse4_2 avx avx2 avx512f avx512_vnni hypervisor

processor\t: 1
vendor_id\t: Other
"""

ENV = {
    "cpu": {
        "vendor": "AuthenticAMD",
        "family": "25",
        "model": "17",
        "stepping": "1",
        "name": "AMD EPYC",
        "isa": ["avx2", "avx512_vnni"],
        "cores": 2,
    },
    "isa_in_use": {"torch": "AVX512", "overrides": {}},
    "threads": 2,
    "quantized_engine": "x86",
    "versions": {"python": "3.11.7", "torch": "2.14.1+cpu", "torchvision": "0.29.1+cpu", "onednn": "3.12.0"},
}


def _changed(part, **values):
    return {**ENV, part: {**ENV[part], **values}}


def test_the_first_processor_is_read_and_its_flags_reduced(tmp_path):
    """Of a hundred flags, those that decide which kernels run."""
    (tmp_path / "cpuinfo").write_text(CPUINFO, encoding="utf-8")
    cpu = _cpu(tmp_path / "cpuinfo")
    assert cpu == {
        "vendor": "AuthenticAMD",
        "family": "25",
        "model": "17",
        "stepping": "1",
        "name": "AMD EPYC",
        "isa": ["sse4_2", "avx", "avx2", "avx512f", "avx512_vnni"],
    }


def test_a_platform_without_cpuinfo_is_unknown_rather_than_an_error(tmp_path):
    """macOS and Windows have none."""
    assert _cpu(tmp_path / "cpuinfo")["model"] == "unknown"


def test_it_holds_versions_and_what_torch_uses_and_goes_into_json():
    """What a bug report needs."""
    env = json.loads(json.dumps(environment(1)))
    assert env["versions"]["torch"] == torch.__version__
    assert env["isa_in_use"]["torch"] == torch.backends.cpu.get_cpu_capability()
    assert env["threads"] == 1
    assert env["quantized_engine"] != ""
    assert re.fullmatch(r"[\d.]+|unknown", env["versions"]["onednn"])


def test_it_names_no_host_user_kernel_or_folder():
    """It is committed with baselines and pasted into bug reports."""
    text = json.dumps(environment(1))
    for private in {platform.node(), platform.release(), str(Path.home()), str(Path.cwd()), os.sep + getpass.getuser()}:
        assert private not in text


def test_forcing_avx2_gives_another_machine_class():
    """A run without VNNI is comparable with other such runs, not with this machine's usual ones."""
    code = (
        "from detq.measure.environment import *\n"
        "env = environment(1)\n"
        "print(env['isa_in_use']['torch'], machine_class(env).overrides, machine_class(env).id)"
    )
    forced = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "FBGEMM_ENABLE_INSTRUCTIONS": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **forced}, capture_output=True, text=True, check=True
    )
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in done.stdout
    assert done.stdout.split()[-1] != machine_class(environment(1)).id


def test_the_id_is_readable_stable_and_a_file_name():
    """Baselines are files named by it: this id must not change from release to release."""
    assert machine_class(ENV).id == "authenticamd-25.17.1-avx512-2c2t-torch2.14.1-bad698d4"
    assert re.fullmatch(r"[a-z0-9._-]+", machine_class(ENV).id)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(MachineClass)])
def test_every_field_decides_the_id(field):
    """A model name alone is not enough: it can read just "AMD EPYC"."""
    usual = machine_class(ENV)
    value = getattr(usual, field)
    other = value + 1 if isinstance(value, int) else (*value, "z") if isinstance(value, tuple) else value + "z"
    assert dataclasses.replace(usual, **{field: other}).id != usual.id


@pytest.mark.parametrize(
    "same",
    [
        _changed("versions", torch="2.14.1+cu130"),
        _changed("versions", python="3.13.0"),
        _changed("cpu", name="AMD EPYC 9R14", isa=["avx512_vnni", "avx2"]),
    ],
    ids=["another build of the same torch", "another Python", "another name for the same CPU"],
)
def test_what_does_not_change_the_speed_does_not_change_the_class(same):
    """Classes that are too narrow would never have a baseline."""
    assert machine_class(same) == machine_class(ENV)


def test_the_instructions_of_int8_and_bf16_are_those_that_this_process_may_use(monkeypatch):
    """Not those that the CPU has: a variable forbids them, and is named beside what follows from it."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    found = environment(1)
    in_use = {name: found["isa_in_use"][name] for name in ("int8", "bf16")}
    assert in_use == {"int8": "int8 without VNNI (7-bit activations)", "bf16": "no native bf16"}
    assert found["isa_in_use"]["overrides"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert found["cpu"]["cores"] == available_cores()
