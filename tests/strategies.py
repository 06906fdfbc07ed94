"""Hypothesis strategies that several test files share."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

__all__ = ["box_sets", "boxes_in"]


def boxes_in(limit: float = 1000.0, *, min_side: float = 0.0) -> st.SearchStrategy[list[float]]:
    """One xyxy box with corners in order, inside [0, limit], each side at least `min_side`."""
    corner = st.floats(0, limit - min_side, width=32)
    side = st.floats(min_side, limit, width=32)
    return st.tuples(corner, corner, side, side).map(
        lambda t: [t[0], t[1], min(t[0] + t[2], limit), min(t[1] + t[3], limit)]
    )


def box_sets(max_size: int = 8, limit: float = 1000.0, *, min_side: float = 0.0) -> st.SearchStrategy[np.ndarray]:
    """Float32 `(N, 4)` xyxy boxes with corners in order, N from 0 to `max_size`."""
    return st.lists(boxes_in(limit, min_side=min_side), max_size=max_size).map(
        lambda rows: np.asarray(rows, np.float32).reshape(-1, 4)
    )
