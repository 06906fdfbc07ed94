"""Recognising a data set's format by what is in its folder. It never guesses: two formats that fit are an error."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

from detq.datasets.images import IMAGE_SUFFIXES
from detq.datasets.json_files import describe_json, load_json, sniff_json
from detq.datasets.label_files import parse_number, read_label_file
from detq.datasets.listing import is_label, label_root, list_files, scan, suffix_of
from detq.errors import DataError

__all__ = ["coco_candidates", "recognise"]

_FILES = {".xml": "voc", ".yaml": "yolo", ".yml": "yolo"}
# So many files are looked into before a folder counts as without a format's files.
_SAMPLED_SIDECARS = 20
_SAMPLED_FILES = 200
_SAMPLED_LINES = 50


def recognise(path: Path) -> str:
    """Return the name of the format of the data set at `path`: coco, corners, labelme, via, voc or yolo.

    A .json file or one in the folder (or its `annotations`) with images and annotations is COCO, one in the folder with
    regions is VIA, and one below it with shapes and imagePath is labelme. An .xml file below it is VOC. Text files are
    YOLO if their lines are five numbers from 0 to 1 after a whole one, and corners if they end in four numbers
    otherwise. A data.yaml is YOLO.

    Raises:
        DataError: nothing fits, or more than one format does.
    """
    if path.is_file():
        return _of_file(path)
    images, texts = scan(path)
    found: dict[str, str] = {}
    annotations = coco_candidates(path)
    if annotations:
        found["coco"] = f"{annotations[0].relative_to(path)} (coco)"
    found |= _of_sidecars(path, with_json=not annotations)
    kind, example = _of_labels(path, texts)
    if kind is not None:
        found[kind] = f"{example} ({kind})"
    yamls = sorted(path.glob("data.y*ml"))
    if yamls and kind != "corners":
        found["yolo"] = f"{yamls[0].name} (yolo)"
    if len(found) == 1:
        return next(iter(found))
    if found:
        choices = " or ".join(f"--format {name}" for name in found)
        raise DataError(f"data set folder {path}: expected one format, found {' and '.join(found.values())}; {choices}")
    raise DataError(_nothing(path, len(images), texts, example))


def coco_candidates(folder: Path) -> list[Path]:
    """Return the JSON files in `folder` and `folder/annotations` that look like COCO's."""
    files = sorted([*folder.glob("*.json"), *folder.glob("annotations/*.json")])
    named = [file for file in files if _is_coco_name(file.name.lower())]
    return named or [file for file in files if _is_coco_content(file)]


def _is_coco_name(name: str) -> bool:
    return "coco" in name or name.startswith("instances") or name in ("annotations.json", "_annotations.json")


def _is_coco_content(file: Path) -> bool:
    try:
        content = file.read_bytes()
    except OSError:
        return False
    return b'"images"' in content and b'"annotations"' in content


def _of_sidecars(folder: Path, *, with_json: bool) -> dict[str, str]:
    """Return the formats of VIA, labelme and VOC files in `folder`, and a file to show for each."""
    names = sorted(list_files(folder, (".json", ".xml")), key=lambda name: (name.count("/"), name))
    jsons = [name for name in names if suffix_of(name) == ".json" and with_json][:_SAMPLED_SIDECARS]
    xmls = [name for name in names if suffix_of(name) == ".xml"][:_SAMPLED_SIDECARS]
    found: dict[str, str] = {}
    for name in jsons:
        kind = sniff_json(folder / name)
        if kind == "labelme" or (kind == "via" and "/" not in name):
            found.setdefault(kind, f"{name} ({kind})")
    voc = next((name for name in xmls if _is_voc(folder / name)), None)
    return found if voc is None else found | {"voc": f"{voc} (voc)"}


def _is_voc(file: Path) -> bool:
    with file.open("rb") as stream:
        return b"<annotation" in stream.read(1000)


def _of_file(path: Path) -> str:
    if path.suffix.lower() == ".json":
        found = sniff_json(path)
        if found is None and _is_coco_name(path.name.lower()):
            return "coco"
        if found is None:
            expected = "COCO, VIA or labelme JSON"
            raise DataError(f"{path}: expected {expected}, found {describe_json(load_json(path, expected))}")
        return found
    kind = _FILES.get(path.suffix.lower())
    if kind is None:
        hint = (
            "detq run --unlabelled reads an image without labels"
            if path.suffix.lower() in IMAGE_SUFFIXES
            else "name the folder"
        )
        raise DataError(
            f"data set {path}: expected a folder, a .json of COCO, VIA or labelme, a VOC .xml or a data.yaml, found "
            f"another file; {hint}"
        )
    return kind


def _of_labels(folder: Path, texts: list[str]) -> tuple[str | None, str]:
    """Return the format that most label lines have, and a file to show for it."""
    root = label_root(folder)
    names = [name for name in (texts if root == folder else scan(root)[1]) if is_label(name)]
    votes: Counter[str] = Counter()
    example = ""
    for name in islice(names, _SAMPLED_FILES):
        for line in read_label_file(root / name).splitlines()[:_SAMPLED_LINES]:
            kind = _of_line(line)
            if kind is not None and not votes[kind]:
                example = str((root / name).relative_to(folder)) if root.is_relative_to(folder) else name
            if kind is not None:
                votes[kind] += 1
        if votes.total() >= _SAMPLED_LINES:
            break
    return (votes.most_common(1)[0][0] if votes else None), example


def _of_line(line: str) -> str | None:
    fields = line.split()
    values = [parse_number(field) for field in fields]
    if len(fields) < 5 or None in values[-4:]:
        return None
    numbers = [value for value in values if value is not None]
    shares = all(-0.5 <= value <= 1.5 for value in numbers[1:])
    return "yolo" if len(numbers) == len(fields) and numbers[0].is_integer() and shares else "corners"


def _nothing(folder: Path, images: int, texts: list[str], example: str) -> str:
    labels = [name for name in texts if is_label(name)]
    jsons = sorted(file.name for file in folder.glob("*.json"))
    if jsons and not labels:
        load_json(folder / jsons[0], "COCO, VIA or labelme JSON")  # if it is no JSON at all, that is the mistake
    found = [
        f"{images} images",
        f"{len(labels)} label files" + ("" if example or not labels else " without a box line"),
    ]
    found.append(f"JSON without images and annotations ({', '.join(jsons[:3])})" if jsons else "no JSON")
    return (
        f"data set folder {folder}: expected JSON of COCO, VIA or labelme, VOC XML, a data.yaml, or a text file of "
        "labels for each image (class cx cy w h, or Label x_min y_min x_max y_max), found "
        f"{', '.join(found)}; check the path or say PATH?format=NAME; detq run --unlabelled takes images without labels"
    )
