"""Detectron2's configs: names, files, and what is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.errors import DetqError, UnknownNameError, UnsupportedError, WeightsError
from detq.models.detectron2.config import Detectron2Config, PoolConfig
from detq.models.detectron2.interpret import _FIELDS, _ignored
from detq.models.detectron2.options import ALLOWED, DEFAULTS, ZOO
from detq.models.detectron2.read_config import read_config
from detq.models.zoo import MODELS

MASK = Detectron2Config(name="mask_rcnn_R_50_FPN_3x", masks=True)


@pytest.fixture
def write(tmp_path):
    """Write a config file and return its path as text."""

    def write(text: str, name: str = "my.yaml") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize("name", sorted(ZOO))
def test_the_zoos_names_are_configs_of_models_of_ours(name):
    """Their masks and depth are in their names; the rest is the same for all."""
    config = read_config(name)
    depth = 101 if "101" in name else 50
    assert config == Detectron2Config(name=name, masks=name.startswith("mask"), depth=depth)
    assert config.model in {spec.name for spec in MODELS if spec.config}


def test_every_model_is_built_from_a_config_of_that_model():
    """The list names configs as text."""
    specs = [spec for spec in MODELS if spec.config]
    assert len(specs) == 4
    assert all(read_config(spec.config).model == spec.name for spec in specs)
    assert all(read_config(spec.config).masks == spec.has_masks for spec in specs)


def test_a_config_may_be_named_as_detectron2s_model_zoo_does():
    """That is what its users copy."""
    assert read_config("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml") == MASK


@pytest.mark.parametrize("base", ["../Base-RCNN-FPN.yaml", "https://example.org/configs/Base-RCNN-FPN.yaml"])
def test_a_users_config_needs_no_copy_of_detectron2s_base(write, base):
    """Values come as Detectron2's files write them: tuples and exponents as text."""
    config = read_config(
        write(f"""
_BASE_: "{base}"
MODEL:
  WEIGHTS: "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
  MASK_ON: True
  PIXEL_STD: (57.375, 57.12, 58.395)
  RESNETS: {{STRIDE_IN_1X1: False, NORM: "BN"}}
  ANCHOR_GENERATOR: {{SIZES: [[16], [32], [64], [128], [256]]}}
  ROI_HEADS: {{NUM_CLASSES: 3, SCORE_THRESH_TEST: 2e-1}}
  ROI_MASK_HEAD: {{POOLER_SAMPLING_RATIO: 2, POOLER_TYPE: "ROIAlign"}}
DATASETS:
  TRAIN: ("balloon_train",)
INPUT:
  MIN_SIZE_TRAIN: (640, 800)
  MIN_SIZE_TEST: 640
  FORMAT: "RGB"
SOLVER:
  STEPS: (210000, 250000)
OUTPUT_DIR: "C:\\\\data\\\\out"
""")
    )
    assert config == replace(
        MASK,
        name="my",
        pixel_std=(57.375, 57.12, 58.395),
        stride_in_1x1=False,
        anchor_sizes=((16.0,), (32.0,), (64.0,), (128.0,), (256.0,)),
        num_classes=3,
        score=0.2,
        mask_pool=PoolConfig(14, 2, aligned=False),
        min_size=640,
        input_format="RGB",
    )


def test_a_base_beside_the_file_comes_before_the_known_ones(write):
    """Own bases may stand on others; the file's own values win."""
    write("_BASE_: Base-RCNN-FPN.yaml\nMODEL: {ROI_HEADS: {NUM_CLASSES: 7, NMS_THRESH_TEST: 0.3}}\n", "base.yml")
    config = read_config(write("_BASE_: base.yml\nMODEL: {ROI_HEADS: {NUM_CLASSES: 2}}\n"))
    assert (config.num_classes, config.nms, config.masks) == (2, 0.3, False)


