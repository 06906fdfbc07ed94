"""Reading checkpoints: nothing in them is run, and what is wrong is one sentence."""

from __future__ import annotations

import functools
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detq.errors import WeightsError
from detq.models.detectron2 import plain_pickle
from detq.models.detectron2.checkpoint import read_checkpoint

ARRAYS = st.dictionaries(
    st.text(min_size=1).filter(str.isprintable),
    hnp.arrays(st.sampled_from([np.float32, np.float16, np.int64, ">f4"]), hnp.array_shapes(min_dims=0, min_side=0)),
    min_size=1,
    max_size=3,
)


def _pickled(folder, content, protocol=4):
    path = folder / "model.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@given(tensors=ARRAYS, protocol=st.integers(0, 5), order=st.booleans())
def test_a_pickle_of_arrays_is_read_in_every_protocol(tmp_path_factory, tensors, protocol, order):
    """Values survive, in both byte orders; fp16 becomes fp32."""
    folder = tmp_path_factory.getbasetemp()
    model = OrderedDict(tensors) if order else tensors
    content = {
        "model": model,
        "__author__": "Detectron2 Model Zoo",
        "iteration": np.float64(3),
        "no": [None, (1, True)],
    }
    found = read_checkpoint(_pickled(folder, content, protocol))
    assert list(found) == list(tensors)
    for name, value in tensors.items():
        wide = value.astype(np.float32) if value.dtype.kind == "f" else value
        np.testing.assert_array_equal(found[name].numpy(), wide)


def test_what_detectron2s_trainer_saves_is_read(tmp_path):
    """With the optimizer's state beside the model; a state dict alone will do, and DistributedDataParallel's too."""
    model = OrderedDict({"a.weight": torch.rand(2, 3).half(), "b": torch.tensor(4)})
    for content in ({"model": model, "iteration": 7, "optimizer": {"state": {0: {"m": torch.ones(2)}}}}, model):
        torch.save(content, tmp_path / "model_final.pth")
        found = read_checkpoint(tmp_path / "model_final.pth")
        assert found["a.weight"].dtype == torch.float32
        assert torch.equal(found["a.weight"], model["a.weight"].float())
    torch.save({f"module.{name}": value for name, value in model.items()}, tmp_path / "model_final.pth")
    assert list(read_checkpoint(tmp_path / "model_final.pth")) == ["a.weight", "b"]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run_it(tmp_path, payload, protocol):
    """The payload is real: read by `pickle.load`, it writes a file."""
    thing, target = payload
    path = _pickled(tmp_path, {"model": {"w": np.zeros(2), "x": thing}}, protocol)
    with pytest.raises(WeightsError, match=r"refused, because it asks for (posix|nt)\.system") as error:
        read_checkpoint(path)
    assert not target.exists()
    assert "\n" not in str(error.value)
    pickle.loads(path.read_bytes())  # noqa: S301  # the proof that the payload works
    assert target.exists()


def test_a_torch_file_that_runs_code_is_refused_and_does_not_run_it(tmp_path, payload):
    """The same payload in a `.pth`."""
    thing, target = payload
    torch.save({"model": {"w": torch.zeros(2)}, "hook": thing}, tmp_path / "model_final.pth")
    with pytest.raises(WeightsError, match="refused, because reading it would run code"):
        read_checkpoint(tmp_path / "model_final.pth")
    assert not target.exists()
    torch.load(tmp_path / "model_final.pth", weights_only=False)
    assert target.exists()


class Reduced:
    """Pickles as a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "thing",
    [
        Reduced(eval, ("1 + 1",)),
        Reduced(getattr, ("text", "upper")),
        Reduced(os.path.exists, ("/",)),
        Reduced(np.load, ("/nowhere",)),
        functools.partial(print, "x"),
        np.load,
        {1, 2},
        bytearray(b"x"),
        1j,
        torch.zeros(1),
        np.array([1, "x"], object),
        np.array(["text"]),
        np.zeros(2, [("x", "f4")]),
        np.zeros(2, np.complex64),
    ],
    ids=lambda thing: type(thing).__name__,  # addresses would be other ones in each process
)
def test_what_is_neither_plain_nor_an_array_is_refused(tmp_path, thing):
    """Also what could do no harm: the list of what may be there is short."""
    with pytest.raises(WeightsError, match=r"refused, because it asks for .*; expected only dicts, lists"):
        read_checkpoint(_pickled(tmp_path, {"model": {"w": np.zeros(2)}, "x": thing}))


def test_a_pickle_cannot_change_what_it_finds(tmp_path):
    """BUILD sets attributes of anything: here, the defaults of NumPy's own function, which stays what it was."""
    function = np.zeros(1).__reduce_ex__(5)[0]  # what protocol 5 rebuilds arrays with
    defaults = function.__defaults__
    name = f"{function.__module__}\n{function.__name__}\n".encode()
    build = b"\x80\x04c" + name + b"N}(\x8c\x0c__defaults__\x8c\x01x\x85u\x86b."
    path = tmp_path / "model.pkl"
    path.write_bytes(build)
    with pytest.raises(WeightsError):
        read_checkpoint(path)
    assert function.__defaults__ == defaults
    pickle.loads(build)  # noqa: S301  # the proof that it would
    changed, function.__defaults__ = function.__defaults__, defaults
    assert changed == ("x",)


