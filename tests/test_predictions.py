"""Predictions on disk: both formats come back as they were, and every mistake is a sentence."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.datasets.base import Dataset
from detq.errors import DataError
from detq.predictions import iter_predictions, read_predictions, write_coco_results, write_prediction
from detq.types import Detections, GroundTruth, Sample

LINE = {"image": "a.jpg", "variant": "fp32", "boxes": [[1, 2, 3, 4]], "scores": [0.5], "labels": ["car"]}
RESULT = {"image_id": "a.jpg", "category_name": "car", "bbox": [1, 2, 3, 4], "score": 0.5}


class Photos(Dataset):
    """Two images in memory, with the numbers of COCO data if asked for."""

    name = "photos"
    classes = ("bus", "car")
    images = ("a.jpg", "night/b.jpg")

    def __init__(self, *, numbered: bool = False) -> None:
        self.numbered = numbered

    def __len__(self) -> int:
        return len(self.images)

    def image_id(self, index: int) -> str:
        return self.images[index]

    def load(self, index: int) -> Sample:
        return Sample(self.images[index], np.zeros((8, 8, 3), np.uint8), GroundTruth.empty())

    def coco_image_id(self, index: int) -> int | str:
        return 100 + index if self.numbered else self.images[index]

    def coco_categories(self) -> dict[int, str]:
        return {3: "car", 6: "bus"} if self.numbered else {}


def saved(tmp_path, *lines, name="predictions.jsonl"):
    """A file of these lines; what is no string is dumped as JSON."""
    path = tmp_path / name
    path.write_text(
        "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )
    return path


def results(tmp_path, *rows):
    """A file of COCO results."""
    return saved(tmp_path, json.dumps(list(rows)), name="theirs.json")


def both(**changes):
    """A line for each of the two images, the first one changed."""
    return {**LINE, **changes}, {**LINE, "image": "night/b.jpg"}


corner = st.floats(width=32, min_value=-(2.0**100), max_value=2.0**100)
rows = st.tuples(corner, corner, corner, corner, st.floats(0, 1, width=32), st.integers(0, 1))
found = st.lists(rows, max_size=5).map(
    lambda rows: Detections(
        [[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d, _, _ in rows],
        [row[4] for row in rows],
        [row[5] for row in rows],
    )
)


def assert_same(first, second):
    """To the last bit."""
    for name in ("boxes", "scores", "labels"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@given(found, found)
def test_what_was_written_is_read_back_to_the_last_bit(tmp_path_factory, first, second):
    """Any float32, empty images included, so that metrics from a file are those of the run."""
    path = tmp_path_factory.mktemp("written") / "predictions.jsonl"
    data = Photos()
    with path.open("w", encoding="utf-8") as stream:
        write_prediction(stream, "night/b.jpg", "int8", second, data.classes)
        write_prediction(stream, "a.jpg", "int8", first, data.classes)
    read = read_predictions(path, data)
    assert list(read) == ["int8"]
    assert_same(read["int8"][0], first)
    assert_same(read["int8"][1], second)


def test_numbers_are_written_with_the_fewest_digits():
    """A tenth of a pixel takes three characters, not seventeen digits."""
    stream = io.StringIO()
    write_prediction(stream, "a.jpg", "fp32", Detections([[0.1, 0.2, 30.5, 40]], [0.9], [1]), ("bus", "car"))
    assert json.loads(stream.getvalue()) == {
        "image": "a.jpg",
        "variant": "fp32",
        "boxes": [[0.1, 0.2, 30.5, 40.0]],
        "scores": [0.9],
        "labels": ["car"],
    }


def _masked(detections, seed):
    masks = np.random.default_rng(seed).random((len(detections), 8, 8)) < 0.5
    return Detections(detections.boxes, detections.scores, detections.labels, masks)


@given(found, st.integers(0, 99))
def test_masks_are_written_as_run_lengths_and_read_back_to_the_pixel(tmp_path_factory, detections, seed):
    """In both formats, and with classes that are left out."""
    folder, data, masked = tmp_path_factory.mktemp("written"), Photos(), _masked(detections, seed)
    with (folder / "predictions.jsonl").open("w", encoding="utf-8") as stream:
        write_prediction(stream, "a.jpg", "int8", masked, data.classes)
        write_prediction(stream, "night/b.jpg", "int8", Detections.empty(), data.classes)
    write_coco_results(folder / "int8.json", [masked, Detections.empty()], data)
    for name in ("predictions.jsonl", "int8.json"):
        if name == "int8.json" and not len(masked):
            continue
        read = read_predictions(folder / name, data)["int8"][0]
        if len(masked):
            np.testing.assert_array_equal(read.masks.full(), masked.masks)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"size": [8, 8], "counts": "0"}, r"detection 0: mask must be COCO's compressed run lengths.*found"),
        ({"size": [8, 8]}, "compressed run lengths"),
        ("<P1", "compressed run lengths"),
        ({"size": [4, 4], "counts": "`0"}, r"expected masks of size \[8, 8\], .* found \[4, 4\]; give the --data"),
    ],
)
def test_a_mask_that_is_none_or_of_another_image_is_a_sentence(tmp_path, mask, message):
    """In both formats; a wrong size would otherwise give a plausible number."""
    with pytest.raises(DataError, match=message):
        read_predictions(saved(tmp_path, *both(masks=[mask])), Photos())
    with pytest.raises(DataError, match=message.removeprefix("detection 0: ")):
        read_predictions(results(tmp_path, {**RESULT, "segmentation": mask}), Photos())


def test_masks_must_be_there_for_every_detection_or_for_none(tmp_path):
    """Half of them would make mask AP a number about nothing."""
    with pytest.raises(DataError, match="masks must be a list of 1, one for each detection"):
        read_predictions(saved(tmp_path, *both(masks=[])), Photos())
    rows = [{**RESULT, "segmentation": {"size": [8, 8], "counts": "P2"}}, RESULT]
    with pytest.raises(DataError, match="result 1: expected a segmentation as other results have"):
        read_predictions(results(tmp_path, *rows), Photos())


def test_names_of_images_may_hold_anything():
    """Spaces, quotes, line ends, other scripts, and bytes that are no UTF-8: one line, and the same name again."""
    name = 'ü "x"\n\udcff.jpg'
    stream = io.StringIO()
    write_prediction(stream, name, "fp32", Detections.empty(), ())
    assert stream.getvalue().isascii()
    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue())["image"] == name


def test_a_detection_that_is_not_finite_is_not_written():
    """The sentence names the variant and the image."""
    stream = io.StringIO()
    broken = Detections([[0, 0, float("nan"), 1]], [0.5], [0])
    with pytest.raises(DataError, match=r"int8 returned a box or score that is not finite for image a\.jpg"):
        write_prediction(stream, "a.jpg", "int8", broken, ("car",))
    assert stream.getvalue() == ""


def test_variants_keep_the_order_of_the_file_and_images_that_of_the_data(tmp_path):
    """Lines may come in any order."""
    one, two = both()
    path = saved(
        tmp_path, {**two, "variant": "int8"}, {**one, "boxes": [[5, 5, 6, 6]]}, {**one, "variant": "int8"}, two
    )
    read = read_predictions(path, Photos())
    assert list(read) == ["int8", "fp32"]
    assert read["fp32"][0].boxes[0, 0] == 5
    assert read["fp32"][0].labels.tolist() == [1]


def test_classes_that_the_data_lacks_are_left_out_and_counted(tmp_path):
    """A COCO model on a car data set: the caller says how many went."""
    changed = {"boxes": [[1, 2, 3, 4]] * 3, "scores": [0.5] * 3, "labels": ["boat", "car", "boat"]}
    read = read_predictions(saved(tmp_path, *both(**changed)), Photos())
    assert read.dropped == {"boat": 2}
    assert len(read["fp32"][0]) == 1


def test_if_no_class_is_known_the_file_is_about_something_else(tmp_path):
    """An AP of 0 would hide the mistake."""
    path = saved(tmp_path, {**LINE, "labels": ["boat"]}, {**LINE, "image": "night/b.jpg", "labels": ["ship"]})
    with pytest.raises(
        DataError, match="none of the 2 detections is of a class of photos: expected bus, car, found boat"
    ):
        read_predictions(path, Photos())


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{not json}\n", "line 1: expected a JSON object, found '{not json}'"),
        ("[1]\n", "result 0: expected a JSON object"),
        ("7\n", "line 1: expected a JSON object with image, variant"),
        ({key: LINE[key] for key in ("image", "variant", "boxes")}, "found no scores and no labels"),
        ({**LINE, "image": "c.jpg"}, "image 'c.jpg' is not among the 2 images of photos"),
        ({**LINE, "image": 7}, "image must be a name, found 7"),
        ({**LINE, "variant": ""}, "variant must be a name, found ''"),
        ({**LINE, "boxes": {}}, "boxes must be a list, found {}"),
        ({**LINE, "scores": [0.5, 0.6]}, "must be of one length, found 1, 2 and 1"),
        ({**LINE, "boxes": [[1, 2, 3]]}, "detection 0: box must be four finite numbers"),
        ({**LINE, "boxes": [[1, 2, 3, "4"]]}, "detection 0: box must be four finite numbers"),
        ({**LINE, "boxes": [[1, 2, 3, float("nan")]]}, "detection 0: box must be four finite numbers"),
        ({**LINE, "boxes": [[1, 2, 3, 1e300]]}, "detection 0: box must be four finite numbers"),
        ({**LINE, "boxes": [[1, 2, 3, 10**400]]}, "detection 0: box must be four finite numbers"),
        ('{"image": ' + "7" * 5000 + "}\n", "line 1: expected a JSON object"),
        ({**LINE, "boxes": [[3, 2, 1, 4]]}, "x1 <= x2 and y1 <= y2, found [3, 2, 1, 4]"),
        ({**LINE, "scores": [1.5]}, "score must be a number from 0 to 1, found 1.5"),
        ({**LINE, "scores": [True]}, "score must be a number from 0 to 1, found True"),
        ({**LINE, "labels": [1]}, "label must be a class name, found 1"),
    ],
)
def test_a_malformed_line_is_a_sentence_that_says_where_and_what(tmp_path, line, sentence):
    """File, line, field, expected, found, and what to do."""
    path = saved(tmp_path, line, both()[1])
    if sentence.startswith("result"):
        path = saved(tmp_path, line)
    with pytest.raises(DataError) as caught:
        read_predictions(path, Photos())
    message = str(caught.value)
    assert message.startswith(str(path))
    assert sentence in message
    assert ";" in message
    assert "\n" not in message


def test_a_second_line_for_one_image_and_variant_is_refused(tmp_path):
    """With the number of the first one."""
    with pytest.raises(DataError, match=r"line 3: .*second one after line 1"):
        read_predictions(saved(tmp_path, *both(), LINE), Photos())


def test_an_image_without_a_line_is_refused_unless_it_may_be_missing(tmp_path):
    """A run that did not finish is not measured as if it had found nothing."""
    path = saved(tmp_path, LINE)
    with pytest.raises(DataError, match=r"'fp32' has none for 1 of them, the first 'night/b\.jpg'"):
        read_predictions(path, Photos())
    assert len(read_predictions(path, Photos(), allow_missing=True)["fp32"][1]) == 0


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_half_written_last_line_is_a_mistake_unless_a_run_goes_on(tmp_path, cut):
    """What a kill leaves behind, wherever it cut."""
    one, two = both()
    path = saved(tmp_path, one, json.dumps(two)[:-cut])
    with pytest.raises(DataError, match=r"line 2: .*killed"):
        read_predictions(path, Photos())
    assert len(read_predictions(path, Photos(), allow_partial_tail=True, allow_missing=True)["fp32"][0]) == 1
    assert [line.number for line in iter_predictions(path, allow_partial_tail=True)] == [1]


def test_a_last_line_without_a_line_end_is_read_if_it_is_whole(tmp_path):
    """Editors leave it out."""
    one, two = both()
    assert len(read_predictions(saved(tmp_path, one, "\n", json.dumps(two)), Photos())["fp32"][1]) == 1


@pytest.mark.parametrize("content", ["", "  \n\n"], ids=["zero bytes", "blank lines"])
def test_an_empty_file_is_refused(tmp_path, content):
    """It says what would be in it."""
    with pytest.raises(DataError, match="are empty; expected JSON lines"):
        read_predictions(saved(tmp_path, content), Photos())


def test_a_file_that_does_not_exist_or_is_a_folder_is_refused(tmp_path):
    """With its name."""
    with pytest.raises(DataError, match="do not exist; check --predictions"):
        read_predictions(tmp_path / "none.jsonl", Photos())
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path, Photos())


def test_bytes_that_are_no_text_are_refused(tmp_path):
    """An image or checkpoint given by mistake."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\xff\xfe\x00binary\n")
    with pytest.raises(DataError, match="line 1: expected a JSON object"):
        read_predictions(path, Photos())


