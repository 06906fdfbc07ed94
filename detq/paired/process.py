"""Talking to a worker process: start it, ask it, end it, and a sentence where it died."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from detq.errors import DetqError

__all__ = ["Worker", "WorkerError"]

SCRIPT = Path(__file__).with_name("worker.py")
SECONDS_TO_END = 5.0


class WorkerError(DetqError):
    """A worker could not do what it was asked to, in its own words.

    Attributes:
        side: which: "head", "base" or "control".
    """

    def __init__(self, side: str, message: str) -> None:
        super().__init__(message)
        self.side = side


class Worker:
    """A process with one version of the code.

    Args:
        side: "head", "base" or "control".
        python: the interpreter.
        paths: folders in front of everything else that it imports from.
        folder: its working directory.
        threads: of torch's operators.

    Raises:
        DetqError: the interpreter cannot be started.
    """

    def __init__(self, side: str, python: str, paths: Sequence[Path], folder: Path, threads: int) -> None:
        self.side = side
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the worker
        before = os.environ.get("PYTHONPATH")
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([*map(str, paths), *([before] if before else [])]),
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        try:
            # A session of its own: Ctrl-C is for this process, which ends the workers in order.
            self._process = subprocess.Popen(  # noqa: S603  # the interpreter that the user chose
                [python, "-P", str(SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            self._said.close()
            raise DetqError(
                f"--base-python {python}: expected a Python interpreter, it cannot be started: {error.strerror}"
            ) from None

    def ask(self, do: str, **question: Any) -> dict[str, Any]:
        """Return the worker's answer to one question.

        Raises:
            WorkerError: it answered with an error, or died.
        """
        self.tell(do, **question)
        return self.hear()

    def tell(self, do: str, **question: Any) -> None:
        """Send a question without waiting for the answer; `hear` must follow."""
        stream = self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it died: `hear` says so
            if stream is not None:
                stream.write(json.dumps({"do": do, **question}).encode() + b"\n")
                stream.flush()

    def hear(self) -> dict[str, Any]:
        """Return the answer to the question before; see `ask`."""
        stream = self._process.stdout
        line = stream.readline() if stream is not None else b""
        if not line:
            raise WorkerError(self.side, self._why_it_died())
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise WorkerError(self.side, found["error"])
        answer: dict[str, Any] = found["answer"]
        return answer

    def _why_it_died(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"its process was killed by signal {-code} (out of memory?)"
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f"its process ended with status {code}: {lines[-1] if lines else 'it said nothing'}"

    def close(self) -> None:
        """End the process: politely, and after a few seconds for good."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._said.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        """End the process; at once, where something went wrong or the user pressed Ctrl-C."""
        if kind is not None:
            self._process.kill()
        self.close()