def test_a_complete_config_as_detectron2_writes_it_is_read(write):
    """`config.yaml` in OUTPUT_DIR lists every option, also of heads that the detector has not."""
    config = read_config(
        write("""
CUDNN_BENCHMARK: false
DATALOADER: {ASPECT_RATIO_GROUPING: true, SAMPLER_TRAIN: TrainingSampler}
GLOBAL: {HACK: 1.0}
INPUT: {CROP: {ENABLED: false, SIZE: [0.9, 0.9], TYPE: relative_range}, FORMAT: BGR, MASK_FORMAT: polygon}
MODEL:
  ANCHOR_GENERATOR: {ANGLES: [[-90, 0, 90]], ASPECT_RATIOS: [[0.5, 1.0, 2.0]], NAME: DefaultAnchorGenerator,
    OFFSET: 0.0, SIZES: [[32], [64], [128], [256], [512]]}
  BACKBONE: {FREEZE_AT: 2, NAME: build_resnet_fpn_backbone}
  DEVICE: cuda
  FPN: {FUSE_TYPE: sum, IN_FEATURES: [res2, res3, res4, res5], NORM: '', OUT_CHANNELS: 256}
  KEYPOINT_ON: false
  LOAD_PROPOSALS: false
  MASK_ON: true
  META_ARCHITECTURE: GeneralizedRCNN
  PANOPTIC_FPN: {COMBINE: {ENABLED: true}}
  PROPOSAL_GENERATOR: {MIN_SIZE: 0, NAME: RPN}
  RESNETS: {DEFORM_ON_PER_STAGE: [false, false, false, false], DEPTH: 50, NORM: FrozenBN,
    OUT_FEATURES: [res2, res3, res4, res5], STRIDE_IN_1X1: true}
  RETINANET: {NUM_CLASSES: 80}
  ROI_BOX_CASCADE_HEAD: {IOUS: [0.5, 0.6, 0.7]}
  ROI_BOX_HEAD: {FC_DIM: 1024, NAME: FastRCNNConvFCHead, NUM_CONV: 0, NUM_FC: 2, POOLER_RESOLUTION: 7}
  ROI_HEADS: {IN_FEATURES: [p2, p3, p4, p5], NAME: StandardROIHeads, NUM_CLASSES: 80}
  ROI_KEYPOINT_HEAD: {NUM_KEYPOINTS: 17}
  ROI_MASK_HEAD: {NAME: MaskRCNNConvUpsampleHead, NUM_CONV: 4, POOLER_RESOLUTION: 14}
  RPN: {CONV_DIMS: [-1], IN_FEATURES: [p2, p3, p4, p5, p6], POST_NMS_TOPK_TEST: 1000, POST_NMS_TOPK_TRAIN: 1000,
    PRE_NMS_TOPK_TEST: 1000, PRE_NMS_TOPK_TRAIN: 2000}
  SEM_SEG_HEAD: {NAME: SemSegFPNHead}
SEED: -1
TEST: {AUG: {ENABLED: false, FLIP: true}, DETECTIONS_PER_IMAGE: 100, PRECISE_BN: {ENABLED: false}}
VERSION: 2
""")
    )
    assert replace(config, name=MASK.name) == MASK


BASE = "_BASE_: Base-RCNN-FPN.yaml\n"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (BASE + "MODEL: {META_ARCHITECTURE: RetinaNet}", "a RetinaNet"),
        (BASE + "MODEL: {META_ARCHITECTURE: PanopticFPN}", "a panoptic FPN"),
        (BASE + "MODEL: {META_ARCHITECTURE: ProposalNetwork}", "a ProposalNetwork"),
        (BASE + "MODEL: {KEYPOINT_ON: True}", "a keypoint R-CNN"),
        (BASE + "MODEL: {ROI_HEADS: {NAME: CascadeROIHeads}}", "a cascade R-CNN"),
        ("MODEL: {MASK_ON: True}", "an R-CNN with a C4 backbone"),
        ("MODEL: {RESNETS: {RES5_DILATION: 2}}", "an R-CNN with a DC5"),
        ("_BASE_: ../Base-RetinaNet.yaml", "a RetinaNet"),
        ("_BASE_: ../Base-RCNN-C4.yaml", "an R-CNN with a C4 backbone"),
        ("_BASE_: ../Base-RCNN-DilatedC5.yaml", "an R-CNN with a DC5"),
        ("_BASE_: ../Base-Keypoint-RCNN-FPN.yaml", "a keypoint R-CNN"),
        ("_BASE_: ../Base-Panoptic-FPN.yaml", "a panoptic FPN"),
    ],
)
def test_another_kind_of_detector_is_named(write, text, what):
    """Not a list of its options that are unknown here."""
    with pytest.raises(UnsupportedError, match=f"{what}.* which detq does not run"):
        read_config(write(text))


