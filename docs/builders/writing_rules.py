"""The rules of `dftfast check`, with the examples that its tests run."""

from __future__ import annotations

from dftfast.writing.rule import Rule
from dftfast.writing.rules import RULES


def rules_block() -> str:
    return "\n".join(map(_section, RULES))


def _section(rule: type[Rule]) -> str:
    severity = rule.model_fields["severity"].default
    settings = [
        f"`{name}` ({_shown(field.default)})"
        for name, field in rule.model_fields.items()
        if name != "severity"
    ]
    lines = [f"### {rule.name}\n", f"{rule.about}\n", f"Severity: {severity}. "]
    lines[-1] += f"Settings: {', '.join(settings)}.\n"
    for title, examples in (("Found", rule.found), ("Not found", rule.passed)):
        plain = [example.text for example in examples if not (example.brief or example.settings)]
        if plain and plain != ["No brief."]:
            lines += [f"{title}:\n", "```text", *map(_line, plain), "```\n"]
    return "\n".join(lines)


def _shown(value: object) -> str:
    return (
        "none" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"
    )


def _line(text: str) -> str:
    """With names for what nobody sees."""
    return text.strip().replace("\u200b", "<U+200B>")
