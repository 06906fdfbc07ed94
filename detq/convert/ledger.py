"""What a conversion left out, changed, or could not carry: so that nothing is lost in silence."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Dropped", "Ledger"]


@dataclass(frozen=True)
class Dropped:
    """Something that is not in the result.

    Attributes:
        what: "image", "annotation" or "category".
        where: its file and place there.
        reason: why it was left out.
    """

    what: str
    where: str
    reason: str


@dataclass
class Ledger:
    """A running account of a conversion.

    Attributes:
        dropped: what was left out.
        changed: what happened to annotations that were kept -> where each of them stands.
        not_carried: a field that the target has no place for -> how often it was there.
        notes: other things to know, a sentence each.
    """

    dropped: list[Dropped] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)
    not_carried: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def change(self, text: str, where: str) -> None:
        """Count a change of one annotation."""
        self.changed.setdefault(text, []).append(where)

    def lose(self, name: str, times: int = 1) -> None:
        """Count a field that the target has no place for."""
        self.not_carried[name] = self.not_carried.get(name, 0) + times

    def lose_all(self, content: Mapping[str, Any], prefix: str) -> None:
        """Count each field of `content`, free attributes by their own names."""
        for key, value in content.items():
            if key == "attributes" and isinstance(value, Mapping):
                self.lose_all(value, f"{prefix}attributes.")
            else:
                self.lose(f"{prefix}{key}")

    def forget_changes(self, texts: Collection[str]) -> None:
        """Strike changes out that do not show in the result."""
        self.changed = {text: places for text, places in self.changed.items() if text not in texts}
