"""The three processes that a variant runs in: the working tree's, and two of the base."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from detq.errors import DetqError
from detq.gate.trial import SIDES
from detq.paired.checkout import Tree, own_file
from detq.paired.code import check_detq, check_there
from detq.paired.config import GateConfig
from detq.paired.process import Worker, WorkerError

__all__ = ["Sides"]


class Sides:
    """Three processes of one run.

    Args:
        config: what the run was asked to do.
        head: the code that is judged.
        base: the code that it is compared with.

    Attributes:
        workers: the processes, by side.
    """

    def __init__(self, config: GateConfig, head: Tree, base: Tree) -> None:
        self._config, self._trees = config, {"head": head, "base": base, "control": base}
        self.workers: dict[str, Worker] = {}

    @contextlib.contextmanager
    def running(self) -> Iterator[Sides]:
        """Start the processes, which import at the same time while this one goes on, and end them afterwards."""
        config = self._config
        with contextlib.ExitStack() as stack:
            for side in SIDES:
                tree, python = self._trees[side], sys.executable if side == "head" else config.base_python
                worker = Worker(
                    side, python, tree.paths, tree.folder, threads=config.threads, timeout_s=config.timeout_s
                )
                self.workers[side] = stack.enter_context(worker)
                worker.tell("hello", threads=config.threads, modules=list(config.own_modules))
            yield self
            for worker in self.workers.values():  # all at once; each is then waited for
                worker.dismiss()

    def hear_versions(self) -> dict[str, Any]:
        """Wait until all have imported, check whose code they run, and return the versions of head and base.

        Raises:
            DetqError: one cannot import, or lacks the user's model, or both run the same code.
        """
        head, base = self._trees["head"], self._trees["base"]
        hellos = {}
        for side in ("base", "control", "head"):  # what the base lacks is said before head has imported torch
            hellos[side] = self.ask(side)
            check_there(self._trees[side], hellos[side], base=side != "head")
        check_detq(head, base, hellos, own_model=self._config.all_own)
        return {side: hellos[side]["versions"] for side in ("head", "base")}

    def ask(self, side: str, do: str | None = None, **question: Any) -> dict[str, Any]:
        """Return the answer to a new question, or to the last one told.

        Raises:
            DetqError: there is none; it names the commit.
        """
        worker, config = self.workers[side], self._config
        try:
            return worker.hear() if do is None else worker.ask(do, **question)
        except WorkerError as error:
            if do is None and side != "head" and config.base_python != sys.executable:
                where = f"--base-python {config.base_python}"
                raise DetqError(f"{where}: expected a Python with torch and what else detq needs; {error}") from None
            where = self._trees["head"].name if side == "head" else f"--base {config.base}"
            raise DetqError(f"{where}: {error}") from None

    def build(self, variant: str, image: str) -> Mapping[str, dict[str, Any]]:
        """Build a variant in all three, and return their answers.

        The base goes first: what it cannot do either is no regression, and what it compiles the control finds in the
        cache. Then the other two build at the same time.

        Args:
            variant: id.
            image: file to prove int8 with.

        Raises:
            WorkerError: one cannot.
        """
        config = self._config
        question = {
            "variant": variant,
            "image": image,
            "classes": None if config.classes is None else list(config.classes),
            "seed": config.seed,
            "calibration": config.calibration,
        }
        head = self._trees["head"]
        weights = {side: own_file(config.weights, head, tree) for side, tree in self._trees.items()}
        built = {"base": self.workers["base"].ask("build", **question, weights=weights["base"])}
        for side in ("control", "head"):
            self.workers[side].tell("build", **question, weights=weights[side])
        return built | {side: self.workers[side].hear() for side in ("control", "head")}
