"""What a writer waits for on the page of `dftfast write`.

python benchmarks/writing_page.py [MODEL]

Prints the seconds from asking for a draft to its first words (of the wall, and of the processor)
and the milliseconds of a check of 1,000 words beside 200 texts of a corpus, median of several.
"""

from __future__ import annotations

import asyncio
import sys
from statistics import median
from time import perf_counter, process_time

from dftfast.pipeline.local_texts import LocalModel
from dftfast.studio.corpus_figures import CorpusFigures
from dftfast.studio.draft_check import check_draft
from dftfast.studio.local_writer import LocalWriter
from dftfast.studio.page_requests import Brief
from dftfast.writing import default_rules

SENTENCE = "On day {} we walked along the shore, counted {} boats and came home late. "
DRAFTS, CHECKS = 5, 20


async def first_words(writer: LocalWriter, number: int) -> tuple[float, float]:
    """Seconds of the wall and of the processor."""
    outline = [f"walked {number} miles", "came home late"]
    brief = Brief(prompt=f"Letter {number} about a day at the sea", outline=outline, words=300)
    wall, own = perf_counter(), process_time()
    pieces = writer.write(brief.document(), 1)
    async for piece in pieces:
        if piece.text.strip():
            break
    passed = perf_counter() - wall, process_time() - own
    await pieces.aclose()
    return passed


def main(model: str | None = None) -> None:
    corpus = CorpusFigures([SENTENCE.format(i, i) * 15 for i in range(200)])
    text = "".join(SENTENCE.format(i, i * 3) for i in range(72))
    brief = Brief(prompt="A day at the sea", outline=["counted 12 boats", "came home late"])
    times = []
    for number in range(CHECKS):
        start = process_time()
        check_draft(f"{text} {number}", brief, default_rules(), corpus)
        times.append(1000 * (process_time() - start))
    print(f"check of {len(text.split())} words: {median(times):.1f} ms of the processor")
    writer = LocalWriter(LocalModel(model, device="cpu"), {}, 64)
    asyncio.run(first_words(writer, 0))  # waits for the weights
    waits = [asyncio.run(first_words(writer, number)) for number in range(1, DRAFTS + 1)]
    wall, own = (median(each) for each in zip(*waits))
    print(f"first words of a draft: {wall:.2f} s, {own:.2f} s of the processor")
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
