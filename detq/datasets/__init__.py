"""Data sets: `open_dataset` recognises the format and returns a `Dataset`.

To add a format, write a module with `open_x(path, options) -> Dataset` and add its line to `FORMATS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from detq.datasets.base import Dataset
from detq.datasets.options import Options, parse_classes, parse_location, refuse_category
from detq.errors import DataError, unknown_name

__all__ = ["FORMATS", "Dataset", "FormatSpec", "open_dataset", "parse_classes"]

SYNTHETIC = "synthetic:"
_OWN_CATEGORIES = ("coco", "corners", "yolo")


@dataclass(frozen=True)
class FormatSpec:
    """A data set format.

    Attributes:
        name: what `--format` calls it.
        summary: one line for lists.
        target: "module:function" of its reader, imported when it is used: `(path, options) -> Dataset`.
    """

    name: str
    summary: str
    target: str

    def open(self, path: Path, options: Options) -> Dataset:
        """Return the data set at `path`."""
        module, _, function = self.target.partition(":")
        return cast("Dataset", getattr(importlib.import_module(module), function)(path, options))


FORMATS: tuple[FormatSpec, ...] = (
    FormatSpec("coco", "COCO JSON: images, annotations, categories", "detq.datasets.coco:open_coco"),
    FormatSpec("corners", "a text an image: Label x_min y_min x_max y_max", "detq.datasets.corners:open_corners"),
    FormatSpec("yolo", "a text an image: class cx cy w h, normalized; data.yaml", "detq.datasets.yolo:open_yolo"),
    FormatSpec("via", "VIA 1.x and 2.x JSON: exports and projects, every shape", "detq.datasets.via:open_via"),
    FormatSpec("labelme", "labelme: a JSON an image", "detq.datasets.labelme:open_labelme"),
    FormatSpec("voc", "Pascal VOC: an XML an image", "detq.datasets.voc:open_voc"),
    FormatSpec("synthetic", "synthetic:traffic?n=200&seed=7, rendered on the fly", "detq.datasets:open_synthetic"),
    FormatSpec("images", "images without labels, for --unlabelled", "detq.datasets.folder:open_images"),
)


def open_dataset(
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002  # what the command line calls it
    classes: Sequence[str] | None = None,
    class_map: str | None = None,
    split: str | None = None,
    allow_unlabelled: bool = False,
    unlabelled: bool = False,
    category_from: str | None = None,
    category: str | None = None,
) -> Dataset:
    """Open a data set; only paths, and of formats that must be read to know their classes the annotations, are read.

    Args:
        path: a folder, an annotation file, or `synthetic:traffic?n=200&seed=7`. Options may follow the path as a query,
            `DIR?map=car=1,2&format=yolo&classes=a,b&split=val&allow_unlabelled=1&unlabelled=1&category_from=label`.
        format: one of the names in `FORMATS`; None to recognise it by the content.
        classes: the names that the label files' class numbers are indices into; names that occur twice are merged.
        class_map: which classes to keep and how to merge them, `car=1,2;truck=lorry`: names, indices or COCO category
            ids on the right. Boxes of other classes are left out and counted in `Dataset.ignored`.
        split: which part of a `data.yaml` to read: train, val or test.
        allow_unlabelled: an image without a label file is background instead of a mistake.
        unlabelled: there are no labels, or they are not to be read: `Sample.target` is None.
        category_from: the dotted path to an annotation's class in VIA, labelme and VOC files, such as
            `region_attributes.Clases`.
        category: the class of all annotations there, or of those that have nothing at `category_from`.

    Returns:
        A lazy data set.

    Raises:
        DataError: there is nothing to read, its format is not recognised, or files do not go together.
        UnknownNameError: an unknown format, option or class.
    """
    named = None if classes is None else tuple(classes)
    given = Options(format, named, class_map, split, allow_unlabelled, unlabelled, category_from, category)
    if str(path).startswith(SYNTHETIC):
        return _open_named(str(path), given)
    location, options = parse_location(path, given)
    if not location.exists():
        raise DataError(f"data set {location} does not exist; expected a folder or an annotation file, check the path")
    data = _open(location, options)
    data.name = str(path)
    return data


def _open(path: Path, options: Options) -> Dataset:
    from detq.datasets.folder import WithoutLabels, open_images
    from detq.datasets.recognise import recognise

    if options.format == "images" or (options.unlabelled and path.is_dir()):
        return open_images(path, options)
    name = options.format or recognise(path)
    spec = next((spec for spec in FORMATS if spec.name == name), None)
    if spec is None:
        raise unknown_name("data set format", name, [spec.name for spec in FORMATS])
    if name in _OWN_CATEGORIES:
        refuse_category(path, options, f"the format {name} says itself which class an annotation has")
    data = spec.open(path, options)
    return WithoutLabels(data) if options.unlabelled else data


def _open_named(text: str, options: Options) -> Dataset:
    from detq.datasets.folder import WithoutLabels
    from detq.datasets.synthetic import parse_synthetic

    refuse_category(Path(text), options, "a synthetic set has its own classes")
    refused = {"--classes": options.classes, "--map": options.class_map, "--split": options.split}
    for option, value in refused.items():
        if value is not None:
            raise DataError(f"{option} does not go with {text}: a synthetic set has its own classes; leave it out")
    data = parse_synthetic(text)
    return WithoutLabels(data) if options.unlabelled else data


def open_synthetic(path: Path, _options: Options) -> Dataset:
    """Say how a synthetic set is named: it lies in no folder.

    Raises:
        DataError: always.
    """
    raise DataError(f"--format synthetic: expected a name such as synthetic:traffic?n=200&seed=7, found {path}")
