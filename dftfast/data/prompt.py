"""The brief of a document as chat messages: what the model is shown, wherever it writes."""

from __future__ import annotations

from dftfast.data.document import Document

_INSTRUCTION = "Write the text that this brief describes. Answer with the text alone."


def prompt_messages(document: Document) -> list[dict]:
    """The conversation to answer.

    Rows in chat or completion form bring their own, given verbatim; for the others the brief states
    prompt, use case, style, length, whether em dashes are allowed, and outline.
    """
    if document.messages is not None:
        return list(document.messages)
    lines = [f"Prompt: {document.prompt}"]
    if document.use_case:
        lines.append(f"Use case: {document.use_case}")
    if document.style:
        lines.append(f"Style: {document.style}")
    if document.target_words:
        lines.append(f"Length: about {_rounded(document.target_words)} words")
    lines.append(f"Em dashes: {'allowed' if document.em_dashes_allowed else 'not allowed'}")
    if document.outline:
        lines += ["Outline:", *(f"- {point}" for point in document.outline)]
    return [{"role": "user", "content": _INSTRUCTION + "\n\n" + "\n".join(lines)}]


def _rounded(count: int) -> int:
    """To 5 below 50 words, to 10 above, as a person would ask."""
    step = 5 if count < 50 else 10
    return max(step, round(count / step) * step)
