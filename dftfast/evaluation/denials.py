"""Where a text denies one thing to assert another: "not X but Y" and its kin, in English."""

from __future__ import annotations

import re

# Parts of the expressions; ’ is ' where they are applied, and case does not count.
_N = r"[^.!?;\n—–]"  # within a clause
_STOP = r"\s*(?:[.;,:—–]|--|\s-\s)\s*"
_FIRST = r"(?:^|(?<=[.!?]\s))"  # where a sentence begins
_NOT = r"(?:\bnot|\bnever|n't)\s+"
_JUST = r"(?:just|only|merely|simply|solely)\b"
_THEY = r"(?:it|this|that|these|those|they|he|she|we|you|i)"
_ARTICLE = r"(?:an?|the|our|your|his|her|their|its|my)"
_IS = r"(?:'s|'re|'m|\s+(?:is|was|are|were|am))"
_IS_NOT = rf"(?:{_IS}\s+not|\s+(?:is|was|are|were)n't)"
_TO_BE = r"(?!\s+(?:not|to|going|being)\b)(?!n't)"
_REALLY = r"(?!\s+(?:sure|certain|able|aware|easy|the\s+(?:intended|named))\b)"  # no news follows
_FORMS = (
    # not just X but Y; it isn't just X, it's Y; it won't just X, it will Y
    rf"{_NOT}{_JUST}{_N}{{1,120}}?\bbut\b",
    rf"{_NOT}{_JUST}{_N}{{1,90}}?{_STOP}(?:it|they|he|she|this\s+is)\b(?!\s+not\b)",
    rf"{_NOT}{_JUST}{_N}{{1,90}}?\s*[,;—–]\s*(?:we|you)\b(?!\s+not\b)",
    # not so much X as Y
    rf"{_NOT}(?:{_N}{{1,40}}?\s)?so\s+much\b{_N}{{0,60}}?\b(?:as|but)\b",
    # not a X but a Y; not because X but because Y; does not belong to X but to Y
    rf"{_NOT}{_ARTICLE}\b{_N}{{1,60}}?\bbut\s+(?:rather\s+)?{_ARTICLE}\b",
    rf"{_NOT}(?:{_N}{{1,30}}?\s)??(?P<p>to|because|about|in|with|by|for|from|on|of|through|as|that"
    rf"|what|how|whether)\s{_N}{{1,60}}?\bbut\s+(?:rather\s+)?(?:(?P=p)|how|why)\b",
    rf"{_NOT}{_N}{{1,80}}?\bbut\s+(?:rather|instead)\b",
    rf"(?:is|was|are|were)\s+not\s+(?:simply\s+)?\w+\s+but\s+\w+(?:\s+\w+)?{_STOP}",
    # it isn't X, it's Y: with the same subject, or a noun before the pronoun
    rf"\b(?P<s>{_THEY}){_IS_NOT}{_REALLY}\s(?:[^\s.!?;—–]+\s?){{1,6}}?{_STOP}(?P=s){_IS}{_TO_BE}",
    rf"\b(?:this|that|these|those|he|she){_IS_NOT}\s(?:{_ARTICLE}|what|how|about)\b"
    rf"{_N}{{1,50}}?{_STOP}(?:it|they){_IS}{_TO_BE}",
    rf"\b(?!{_THEY}\b)\w+{_IS_NOT}\s(?:{_ARTICLE}|what|how|who|about|found|made|empty"
    rf"|background|numbers)\b"
    rf"{_N}{{0,60}}?{_STOP}(?:it|they|these|this){_IS}{_TO_BE}",
    rf"\b(?:question|point|issue|problem|goal|aim|answer|challenge|secret|trick|lesson){_IS_NOT}\b"
    rf"{_N}{{1,90}}?(?:\bbut\s+(?:to|that|what|how|{_ARTICLE})\b|{_STOP}it{_IS})",
    rf"{_NOT}about\b{_N}{{1,60}}?{_STOP}it{_IS}\s+about\b",
    # we don't need X. We need Y; time doesn't X; it Ys
    rf"\b(?P<w>{_THEY})\s+(?:do|does|did)(?:n't|\s+not)\s+(?P<v>\w{{3}})\w*{_N}{{1,50}}?"
    rf"{_STOP}(?P=w)\s+(?P=v)",
    rf"\b(?:do|does|did)(?:n't|\s+not)\s+\w+{_N}{{1,50}}?(?:;|\s*[—–]|\s--)\s*(?:it|they)\s+\w+s\b",
    # less X, more Y; more than just X; beyond mere X
    rf"\bless\s+(?:about|as|of|an?)\s{_N}{{1,60}}?(?:\bthan|\bmore)\s+(?:about|as|of|an?|like)\b",
    rf"{_FIRST}more\s+than\s+(?:just|merely|simply)\s+{_ARTICLE}\b",
    rf"{_IS}\s+more\s+than\s+(?:just\s+|merely\s+)?an?\b{_N}{{1,40}}?\s*[,;:—–]\s*(?:it|they){_IS}",
    rf"\b(?:do|does|did)\s+more\s+than\s+(?:just\s+)?\w+{_N}{{0,30}}?[;,—–]\s*(?:it|they)\b",
    r"\b(?:go|goes|went)\s+(?:far\s+)?beyond\s+(?:mere|just|simply)\b",
    # Not an X. A Y; not X, not Y, just Z; it's an X, not a Y
    rf"{_FIRST}not\s+{_ARTICLE}(?:\s[\w'-]+){{1,4}}\.\s+(?:{_ARTICLE}|just|only|but)\s",
    rf"{_FIRST}not\s+(?:because|out\s+of)\s{_N}{{1,60}}?[,.—–]\s*but\b",
    rf"{_FIRST}(?:not|no)(?:\s[\w'-]+){{1,3}}[.,]\s+(?:not|no)(?:\s[\w'-]+){{1,3}}[.,]\s+"
    r"(?:just|only|simply|but)\b",
    rf"\b(?:it|this|that|they|these){_IS}\s+(?:(?P<a>an?|about)\s)(?:[\w'-]+\s?){{1,4}}[,—–]\s*"
    r"not\s+(?P=a)\s",
    # rather than simply X, Y
    rf"{_FIRST}(?:rather\s+than|instead\s+of)\s+(?:merely|just|simply|seeing|viewing|treating)\b",
)
_EXPRESSION = re.compile("|".join(f"(?:{form})" for form in _FORMS), re.IGNORECASE | re.MULTILINE)
_WORTH_IT = re.compile(r"\b(?:not|never|no|less|more|beyond|rather|instead)\b", re.IGNORECASE)


def not_but_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each place."""
    if "n't" not in text and "n’t" not in text and not _WORTH_IT.search(text):
        return []
    return [m.span() for m in _EXPRESSION.finditer(text.replace("’", "'"))]