@pytest.mark.parametrize("image", ["night/b.jpg", "b.jpg"], ids=["path", "bare file name"])
def test_coco_results_name_images_by_file_where_there_are_no_numbers(tmp_path, image):
    """And the variant is named after the file; an image without an entry has no detections."""
    read = read_predictions(results(tmp_path, {**RESULT, "image_id": image}), Photos())
    assert list(read) == ["theirs"]
    assert len(read["theirs"][0]) == 0
    assert_same(read["theirs"][1], Detections([[1, 2, 4, 6]], [0.5], [1]))


def test_coco_results_name_images_and_categories_by_number_in_coco_data(tmp_path):
    """Categories that a class map leaves out are counted."""
    row = {"image_id": 101, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}
    read = read_predictions(results(tmp_path, row, {**row, "category_id": 8}), Photos(numbered=True))
    assert_same(read["theirs"][1], Detections([[1, 2, 4, 6]], [0.5], [1]))
    assert read.dropped == {"category 8": 1}


def test_coco_results_without_any_detection_are_a_variant_that_found_nothing(tmp_path):
    """An empty list is a valid result."""
    assert [len(item) for item in read_predictions(results(tmp_path), Photos())["theirs"]] == [0, 0]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({**RESULT, "image_id": "c.jpg"}, "image 'c.jpg' is not among the 2 images"),
        ({**RESULT, "image_id": 5}, "image 5 is not among the 2 images"),
        ({**RESULT, "image_id": None}, "image None is not among the 2 images"),
        ({key: RESULT[key] for key in ("image_id", "category_name", "score")}, "found no bbox"),
        ({key: RESULT[key] for key in ("image_id", "bbox", "score")}, "expected category_id or category_name"),
        (
            {"image_id": "a.jpg", "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5},
            "category_id 3 says nothing, because photos has no category ids",
        ),
        ({**RESULT, "category_name": "boat"}, "expected bus, car, found boat"),
        ({**RESULT, "bbox": [1, 2, -3, 4]}, "with neither below 0"),
        ({**RESULT, "bbox": [1, 2, 3]}, "bbox must be four finite numbers"),
        ({**RESULT, "score": "high"}, "score must be a number from 0 to 1"),
    ],
)
def test_a_malformed_coco_result_is_a_sentence_that_says_where_and_what(tmp_path, row, sentence):
    """The number of the result takes the place of the line."""
    with pytest.raises(DataError) as caught:
        read_predictions(results(tmp_path, row), Photos())
    assert str(caught.value).startswith(str(tmp_path))
    assert sentence in str(caught.value)
    assert "; " in str(caught.value)


def test_coco_results_that_break_off_are_refused(tmp_path):
    """A half-written list is no JSON."""
    with pytest.raises(DataError, match="expected a list of COCO results, found no JSON"):
        read_predictions(saved(tmp_path, "[" + json.dumps(RESULT) + ",", name="x.json"), Photos())
