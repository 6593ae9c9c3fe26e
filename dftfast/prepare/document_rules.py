"""Which documents are no writing, by the rules of three large corpora.

C4 (Raffel et al. 2020, section 2.2), Gopher (Rae et al. 2021, table A1 and section A.1.1) and
FineWeb (Penedo et al. 2024, section 3.6), with their thresholds. Words are those of a corpus
(`dftfast.data.document.words`), so that Chinese and Japanese have some; stop words are those of the
document's language. A length is asked for by --min-words, not by Gopher's 50 words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

from dftfast.runtime.words import words

_END = tuple(".!?…。！？।؟\"'”’»)」』")
_SHORT = 30  # characters of a line (FineWeb)
_TOP = {2: 0.20, 3: 0.18, 4: 0.16}  # share of characters in the most frequent n-gram (Gopher)
_REPEATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}  # in n-grams seen before
_FEW_WORDS = 50  # Gopher has no shorter text: its shares of n-grams say nothing of one
_FEW_LINES = 5  # rules about shares of lines say nothing of fewer


class Text:
    """A text with what the rules count in it."""

    def __init__(self, text: str, language: str):
        self.text, self.language = text, language
        self.lines = [line for line in text.split("\n") if line.strip()]
        self.words = words(text)
        self.lower = [word.lower() for word in self.words]
        self.size = sum(map(len, self.words)) or 1

    def share(self, holds: Callable[[str], bool]) -> float:
        """Of the lines; 0 where there are few."""
        few = len(self.lines) < _FEW_LINES
        return 0.0 if few else sum(map(holds, self.lines)) / len(self.lines)


def document_rule(text: str, language: str, off: frozenset[str] = frozenset()) -> str | None:
    """The first rule under which a text falls, or None.

    Args:
        language: code of ISO 639-1.
        off: names of rules that are not applied.
    """
    counted = Text(text, language)
    return next((n for n, holds in DOCUMENT_RULES.items() if n not in off and holds(counted)), None)


def _mean_word(t: Text) -> bool:
    spaced = t.language not in ("zh", "ja", "th", "ko")
    return spaced and bool(t.words) and not 3 <= t.size / len(t.words) <= 10


def _symbols(t: Text) -> bool:
    few = 0.1 * len(t.words)
    return t.text.count("#") > few or t.text.count("...") + t.text.count("…") > few


def _alphabetic(t: Text) -> bool:
    tokens = t.text.split()
    return sum(any(map(str.isalpha, token)) for token in tokens) < 0.8 * len(tokens)


def _stop_words(t: Text) -> bool:
    known = stop_words(t.language)
    return bool(known) and len(known.intersection(t.lower)) < 2


@lru_cache(maxsize=64)
def stop_words(language: str) -> frozenset[str]:
    """Of a language that writes spaces; none where no list is known."""
    import stopwordsiso as lists

    spaced = language not in ("zh", "ja", "th") and lists.has_lang(language)
    return frozenset(lists.stopwords(language)) if spaced else frozenset()


def _repeats(items: Sequence[str]) -> tuple[float, float]:
    """Share of items seen before, and their share of the characters."""
    seen: set[str] = set()
    again = [item for item in items if item in seen or seen.add(item)]
    return len(again) / max(1, len(items)), sum(map(len, again)) / max(1, sum(map(len, items)))


def _duplicate_lines(t: Text) -> bool:
    lines, characters = _repeats(t.lines)
    return lines > 0.30 or characters > 0.20


def _top_ngrams(t: Text) -> bool:
    if len(t.words) < _FEW_WORDS:
        return False
    for n, most in _TOP.items():
        grams = Counter(zip(*(t.lower[i:] for i in range(n))))
        if grams:
            gram, count = max(grams.items(), key=lambda item: (item[1], sum(map(len, item[0]))))
            if count > 1 and count * sum(map(len, gram)) > most * t.size:
                return True
    return False


def _duplicate_ngrams(t: Text) -> bool:
    lengths = [len(word) for word in t.lower] if len(t.words) >= _FEW_WORDS else []
    for n, most in _REPEATED.items():
        seen, repeated, i = set(), 0, 0
        while i + n <= len(lengths):
            gram = tuple(t.lower[i : i + n])
            if gram in seen:
                repeated += sum(lengths[i : i + n])
                i += n
            else:
                seen.add(gram)
                i += 1
        if repeated > most * t.size:
            return True
        if not repeated:  # nor are there longer ones
            return False
    return False


def _line_characters(t: Text) -> bool:
    return len(t.lines) >= _FEW_LINES and _repeats(t.lines)[1] > 0.01


DOCUMENT_RULES: dict[str, Callable[[Text], bool]] = {
    "c4_lorem_ipsum": lambda t: "lorem ipsum" in t.text.lower(),
    "c4_curly_bracket": lambda t: "{" in t.text,
    "gopher_mean_word": _mean_word,
    "gopher_symbols": _symbols,
    "gopher_bullets": lambda t: t.share(lambda line: line.lstrip()[:1] in "•-*‣") > 0.9,
    "gopher_ellipsis": lambda t: t.share(lambda line: line.rstrip().endswith(("...", "…"))) > 0.3,
    "gopher_alphabetic": _alphabetic,
    "gopher_stop_words": _stop_words,
    "gopher_duplicate_lines": _duplicate_lines,
    "gopher_top_ngrams": _top_ngrams,
    "gopher_duplicate_ngrams": _duplicate_ngrams,
    "fineweb_line_ends": lambda t: (
        len(t.lines) >= _FEW_LINES and t.share(lambda line: line.rstrip().endswith(_END)) < 0.12
    ),
    "fineweb_short_lines": lambda t: t.share(lambda line: len(line) <= _SHORT) > 0.67,
    "fineweb_repeated_lines": _line_characters,
    "fineweb_list": lambda t: t.text.count("\n") > 0.3 * len(t.words),
}
