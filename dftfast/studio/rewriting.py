"""A sentence or a paragraph anew, in place: what comes before and after it stays as it is."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace

from dftfast.model.tokenizer import Tokenizer
from dftfast.optimise.likelihood import token_logprobs
from dftfast.optimise.packing import Example
from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.runtime.errors import UserError
from dftfast.runtime.words import SENTENCE_END, WORD
from dftfast.studio.writer import Gap
from dftfast.writing.passage import Passage

_SENTENCE, _PARAGRAPH = 100, 400  # tokens at most
_DRAWN = 2  # passages that are drawn for each that is shown
_BEFORE, _AFTER = 1500, 48  # tokens that are read of what stands around
_STOPS = tuple(
    f"{mark}{close}{space}" for mark in ".!?…" for close in ("", *"\"”'’)]") for space in " \n"
)


def gap_at(text: str, start: int, end: int, whole_paragraph: bool) -> Gap:
    """The sentences (or paragraphs) that text[start:end] touches.

    Raises:
        UserError: there is none.
    """
    pieces = (
        _paragraphs(text)
        if whole_paragraph
        else [(piece.start, piece.end) for piece in Passage(text).sentences]
    )
    if not pieces:
        raise UserError("the draft has no sentence to write anew; write one first")
    touched = [piece for piece in pieces if piece[0] <= end and piece[1] >= start]
    away = lambda piece: max(piece[0] - end, start - piece[1])
    touched = touched or [min(pieces, key=away)]
    first, last = touched[0][0], touched[-1][1]
    return Gap(text[:first], text[first:last], text[last:], whole_paragraph)


class Rewriter:
    """Draws passages as the model goes on from what stands before the gap.

    Several are drawn; first come those after which the model finds most likely what follows the
    gap. With draws s from p(s | before), order by p(after | before, s) is that of their importance
    weights for p(s | before, after) (Rubin 1987, sampling/importance resampling).
    """

    def __init__(self, engine: RolloutEngine, tokenizer: Tokenizer, sampler: Sampler):
        self.engine, self.tokenizer, self.sampler = engine, tokenizer, sampler

    def passages(self, prompt: list[int], gap: Gap, count: int) -> Iterator[str]:
        """At most `count` that differ from the old one and from each other.

        Args:
            prompt: token ids of the chat that asks for the text.
        """
        # the next token brings its space along
        before = self.tokenizer.encode(gap.before.rstrip(" "))[-_BEFORE:]
        start = [*prompt, *before]
        room = self.engine.decoder.config.max_position_embeddings - len(start) - _AFTER
        longest = _PARAGRAPH if gap.is_paragraph else _SENTENCE
        most = min(longest, self.sampler.max_tokens, room)
        if most < 1:
            raise UserError("brief and draft are longer than the model reads; shorten the brief")
        stops = ("\n",) if gap.is_paragraph else ("\n", *_STOPS)
        sampler = replace(self.sampler, max_tokens=most, stop_strings=stops)
        request = Request(0, start, sampler, secrets.randbelow(2**63), count * _DRAWN)
        batch = self.engine.generate([request])
        whole, cut = {}, {}
        for i, reason in enumerate(batch.finish_reason):
            text = first_passage(self.tokenizer.decode(batch.output(i)), gap.is_paragraph)
            if WORD.search(text) and text != gap.old:
                (whole if reason == "stop" else cut)[text] = None
        found = list(whole) or list(cut)
        yield from self._ordered(start, gap, found)[:count]

    def _ordered(self, start: list[int], gap: Gap, found: list[str]) -> list[str]:
        after = self.tokenizer.encode(gap.after)[:_AFTER]
        if not gap.after.strip() or len(found) < 2:
            return found
        space = gap.before[len(gap.before.rstrip(" ")) :]
        prompts = [[*start, *self.tokenizer.encode(space + text)] for text in found]
        scores = token_logprobs(self.engine.decoder, [Example(prompt, after) for prompt in prompts])
        order = sorted(range(len(found)), key=lambda i: -sum(scores[i]))
        return [found[i] for i in order]


def first_passage(text: str, is_paragraph: bool) -> str:
    """The first paragraph or sentence of what a model wrote."""
    text = text.strip()
    if is_paragraph:
        return text.split("\n")[0].strip()
    for end in SENTENCE_END.finditer(text):
        if WORD.search(text, 0, end.start()):
            return text[: end.end()].strip()
    return text


def _paragraphs(text: str) -> list[tuple[int, int]]:
    """Places of the lines that hold a word, without the space around them."""
    found, at = [], 0
    for line in text.split("\n"):
        if WORD.search(line):
            start = at + len(line) - len(line.lstrip())
            found.append((start, at + len(line.rstrip())))
        at += len(line) + 1
    return found
