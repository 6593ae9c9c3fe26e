"""The figures of single texts and of what texts have in common: names and definitions."""

from __future__ import annotations

from dftfast.evaluation.metric import Metric

OF_TEXTS: dict[str, Metric] = {
    "self_bleu": Metric(
        "Self-BLEU",
        "human",
        "Mean BLEU-4 of each output with all others as references: how much the "
        "outputs repeat one another.",
        digits=3,
    ),
    "near_duplicates": Metric(
        "Near-duplicates",
        "human",
        "Texts that share at least half of their word triples with another "
        "text of the set (Jaccard similarity).",
        percent=True,
    ),
    "repeated_words": Metric(
        "Repeated triples",
        "human",
        "Share of a text's word triples that it had before, mean over texts: how much a text "
        "repeats itself.",
        percent=True,
    ),
    "longest_copy": Metric(
        "Longest copy",
        "human",
        "Words and punctuation marks in the longest run that a text has in common "
        "with the training texts, mean over texts. Human: what held-out human texts have in common "
        "with them.",
        digits=1,
    ),
    "copied": Metric(
        "Copied",
        "human",
        "Share of a text's words and punctuation marks in runs of 8 or more that are also in "
        "the training texts, mean over texts.",
        percent=True,
    ),
    "same_start": Metric(
        "Same starts",
        "human",
        "Texts in which three consecutive sentences start with the same word.",
        percent=True,
    ),
    "not_but": Metric(
        "Not X but Y",
        "human",
        "Texts with a construction such as “not just X but Y”, “not a X but a Y” or “it "
        "isn't X, it's Y”.",
        percent=True,
    ),
    "foreign_script": Metric(
        "Foreign script",
        "lower",
        "Texts with a letter of a script that is in fewer than 1% of the human texts.",
        percent=True,
    ),
    "em_dash": Metric("Em dashes", "human", "Texts with an em dash.", percent=True),
    "typography": Metric(
        "Typographic marks",
        "human",
        "Share of a text's quotation marks, apostrophes and dashes that are typographic (“ ” ‘ ’ "
        "– —) and not those of a keyboard, mean over texts.",
        percent=True,
    ),
    "unusual_characters": Metric(
        "Unusual characters",
        "human",
        "Texts with an invisible character or a space that no space bar gives.",
        percent=True,
    ),
    "punctuation": Metric(
        "Punctuation", "human", "Punctuation marks per 100 words, mean over texts.", digits=1
    ),
    "type_token_ratio": Metric(
        "Type-token ratio",
        "human",
        "Distinct words by words, mean over texts. Falls with length.",
        digits=3,
    ),
    "mtld": Metric(
        "MTLD",
        "human",
        "Lexical diversity that does not fall with length: mean length of stretches of words "
        "whose type-token ratio stays above 0.72 (McCarthy and Jarvis, 2010).",
        digits=1,
    ),
    "sentence_length": Metric(
        "Sentence length",
        "human",
        "Words per sentence, mean over the sentences of a text, then over texts.",
        digits=1,
    ),
    "sentence_spread": Metric(
        "Spread of sentences",
        "human",
        "Standard deviation of words per sentence within a text, mean over texts.",
        digits=1,
    ),
    "paragraph_length": Metric(
        "Paragraph length",
        "human",
        "Words per paragraph (line), mean over the paragraphs of a text, then over texts.",
        digits=1,
    ),
    "length_mean": Metric("Mean length", "human", "Words per text.", digits=1),
    "length_sd": Metric(
        "Spread of length", "human", "Standard deviation of words per text.", digits=1
    ),
    "cut_by_length": Metric(
        "Cut by length",
        "lower",
        "Outputs that ended at the token limit, not by themselves.",
        percent=True,
    ),
    "length_error": Metric(
        "Off the length asked",
        "lower",
        "How far a text is from the length that its brief asks for, in "
        "doublings (or halvings), mean over texts.",
        digits=2,
    ),
    "em_dash_error": Metric(
        "Forbidden em dashes",
        "lower",
        "Texts with an em dash, of those whose brief allows none.",
        percent=True,
    ),
    "outline_coverage": Metric(
        "Outline covered",
        "higher",
        "Share of the outline's words of four letters or more that occur in "
        "the text, mean over texts with an outline.",
        percent=True,
    ),
}
