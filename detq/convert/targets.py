"""The formats that `detq convert` writes. To add one, write a module with `write(job)` and its line in `TARGETS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from detq.convert.collection import Collection, ImageRecord
from detq.convert.ledger import Ledger
from detq.convert.placement import Placement
from detq.errors import unknown_name
from detq.targets import resolve

__all__ = ["TARGETS", "Job", "TargetSpec", "find_target"]


@dataclass(frozen=True)
class Job:
    """What a target is asked to write.

    Attributes:
        collection: the data set.
        parts: the images of each part, by its name; one part without a name where nothing is divided.
        placement: where files and images go.
        ledger: takes what the format cannot carry.
        step: to be called once an image.
    """

    collection: Collection
    parts: Mapping[str, Sequence[ImageRecord]]
    placement: Placement
    ledger: Ledger
    step: Callable[[], None]


@dataclass(frozen=True)
class TargetSpec:
    """A format to write.

    Attributes:
        name: what `--to` calls it.
        summary: one line for lists.
        target: "module:function" of its writer, imported when it is used: `(job) -> None`.
        crowds: whether it can say that an annotation is a crowd; if not, crowds are left out.
        lists: whether it lists categories; if not, those without an annotation are left out.
        measures: whether it has ids, boxes and areas beside the shapes.
        opens: what `detq.datasets.open_dataset` takes after the path of the result, for a part: `{part}` is its name.
    """

    name: str
    summary: str
    target: str
    opens: str
    crowds: bool = True
    lists: bool = False
    measures: bool = False

    def write(self, job: Job) -> None:
        """Write the job's data set."""
        resolve(self.target)(job)


TARGETS: tuple[TargetSpec, ...] = (
    TargetSpec(
        "coco", "COCO JSON and images/", "detq.convert.to_coco:write", "/{part}.json", lists=True, measures=True
    ),
    TargetSpec("via", "VIA JSON among its images", "detq.convert.to_via:write", "/{part}"),
    TargetSpec("labelme", "a labelme JSON beside each image", "detq.convert.to_labelme:write", "/{part}"),
    TargetSpec(
        "yolo",
        "images/, labels/ and data.yaml",
        "detq.convert.to_yolo:write",
        "?split={part}",
        crowds=False,
        lists=True,
    ),
)


def find_target(name: str) -> TargetSpec:
    """Return the target of this name.

    Raises:
        UnknownNameError: there is none.
    """
    spec = next((spec for spec in TARGETS if spec.name == name), None)
    if spec is None:
        raise unknown_name("--to format", name, [spec.name for spec in TARGETS])
    return spec
