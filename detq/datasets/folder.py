"""Images without labels: a folder of them, or a labelled set whose labels are not to be read."""

from __future__ import annotations

from pathlib import Path

from detq.datasets.base import Dataset
from detq.datasets.images import IMAGE_SUFFIXES, image_size, read_image
from detq.datasets.listing import list_images
from detq.datasets.options import Options
from detq.errors import DataError
from detq.types import Sample

__all__ = ["ImageFolder", "WithoutLabels", "open_images"]


class ImageFolder(Dataset):
    """The images below a folder, in the order of their relative paths; label files are not read."""

    def __init__(self, name: str, root: Path, images: list[str]) -> None:
        self.name = name
        self.classes = ()
        self._root = root
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def image_id(self, index: int) -> str:
        """Return the image's path below the folder, with `/`."""
        return self._images[index]

    def image_path(self, index: int) -> Path:
        """Return the image's file."""
        return self._root / self._images[index]

    def load(self, index: int) -> Sample:
        """Return an image with the target None."""
        return Sample(self.image_id(index), read_image(self.image_path(index)))

    def target(self, index: int) -> None:
        """Return None, after a look at the image's header."""
        self.size(index)

    def size(self, index: int) -> tuple[int, int]:
        """Return the (width, height) of the upright image in pixels."""
        return image_size(self.image_path(index))


class WithoutLabels(Dataset):
    """Another data set's images with the target None."""

    def __init__(self, labelled: Dataset) -> None:
        self.name = labelled.name
        self.classes = ()
        self._labelled = labelled

    def __len__(self) -> int:
        return len(self._labelled)

    def image_id(self, index: int) -> str:
        """Return what the labelled set calls the image."""
        return self._labelled.image_id(index)

    def load(self, index: int) -> Sample:
        """Return an image with the target None."""
        return Sample(self.image_id(index), self._labelled.load(index).image)

    def target(self, index: int) -> None:
        """Return None, after a look at the image's size."""
        self.size(index)

    def size(self, index: int) -> tuple[int, int]:
        """Return the (width, height) of the upright image in pixels."""
        return self._labelled.size(index)


def open_images(path: Path, options: Options) -> ImageFolder:
    """Open a folder of images, or a single image, without labels.

    Raises:
        DataError: there are no images, or options speak of labels.
    """
    if options.class_map is not None or options.split is not None:
        raise DataError(f"--map and split do not go with unlabelled images in {path}; leave them out")
    if path.is_dir():
        return ImageFolder(str(path), path, list_images(path))
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise DataError(f"data set {path}: expected a folder of images or an image, found another file; name a folder")
    return ImageFolder(str(path), path.parent, [path.name])
