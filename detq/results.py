"""What a run found: `metrics.json` as frozen dataclasses. Reports, baselines and the gate read this, never a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detq.errors import OutputError
from detq.files import read_json, write_json
from detq.measure.timing import Latency
from detq.metrics.bootstrap import Interval
from detq.quantization.recipes import REFERENCE
from detq.records import from_json, to_json

__all__ = [
    "FORMAT",
    "REFERENCE",
    "Accuracy",
    "AgreementSummary",
    "DataSummary",
    "Interval",
    "Latency",
    "ProposalBin",
    "Proposals",
    "QuantizedShare",
    "RunResult",
    "VariantResult",
]

FORMAT = "detq-run/1"


@dataclass(frozen=True)
class DataSummary:
    """What was measured on.

    Attributes:
        name: what the user typed.
        identity: hexadecimal digits that differ where images, classes or annotations differ.
        images: how many were used.
        classes: the names that model and data set share; on unlabelled data the model's.
        ignored: what was left out and why, one sentence each.
    """

    name: str
    identity: str
    images: int
    classes: tuple[str, ...]
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class QuantizedShare:
    """What of a variant really runs in int8; see `detq.quantization.proof.Proof`.

    Attributes:
        share: int8 multiply-accumulates / all of them, in [0, 1].
        int8_macs: multiply-accumulates in int8, for one image.
        total_macs: all of them, for the same image.
        by_stage: int8 share of each stage.
        int8_modules: names of the modules.
        kernels: the profiler's names of the int8 kernels that ran.
        kernel_calls: how often they ran.
    """

    share: float
    int8_macs: int
    total_macs: int
    by_stage: dict[str, float]
    int8_modules: tuple[str, ...]
    kernels: tuple[str, ...]
    kernel_calls: int


@dataclass(frozen=True)
class Accuracy:
    """How good a variant's detections are; `detq.metrics.evaluate` says what each entry means.

    Attributes:
        report_class: the class that the report's metrics are about, or None where none was chosen.
        report: the 2024 report's four metrics.
        coco: AP and its relatives; None where undefined.
        matching: one-to-one matching.
        difference: variant − fp32 with its paired interval, by metric; None for fp32 itself.
        masks: AP and its relatives for masks; None where the model or the data has none.
    """

    report_class: str | None
    report: dict[str, float | None]
    coco: dict[str, float | None]
    matching: dict[str, float | None]
    difference: dict[str, Interval | None] | None
    masks: dict[str, float | None] | None = None


@dataclass(frozen=True)
class AgreementSummary:
    """How far a variant finds what fp32 finds, where there are no labels; see `detq.metrics.agreement.Agreement`.

    Attributes:
        reference_detections: detections of fp32.
        candidate_detections: detections of the variant.
        share_matched: share of fp32's detections that the variant has too, in [0, 1]; None without any.
        share_candidate_matched: share of the variant's detections that fp32 has too, in [0, 1]; None without any.
        mean_iou: over matched pairs; None without any.
        score_shift: mean over matched pairs of the variant's score − fp32's; None without any.
        mean_absolute_score_shift: mean of its absolute value.
        max_absolute_score_shift: the largest one.
    """

    reference_detections: int
    candidate_detections: int
    share_matched: float | None
    share_candidate_matched: float | None
    mean_iou: float | None
    score_shift: float | None
    mean_absolute_score_shift: float | None
    max_absolute_score_shift: float | None


@dataclass(frozen=True)
class VariantResult:
    """One variant.

    Accuracy is None for random weights and unlabelled data, agreement for labelled data and fp32. `split` holds the
    medians of `detq.measure.split.PARTS`; None for a detector whose time is not divided. `notes` say what the recipe
    lost on this CPU.
    """

    latency: Latency
    speedup: Interval | None
    peak_memory_bytes: int | None
    weight_bytes: int
    proof: QuantizedShare | None
    accuracy: Accuracy | None
    agreement: AgreementSummary | None = None
    split: dict[str, float] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProposalBin:
    """Images with `low` to `high` proposals: how many, and the speed-up of each variant on them."""

    low: int
    high: int
    images: int
    speedup: dict[str, Interval]


@dataclass(frozen=True)
class Proposals:
    """Region proposals that reach the box head in fp32, counted on some of the images.

    Attributes:
        images: how many images were counted.
        median: over those images.
        bins: thirds of those images by their number of proposals, fewest first.
    """

    images: int
    median: float
    bins: tuple[ProposalBin, ...] = ()


@dataclass(frozen=True)
class RunResult:
    """Everything that `detq run` found, except pictures and raw values.

    Attributes:
        model: zoo name, or the user's own `package.module:callable`.
        weights: where the parameters come from.
        meaningful_accuracy: False for random weights, whose detections say nothing.
        data: what was measured on.
        environment: see `detq.measure.environment`.
        machine_class: id of the class of machines whose times can be compared.
        threads: how many torch used.
        seed: of the run.
        score: least score of a detection in the report's metrics.
        iou: least IoU of a match there.
        variants: by recipe, or name of the file, fp32 first.
        calibration: what static int8 took its ranges from (data, identity, images, seed, observer), or None.
        proposals: None for models without region proposals.
        overhead: "inference_fp32_s" of all images; "loading_s" and "writing_s" of the last session; "metrics_s"; and
            "share_of_fp32", what the three add to fp32's inference.
        pictures: paths below the run's folder.
        advice: the closing line.
        artifacts: name -> what the file is, of variants that were loaded from files.
    """

    model: str
    weights: str
    meaningful_accuracy: bool
    data: DataSummary
    environment: dict[str, Any]
    machine_class: str
    threads: int
    seed: int
    score: float
    iou: float
    variants: dict[str, VariantResult]
    calibration: dict[str, Any] | None = None
    proposals: Proposals | None = None
    overhead: dict[str, float] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()
    advice: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if REFERENCE not in self.variants:
            raise ValueError(f"variants must hold {REFERENCE!r}, got {', '.join(self.variants) or 'none'}")

    @property
    def labelled(self) -> bool:
        """Whether there is accuracy to report."""
        return self.variants[REFERENCE].accuracy is not None

    def to_json(self) -> dict[str, Any]:
        """Return the content of `metrics.json`."""
        return {"format": FORMAT, **to_json(self)}

    @classmethod
    def from_json(cls, content: Any, where: str) -> RunResult:
        """Return the result in parsed JSON.

        Raises:
            ValueError: it is not in this format; the message begins with `where` and names the place.
        """
        found = content.get("format") if isinstance(content, Mapping) else None
        if found != FORMAT:
            raise ValueError(f"{where}: expected the format {FORMAT!r}, got {found!r}")
        return from_json(cls, content, where)

    def write(self, path: Path) -> None:
        """Write `metrics.json`, whole or not at all."""
        write_json(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> RunResult:
        """Read a `metrics.json`.

        Raises:
            OutputError: there is none, or it is not one of this version.
        """
        content = read_json(path, OutputError, "the result")
        try:
            return cls.from_json(content, str(path))
        except ValueError as error:
            raise OutputError(f"{error}; run `detq run` again with this version of detq") from None