def test_detectron2s_own_base_of_retinanet_is_named_though_it_would_run_code(write, tmp_path):
    """It computes its anchors with `eval`; nothing is computed here, whatever it is."""
    target = tmp_path / "written-by-the-payload"
    sizes = f'!!python/object/apply:eval ["[[x] for x in [32, 64]] if open({str(target)!r}, chr(119)) else 0"]'
    anchors = f"ANCHOR_GENERATOR: {{SIZES: {sizes}}}"
    with pytest.raises(UnsupportedError, match=r"a RetinaNet .* which detq does not run"):
        read_config(write(f"MODEL: {{META_ARCHITECTURE: RetinaNet, {anchors}}}"))
    with pytest.raises(UnsupportedError, match=r"not readable as plain YAML.* compute MODEL\.ANCHOR_GENERATOR\.SIZES;"):
        read_config(write(f"{BASE}MODEL: {{{anchors}}}"))
    assert not target.exists()


def test_what_a_lazy_config_saves_is_named(write):
    """Detectron2's newer configs are Python, and their YAML has other keys: all options would have defaults."""
    with pytest.raises(UnsupportedError, match="found a LazyConfig, which detq does not run"):
        read_config(write("model: {_target_: detectron2.modeling.GeneralizedRCNN, backbone: {out_features: [p2]}}"))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("retinanet_R_50_FPN_3x", "a RetinaNet"),
        ("mask_rcnn_R_50_C4_3x", "C4"),
        ("faster_rcnn_R_101_DC5_3x", "DC5"),
        ("keypoint_rcnn_R_50_FPN_3x", "keypoint"),
        ("panoptic_fpn_R_50_3x", "panoptic"),
        ("cascade_mask_rcnn_R_50_FPN_3x", "cascade"),
        ("mask_rcnn_X_101_32x8d_FPN_3x", "ResNeXt"),
    ],
)
def test_the_zoos_other_detectors_are_known_by_name(name, what):
    """They exist, and detq does not run them: another answer than to a typing mistake."""
    with pytest.raises(UnsupportedError, match=what):
        read_config(name)


def test_options_that_are_not_supported_are_all_named(write):
    """With the value found, and those that would do."""
    text = """
MODEL:
  FPN: {NORM: GN, FUSE_TYPE: avg}
  RESNETS: {DEPTH: 152, DEFORM_ON_PER_STAGE: [False, True, True, True]}
  ROI_BOX_HEAD: {CLS_AGNOSTIC_BBOX_REG: True}
TEST: {AUG: {ENABLED: True}}
"""
    with pytest.raises(UnsupportedError) as error:
        read_config(write(BASE + text))
    message = str(error.value)
    for part in (
        "MODEL.FPN.NORM: 'GN' (supported: '')",
        "MODEL.FPN.FUSE_TYPE: 'avg'",
        "MODEL.RESNETS.DEPTH: 152 (supported: 50, 101)",
        "MODEL.RESNETS.DEFORM_ON_PER_STAGE: [False, True, True, True]",
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG: True (supported: False)",
        "TEST.AUG.ENABLED: True",
    ):
        assert part in message
    assert "\n" not in message


def test_no_option_that_answers_depend_on_is_passed_over():
    """Each is followed, or limited to the values that detq supports, or tells another kind of detector."""
    followed = {key for key, _ in _FIELDS.values()}
    assert DEFAULTS.keys() == followed | ALLOWED.keys() | {"MODEL.META_ARCHITECTURE", "MODEL.KEYPOINT_ON"}
    assert not [key for key in DEFAULTS if _ignored(key)]


def test_the_mask_heads_options_do_not_matter_without_one(write):
    """A Faster R-CNN is not refused for a head that it has not."""
    head = "ROI_MASK_HEAD: {NORM: GN}"
    assert not read_config(write(f"{BASE}MODEL: {{{head}}}")).masks
    with pytest.raises(UnsupportedError, match=r"MODEL\.ROI_MASK_HEAD\.NORM"):
        read_config(write(f"{BASE}MODEL: {{MASK_ON: True, {head}}}"))


