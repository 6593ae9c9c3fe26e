"""The messages of `UserError` and `TrainingStopped`, read from the code that raises them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

RAISED = {"UserError", "TrainingStopped", "Diverged"}
# Part of the page -> how the paths of its code begin, and what to do where a message does not say.
PARTS = {
    "Command line and configuration": (
        ("__main__", "config/", "runtime/command"),
        "Compare with `--help` and [configuration](configuration.md).",
    ),
    "Corpus": (
        ("data/",),
        "[Corpus](corpus.md) has the forms of a row; `data.skip_bad_lines` leaves bad ones out.",
    ),
    "Model": (("model/",), "Take the folder as it was published, or another model."),
    "Run": (
        ("pipeline/", "dft/", "optimise/", "runtime/"),
        "What was saved is intact: the same command goes on from there.",
    ),
    "Sampling": (("rollout/", "generate"), "Mend the request or the option that is named."),
    "Evaluation": (
        ("evaluate", "evaluation/"),
        "Mend the file or the option that is named; [metrics](metrics.md) says what is read.",
    ),
    "Endpoints": (("endpoint/",), "Check URL, model and key; [judges](judge.md) has the form."),
    "Preparing a corpus": (("prepare/",), "[Preparing](prepare.md) has the options."),
    "Uploading": (
        ("push", "integrations/hub_upload"),
        "[Use the model](use-the-model.md) says what goes up.",
    ),
    "Targets": (
        ("target", "distribution/"),
        "Make the file again, or with the options of [targets](targets.md).",
    ),
    "Planning": (("plan",), "Compare with `dftfast plan --help`."),
    "Checking texts": (("check", "writing/"), "[Checking](check.md) has rules and options."),
    "Writing": (("write", "studio/"), "[Writing](write.md) has the options."),
    "In other trainers": (
        ("integrations/",),
        "[In other trainers](integrations.md) says what goes together.",
    ),
}
CURE = re.compile(r"; (?=\S)|: (?=pip install)|\. (?=[A-Z])| \((?=--help)")


def messages_page(package: Path) -> str:
    """A table for each part: what is said, and what to do."""
    found: dict[str, set[str]] = {part: set() for part in PARTS}
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        if not name.startswith("kernels/"):
            for message in messages(path.read_text(encoding="utf-8")):
                found[_part(name)].add(message)
    return "\n".join(_table(part, sorted(lines)) for part, lines in found.items() if lines)


def messages(source: str) -> list[str]:
    """Every message that the source raises, with … for what it fills in."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    raised = (c for c in calls if isinstance(c.func, ast.Name) and c.func.id in RAISED and c.args)
    texts = (re.sub(r"…(?:[\s,.:]*…)+", "…", _text(call.args[0])) for call in raised)
    return [text for text in texts if len(re.findall(r"[a-z]{2,}", text)) > 1]


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return " ".join(str(node.value).split(" "))
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return "…"


def _part(name: str) -> str:
    fits = [part for part, (starts, _) in PARTS.items() if name.startswith(starts)]
    assert fits, f"errors of {name} belong to no part of the page: docs/builders/error_messages.py"
    return fits[0]


def _table(part: str, lines: list[str]) -> str:
    """Cures that the messages name stand in the table, that of the part before it."""
    rows = [f"| {_code(what)} | {cure} |" for what, cure in map(_row, lines)]
    head = [f"### {part}\n", f"{PARTS[part][1]}\n", "| message | what it says to do |", "|---|---|"]
    return "\n".join([*head, *rows, ""])


def _row(line: str) -> tuple[str, str]:
    """The complaint, and the cure that follows it in the message, if one does."""
    complaint, *cure = CURE.split(line, maxsplit=1)
    if not cure or not re.search(r"[a-z]{2,}", cure[0]):
        return line, ""
    said = cure[0].removesuffix(")") if cure[0].startswith("--help") else cure[0]
    if said.startswith("pip install"):
        return complaint, _code(said)
    said = re.sub(r"([|*<>\\])", r"\\\1", said)
    return complaint, said[0].upper() + said[1:] + ("" if said.endswith((".", "…")) else ".")


def _code(text: str) -> str:
    return f"`{text.replace('`', chr(39)).replace('|', '/')}`"
