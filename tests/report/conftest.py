"""A run's result to report on: built by hand, no model involved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detq.results import (
    Accuracy,
    AgreementSummary,
    DataSummary,
    Interval,
    Latency,
    ProposalBin,
    Proposals,
    QuantizedShare,
    RunResult,
    VariantResult,
)

METRICS = ("prediction_iou", "ground_truth_iou", "precision", "recall")
AP = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def _accuracy(difference):
    return Accuracy("car", dict.fromkeys(METRICS, 0.8), dict.fromkeys(AP, 0.5), {"f1": 0.7, "score": 0.7}, difference)


def _latency(median_ms):
    return Latency(200, median_ms / 5, median_ms, median_ms, median_ms * 1.2, median_ms * 1.5)


@pytest.fixture
def make_result():
    """A function that makes the result of a run over fp32 and dynamic_int8; its arguments say what int8 does."""

    def make(
        *, speedup=(1.18, 1.15, 1.21), differences=None, images=200, meaningful=True, agreement=None, recipes=1
    ) -> RunResult:
        changes = dict.fromkeys((*METRICS, *AP), Interval(0.0, -0.001, 0.001)) | (differences or {})
        labelled = meaningful and agreement is None
        fp32 = VariantResult(
            _latency(100.0), None, 900_000_000, 75_900_000, None, _accuracy(None) if labelled else None
        )
        share = QuantizedShare(0.625, 5, 8, {"box_head": 1.0}, ("roi_heads.box_head.fc6",), ("quantized::linear",), 4)
        int8 = VariantResult(
            _latency(85.0),
            Interval(*speedup),
            None,
            34_200_000,
            share,
            _accuracy(changes) if labelled else None,
            agreement,
        )
        return RunResult(
            model="fasterrcnn_mobilenet_v3_large_fpn",
            weights="packaged" if meaningful else "random (seed 0): for timing only",
            meaningful_accuracy=meaningful,
            data=DataSummary("photos", "0123456789abcdef", images, ("car",), ("Ignored by --map: 2 boxes (bus: 2).",)),
            environment={"cpu": {"name": "A CPU", "vendor": "V", "family": "6", "model": "1", "cores": 2}},
            machine_class="v-6.1",
            threads=2,
            seed=0,
            score=0.7,
            iou=0.65,
            variants={"fp32": fp32} | ({"dynamic_int8": int8} if recipes else {}),
            proposals=Proposals(60, 462.0, (ProposalBin(98, 300, 20, {"dynamic_int8": Interval(1.1, 1.0, 1.2)}),)),
            overhead={"share_of_fp32": 0.02},
            pictures=("pictures/000000_a.jpg",),
        )

    return make


@pytest.fixture
def agreeing() -> AgreementSummary:
    """A variant that finds nearly all that fp32 finds."""
    return AgreementSummary(1000, 1001, 0.991, 0.99, 0.97, 0.001, 0.002, 0.05)


@pytest.fixture
def with_rival():
    """A function that adds a second quantized variant to a result."""

    def add(result, name, speedup):
        other = replace(result.variants["dynamic_int8"], speedup=Interval(*speedup))
        return replace(result, variants=result.variants | {name: other})

    return add
