"""Talking to a worker process: start it, ask it, end it, and a sentence where it died."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from detq.errors import DetqError
from detq.measure.allocator import KEEPING

__all__ = ["Worker", "WorkerError"]

SCRIPT = Path(__file__).with_name("worker.py")
SECONDS_TO_END = 5.0
SECONDS_TO_SAY_WHERE = 1.0

DOING = {
    "hello": "import everything",
    "recipes": "name the recipes of {model}",
    "build": "build {variant}",
    "detect": "run an image",
    "finish": "say how large it is",
}
"""Question -> what the process was doing, for people."""


class WorkerError(DetqError):
    """A worker could not do what it was asked to, in its own words.

    Attributes:
        side: which: "head", "base" or "control".
    """

    def __init__(self, side: str, message: str) -> None:
        super().__init__(_printable(message))
        self.side = side


class Worker:
    """A process with one version of the code.

    Args:
        side: "head", "base" or "control".
        python: the interpreter.
        paths: folders in front of everything else that it imports from.
        folder: its working directory.
        threads: of torch's operators.
        timeout_s: seconds that an answer may take.

    Raises:
        DetqError: the interpreter cannot be started.
    """

    def __init__(
        self, side: str, python: str, paths: Sequence[Path], folder: Path, *, threads: int, timeout_s: float
    ) -> None:
        self.side = side
        self._timeout_s = timeout_s
        self._doing, self._unread = "start", b""
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the worker
        before = os.environ.get("PYTHONPATH")
        # Otherwise processes of the same code differ by 5 %: see `detq.measure.allocator`.
        environment = (
            KEEPING
            | os.environ
            | {
                "PYTHONPATH": os.pathsep.join([*map(str, paths), *([before] if before else [])]),
                "OMP_NUM_THREADS": str(threads),
                "MKL_NUM_THREADS": str(threads),
            }
        )
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
            WorkerError: it answered with an error, died, or took too long; then it is ended.
        """
        self.tell(do, **question)
        return self.hear()

    def tell(self, do: str, **question: Any) -> None:
        """Send a question without waiting for the answer; `hear` must follow."""
        stream = self._process.stdin
        self._doing = DOING.get(do, do).format_map(question)
        with contextlib.suppress(BrokenPipeError):  # it died: `hear` says so
            if stream is not None:
                stream.write(json.dumps({"do": do, **question}).encode() + b"\n")
                stream.flush()

    def hear(self) -> dict[str, Any]:
        """Return the answer to the question before; see `ask`."""
        line = self._line()
        if not line:
            raise WorkerError(self.side, self._why_it_died())
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise WorkerError(self.side, found["error"])
        answer: dict[str, Any] = found["answer"]
        return answer

    def _line(self) -> bytes:
        """Return what it says up to the next line's end, or nothing where it died."""
        stream = self._process.stdout
        deadline = time.monotonic() + self._timeout_s
        while stream is not None and b"\n" not in self._unread:
            ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise WorkerError(self.side, self._why_it_hangs())
            chunk = os.read(stream.fileno(), 1 << 20)
            if not chunk:
                return b""
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _why_it_hangs(self) -> str:
        """End the process, after asking it where it is."""
        said = f"its process took more than {self._timeout_s:g} s to {self._doing}"
        self._process.send_signal(signal.SIGUSR1)
        place, deadline = None, time.monotonic() + SECONDS_TO_SAY_WHERE
        while place is None and time.monotonic() < deadline:
            time.sleep(0.05)
            place = _innermost(self._everything_said())
        self.kill()
        where = "" if place is None else f"; it was at {place}"
        return f"{said}{where}; it was ended: see why it hangs, or give it a longer --timeout"

    def _everything_said(self) -> str:
        # By its place: the process writes on at the end, wherever this one reads.
        size = os.fstat(self._said.fileno()).st_size
        return os.pread(self._said.fileno(), size, 0).decode(errors="replace")

    def kill(self) -> None:
        """End the process, and those that it started, at once."""
        if self._process.poll() is None:  # otherwise its number may belong to somebody else by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _why_it_died(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"its process was killed by signal {-code} (out of memory?)"
        lines = self._everything_said().strip().splitlines()
        return f"its process ended with status {code}: {lines[-1] if lines else 'it said nothing'}"

    def dismiss(self) -> None:
        """Tell the process that nothing more comes: it ends by itself, which takes torch a second; `close` waits."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()

    def close(self) -> None:
        """End the process: politely, and after a few seconds for good."""
        self.dismiss()
        if self._process.stdout is not None:
            self._process.stdout.close()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        finally:
            self._said.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        """End the process; at once, where something went wrong or the user pressed Ctrl-C."""
        if kind is not None:
            self.kill()
        self.close()


def _printable(text: str) -> str:
    """Return what other people's code said in one line, without colours and the like: some reports cannot hold them."""
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def _innermost(said: str) -> str | None:
    """Return the last place that `faulthandler` named, innermost first, as `file.py:12 (function)`, or None."""
    _, _, dump = said.rpartition("(most recent call first):")
    match = re.search(r'File "([^"]+)", line (\d+) in (\S+)', dump)
    return None if match is None else f"{Path(match[1]).name}:{match[2]} ({match[3]})"