def test_options_that_detq_does_not_know_are_named(write):
    """What a project of one's own adds may decide anything."""
    with pytest.raises(UnsupportedError, match=r"does not know.*: MODEL\.ATTENTION\.HEADS, MODEL\.RPN\.NMS_TRESH$"):
        read_config(write(BASE + "MODEL: {RPN: {NMS_TRESH: 0.6}, ATTENTION: {HEADS: 8}}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "MODEL: {ROI_HEADS: {NUM_CLASSES: 0}}",
            r"MODEL\.ROI_HEADS\.NUM_CLASSES: expected a whole number from 1, found 0",
        ),
        ("MODEL: {MASK_ON: 1}", r"MODEL\.MASK_ON: expected true or false, found 1"),
        ("MODEL: {PIXEL_MEAN: [1, 2]}", r"MODEL\.PIXEL_MEAN: expected a list of 3 numbers, found \[1, 2\]"),
        ("MODEL: {PIXEL_STD: [1, 1, 0]}", r"MODEL\.PIXEL_STD: expected a number from"),
        ("MODEL: {RPN: {NMS_THRESH: 7}}", r"MODEL\.RPN\.NMS_THRESH: expected a number from 0 to 1, found 7"),
        ("MODEL: {ANCHOR_GENERATOR: {SIZES: [[32], [64]]}}", r"SIZES: expected one list, or 5 of them"),
        ("MODEL: {ANCHOR_GENERATOR: {SIZES: [[1], [2], [3], [4], [5, 6]]}}", r"as many anchors on every level"),
        ("INPUT: {FORMAT: YUV-BT.601}", r"INPUT\.FORMAT: 'YUV-BT\.601' \(supported: 'BGR', 'RGB'\)"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_was_expected(write, text, expected):
    """One sentence."""
    with pytest.raises(UnsupportedError, match=expected):
        read_config(write(BASE + text))


def test_anchors_of_one_level_stand_for_all(write):
    """Detectron2 repeats a single list."""
    config = read_config(write(BASE + "MODEL: {ANCHOR_GENERATOR: {SIZES: [[32, 64]], ASPECT_RATIOS: [[1.0]]}}"))
    assert config.anchor_sizes == ((32.0, 64.0),) * 5
    assert config.anchors_per_location == 2


def test_a_config_that_would_run_code_is_refused(write, tmp_path):
    """Detectron2 itself loads YAML unsafely; this payload is real."""
    target = tmp_path / "written-by-the-payload"
    text = f'{BASE}OUTPUT_DIR: !!python/object/apply:os.system ["touch {target}"]\n'
    with pytest.raises(DetqError, match="not readable as plain YAML"):
        read_config(write(text))
    assert not target.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- 1\n", "expected Detectron2's options, found list"),
        ("", "found NoneType"),
        ("MODEL: {", "not readable as plain YAML"),
        (BASE + "VERSION: 1", "VERSION: expected 2, found 1"),
        ("_BASE_: my.yaml", "do they name each other"),
        ("_BASE_: Base-RCNN-FPM.yaml", "did you mean Base-RCNN-FPN"),
        ("_BASE_: 7", "_BASE_ 7: expected a file"),
    ],
)
def test_a_file_that_is_no_config_is_one_sentence(write, text, expected):
    """With the file's name in it."""
    with pytest.raises(DetqError, match=expected) as error:
        read_config(write(text))
    assert "my.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_one_sentence(tmp_path):
    """A checkpoint in the place of a config, for example."""
    (tmp_path / "my.yaml").write_bytes(b"\x80\x04\xff\xfe")
    with pytest.raises(DetqError, match="not a readable file"):
        read_config(str(tmp_path / "my.yaml"))


def test_a_config_that_does_not_exist_offers_close_matches(write, tmp_path):
    """Of the zoo's names, and of the files beside it."""
    with pytest.raises(UnknownNameError, match="did you mean mask_rcnn_R_50_FPN_3x"):
        read_config("mask_rcnn_R50_FPN_3x")
    write(BASE, "balloons.yaml")
    with pytest.raises(DetqError, match=r"there is no such file; did you mean balloons\.yaml\?"):
        read_config(str(tmp_path / "balloon.yaml"))
    with pytest.raises(UnsupportedError, match="expected YAML, found Python"):
        read_config("mask_rcnn_R_50_FPN_1x.py")


@given(
    st.builds(
        Detectron2Config,
        name=st.text(),
        masks=st.booleans(),
        num_classes=st.integers(1, 2000),
        pixel_mean=st.tuples(*[st.floats(0, 255)] * 3),
        anchor_sizes=st.tuples(*[st.tuples(st.floats(1, 999), st.floats(1, 999))] * 5),
        box_pool=st.builds(PoolConfig, st.integers(1, 14), st.integers(0, 4), st.booleans()),
    )
)
def test_a_config_travels_as_json_unchanged(config):
    """It is in the metadata of the weights."""
    assert Detectron2Config.from_json(config.to_json()) == config


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 3}', MASK.to_json().replace("50", '"50"', 1)])
def test_metadata_that_is_no_config_is_one_sentence(text):
    """Somebody else's file."""
    with pytest.raises(WeightsError, match="is not what detq writes"):
        Detectron2Config.from_json(text)
