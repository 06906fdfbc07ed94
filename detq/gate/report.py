"""A gate's outcome for other programs and for people elsewhere: JSON, JUnit XML, Markdown, GitHub annotations."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from detq.errors import OutputError
from detq.files import write_json, write_text
from detq.gate.evidence import Evidence, Verdict
from detq.gate.judge import Outcome

__all__ = [
    "FORMAT",
    "as_json",
    "as_junit",
    "as_markdown",
    "check_reports",
    "evidence_row",
    "github_lines",
    "write_reports",
]

FORMAT = "detq-gate/1"
"""The `format` of the JSON; another number means another meaning of the fields."""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write (section 2.2), such as the colours of an error message."""

MARKS = {
    Verdict.IMPROVEMENT: "🔵",
    Verdict.PASS: "🟢",
    Verdict.INCONCLUSIVE: "🟡",
    Verdict.REGRESSION: "🔴",
    Verdict.MISSING: "🔴",
}


def as_json(outcome: Outcome, context: Mapping[str, Any], variants: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outcome ready for JSON.

    Args:
        outcome: what was found.
        context: what was compared.
        variants: what else is known of each variant, by id.

    Returns:
        "format" (`FORMAT`), "verdict" (the worst of all), "failed", "context", "notes", and "variants": for each id its
        worst "verdict", what else is known of it, and "evidence", a list of the fields of `Evidence`. An end of an
        interval that does not exist is null.
    """
    names = dict.fromkeys(item.variant for item in outcome.evidence)
    worst = max((item.verdict for item in outcome.evidence), key=lambda verdict: verdict.severity, default=None)
    return {
        "format": FORMAT,
        "verdict": str(worst or Verdict.MISSING),
        "failed": outcome.failed,
        "context": dict(context),
        "notes": list(outcome.notes),
        "variants": {
            name: {
                "verdict": str(outcome.worst(name)),
                **variants.get(name, {}),
                "evidence": [evidence_row(item) for item in outcome.evidence if item.variant == name],
            }
            for name in names
        },
    }


def evidence_row(item: Evidence) -> dict[str, Any]:
    """Return the fields of one comparison ready for JSON, without its variant; what is infinite becomes null."""
    row = {name: value for name, value in asdict(item).items() if name != "variant"}
    infinite = {name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)}
    return {name: None if name in infinite else value for name, value in row.items()} | {"verdict": str(item.verdict)}


def as_junit(outcome: Outcome, context: Mapping[str, Any], variants: Mapping[str, Any]) -> str:  # noqa: ARG001
    """Return the outcome as JUnit XML: a test case for each figure of each variant.

    A regression is a failure, what is inconclusive is skipped, with its sentence.
    """
    failures = sum(item.verdict.fails for item in outcome.evidence) + outcome.nothing
    skipped = sum(item.verdict is Verdict.INCONCLUSIVE for item in outcome.evidence)
    suite = ET.Element("testsuite", name="detq gate", errors="0", failures=str(failures), skipped=str(skipped))
    suite.set("tests", str(len(outcome.evidence) + outcome.nothing))
    for item in outcome.evidence:
        case = ET.SubElement(suite, "testcase", classname=f"detq.gate.{item.variant}", name=f"{item.kind}: {item.name}")
        if item.verdict.fails:
            ET.SubElement(case, "failure", type=str(item.verdict), message=_xml(item.detail))
        elif item.verdict is Verdict.INCONCLUSIVE:
            ET.SubElement(case, "skipped", message=_xml(item.detail))
    if outcome.nothing:
        case = ET.SubElement(suite, "testcase", classname="detq.gate", name="presence: measured")
        ET.SubElement(case, "failure", type="missing", message="nothing was measured")
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def as_markdown(outcome: Outcome, context: Mapping[str, Any], variants: Mapping[str, Any]) -> str:
    """Return the outcome as Markdown, for a pull request or a job's summary: what failed first, then every figure."""
    names = list(dict.fromkeys(item.variant for item in outcome.evidence))
    word = "failed" if outcome.failed else "passed"
    lines = [f"## detq gate: {word}", ""]
    lines += [f"- {_escape(note)}" for note in outcome.notes]
    lines += [
        f"- {MARKS[item.verdict]} **{item.variant}**, {item.name}: {_escape(item.detail)}"
        for item in sorted(outcome.evidence, key=lambda item: -item.verdict.severity)
        if item.detail
    ]
    if better := outcome.better:
        lines.append(
            f"- {MARKS[Verdict.IMPROVEMENT]} better beyond tolerance: {', '.join(better)}; refresh the baseline"
        )
    for name in names:
        rows = [item for item in outcome.evidence if item.variant == name]
        pairs = variants.get(name, {}).get("pairs")
        over = f", {pairs} pairs" if pairs else ""
        lines += ["", f"### {MARKS[outcome.worst(name)]} {name}: {outcome.worst(name)}{over}", ""]
        lines += [
            "| figure | base | now | worse by | interval | tolerance | verdict |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_markdown_row(item) for item in rows]
    about = ", ".join(f"{name} {value}" for name, value in context.items() if not isinstance(value, Mapping))
    return "\n".join([*lines, "", f"<sub>{_escape(about)}</sub>", ""])


def _markdown_row(item: Evidence) -> str:
    interval = "" if item.low is None or item.high is None else f"{item.low:+.4g} to {item.high:+.4g}"
    interval = "unknown" if "inf" in interval else interval
    change = "" if item.change is None else f"{item.change:+.4g}"
    tolerance = "" if item.tolerance is None else f"{item.tolerance:g}"
    cells = [item.name, _plain(item.before), _plain(item.now), change, interval, tolerance, str(item.verdict)]
    return f"| {' | '.join(cells)} |"


def _plain(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def github_lines(outcome: Outcome) -> list[str]:
    """Return GitHub's workflow commands: an error for what fails, a warning for what is inconclusive.

    See https://docs.github.com/actions/reference/workflow-commands-for-github-actions#setting-an-error-message. In a
    property such as the title more is escaped than in the message, of which GitHub takes back less.
    """
    levels = {Verdict.REGRESSION: "error", Verdict.MISSING: "error", Verdict.INCONCLUSIVE: "warning"}
    lines = [
        f"::{levels[item.verdict]} title=detq gate%3A {_property(item.variant)}::{_message(item.detail or item.name)}"
        for item in outcome.evidence
        if item.verdict in levels
    ]
    return [*lines, "::error title=detq gate::nothing was measured"] if outcome.nothing else lines


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _write_json(path: Path, *what: Any) -> None:
    write_json(path, as_json(*what))


def _write_text(make: Callable[..., str]) -> Callable[..., None]:
    def write(path: Path, *what: Any) -> None:
        write_text(path, make(*what))

    return write


WRITERS: Mapping[str, Callable[..., None]] = {
    ".json": _write_json,
    ".md": _write_text(as_markdown),
    ".xml": _write_text(as_junit),
}


def check_reports(option: str, paths: list[Path]) -> None:
    """Check that every report's name says which format it is to have, and that it can be written, before measuring.

    Raises:
        OutputError: one does not, or cannot.
    """
    for path in paths:
        if path.suffix not in WRITERS:
            raise OutputError(
                f"{option} {path}: expected a name that ends in {', '.join(sorted(WRITERS))} (JSON, Markdown, JUnit)"
            )
        if path.is_dir():
            raise OutputError(f"{option} {path}: expected a file, found a folder; choose another name")
        above = next(folder for folder in path.absolute().parents if folder.exists())
        if not above.is_dir():
            raise OutputError(f"{option} {path}: expected a folder above it, found the file {above}; choose another")
        if not os.access(above, os.W_OK | os.X_OK):
            raise OutputError(f"{option} {path}: no permission to write in {above}; choose another folder")


def write_reports(paths: list[Path], outcome: Outcome, context: Mapping[str, Any], variants: Mapping[str, Any]) -> None:
    """Write each report in the format that its name says.

    Raises:
        OutputError: one cannot be written.
    """
    for path in paths:
        WRITERS[path.suffix](path, outcome, context, variants)
