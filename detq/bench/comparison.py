"""Which baseline a session is compared with, and pointing pytest-benchmark's own comparison at it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detq.baseline import choose, read_baselines, restrict, state_of
from detq.bench.settings import Settings
from detq.files import write_json

__all__ = ["Comparison", "Machine"]

DEFAULT_STORAGE = "file://./.benchmarks"
DEFAULT_SORT = "min"


@dataclass(frozen=True)
class Machine:
    """This machine, as baselines know it.

    Attributes:
        id: of its class.
        fields: what makes up the class, as JSON gives it back.
        versions: of what detq builds on, for reading.
    """

    id: str
    fields: Mapping[str, Any]
    versions: Mapping[str, str]

    @classmethod
    def detect(cls, threads: int) -> Machine:
        """Return the machine that this process runs on, with `threads` threads."""
        from detq.measure.environment import environment, machine_class

        found = environment(threads)
        kind = machine_class(found)
        return cls(kind.id, json.loads(json.dumps(asdict(kind))), found["versions"])


class Comparison:
    """The baseline of a session.

    Attributes:
        choice: the baseline, and whether it is of this machine class.
        path: the file of this machine class, there or not.
        state: of that file before it was read: an update replaces it only while it is the same.
        messages: what has to be said about it.
    """

    def __init__(self, settings: Settings, machine: Machine) -> None:
        self.messages: list[str] = []
        self.path = settings.project.baselines / f"{machine.id}.json"
        self._settings, self._machine = settings, machine
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.state = state_of(self.path)
        self.choice = choose(read_baselines(settings.project.baselines), machine.id, machine.fields)

    def point(self, option: Any) -> None:
        """Set pytest-benchmark's options so that its table shows this machine class's baseline beside this run.

        pytest-benchmark by itself takes the newest file, whatever the CPU. The baseline is cut to the images that this
        run measures. Where there is none, a bare `--benchmark-compare` does nothing but say so.

        Args:
            option: `config.option`.
        """
        gating = self._settings.gate or self._settings.update
        if option.benchmark_compare is not True and (option.benchmark_compare or not gating):
            return
        if self.choice.baseline is None or not self.choice.same_class:
            if option.benchmark_compare is True:
                self.messages.append(
                    f"NOTHING TO COMPARE WITH: no baseline for this machine class ({self._machine.id}); "
                    f"record one with `{self._settings.record}`"
                )
            option.benchmark_compare = []
            return
        self._folder = tempfile.TemporaryDirectory(prefix="detq-")
        path = Path(self._folder.name) / "baseline.json"
        write_json(path, restrict(self.choice.baseline.json, self._settings.images))
        option.benchmark_compare = str(path)
        saves = option.benchmark_save or option.benchmark_autosave
        if option.benchmark_storage == DEFAULT_STORAGE and not saves:
            # The table names a file by its path below the storage: this way it is just "baseline".
            option.benchmark_storage = f"file://{self._folder.name}"
        if option.benchmark_sort == DEFAULT_SORT:
            # So that the two rows of a variant stand beside each other.
            option.benchmark_sort = "name"

    def describe(self) -> str:
        """Return the baseline in a few words."""
        if self.choice.baseline is None:
            return "no baseline"
        kind = "this machine class" if self.choice.same_class else "ANOTHER machine class"
        return f"baseline {self.choice.baseline.path.name} ({kind})"

    def close(self) -> None:
        """Remove the temporary copy of the baseline."""
        if self._folder is not None:
            self._folder.cleanup()