def test_a_pickle_cannot_change_the_reader_either(tmp_path):
    """What stands for NumPy's functions here is new for each name that a file asks for."""
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x04cnumpy.core.multiarray\nscalar\n}\x8c\x04harmK\x01sb.")
    with pytest.raises(WeightsError, match="asks for a function"):
        read_checkpoint(path)
    assert not vars(plain_pickle._scalar)


@pytest.mark.parametrize("name", ["model_final.pth", "model.pkl"])
@pytest.mark.parametrize("start", [b"hello, no checkpoint\n", b"\xff\xd8\xff\xe0\0\x10JFIF", b"\x89PNG\r\n"])
def test_a_file_of_another_kind_is_not_called_dangerous(tmp_path, name, start):
    """A text, or a photo: a message that speaks of code would frighten for nothing."""
    (tmp_path / name).write_bytes(start + bytes(99))
    with pytest.raises(WeightsError, match=r"not a readable (pickle|torch file), but another kind of file"):
        read_checkpoint(tmp_path / name)


def test_a_pickle_in_the_place_of_a_torch_file_brings_no_warning(tmp_path):
    """Torch warns of its protocol; one sentence is enough."""
    path = _pickled(tmp_path, {"model": {"w": np.zeros(2), "x": Reduced(eval, ("1",))}}).rename(tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="refused, because reading it would run code"):
        read_checkpoint(path)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["pkl", "pth"])
def test_a_file_that_was_cut_off_is_one_sentence(tmp_path, kind, share):
    """A download that stopped, at any place."""
    path = tmp_path / f"model_final.{kind}"
    if kind == "pkl":
        _pickled(tmp_path, {"model": {"w": np.arange(5000.0)}}).rename(path)
    else:
        torch.save({"model": {"w": torch.arange(5000.0)}}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match=r"model_final.*(not a readable (pickle|torch file)|no torch file)") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
    assert ". " not in str(error.value)


@given(data=st.data())
def test_a_damaged_pickle_is_never_more_than_one_sentence(tmp_path_factory, data):
    """Any bytes may have changed."""
    folder = tmp_path_factory.getbasetemp()
    path = _pickled(folder, {"model": {"w": np.arange(4.0)}, "a": "b"})
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    try:
        found = read_checkpoint(path)
    except WeightsError as error:
        assert "\n" not in str(error)  # noqa: PT017  # it may also be readable still
    else:
        assert all(isinstance(value, torch.Tensor) for value in found.values())


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({}, "an empty dict"),
        ([1, 2], "list"),
        ({"model": {}}, "a dict with model"),
        ({"model": {"a": "text"}}, "a dict with model"),
        ({"a\nb": 1, "c": 2}, r"a dict with 'a\\nb', c"),
        ({"blobs": {"conv1_w": np.zeros(2)}, "lr": 1}, "a dict with blobs, lr"),
    ],
)
def test_a_file_without_a_model_says_what_it_has(tmp_path, content, found):
    """Detectron1's files, among others."""
    with pytest.raises(WeightsError, match=f"as Detectron2 saves it, found {found}"):
        read_checkpoint(_pickled(tmp_path, content))


def test_a_file_that_is_missing_is_one_sentence(tmp_path):
    """Or a folder."""
    with pytest.raises(WeightsError, match=r"\.pth or \.pkl\), found nothing"):
        read_checkpoint(tmp_path / "model_final.pth")
    with pytest.raises(WeightsError, match="found a folder"):
        read_checkpoint(tmp_path)
