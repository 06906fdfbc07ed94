"""What the numbers mean: the 2024 report's metrics, one-to-one matching, COCO's AP, agreement, and their intervals.

Everything here is NumPy; nothing imports torch.
"""

from __future__ import annotations

__all__: list[str] = []
