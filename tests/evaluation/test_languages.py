"""Words, sentences and scripts of other languages than English, and marks and spaces."""

import numpy as np
import pytest

from dftfast.evaluation import evaluate, overlap
from dftfast.evaluation.glyphs import (
    glyph_matrix,
    has_unusual,
    plain_glyphs,
    typographic_share,
)
from dftfast.evaluation.plain_texts import evaluate_texts
from dftfast.evaluation.reference import Reference
from dftfast.evaluation.report.shown_samples import highlight
from dftfast.evaluation.slop.overused import phrases_of
from dftfast.evaluation.text_stats import per_text
from dftfast.evaluation.writing_systems import script, scripts
from dftfast.runtime.words import WORD_OR_MARK, lower_words, sentences, words


@pytest.mark.parametrize(
    "text, count, parts",
    [
        ("我们来了。我们看见。我们走了。你觉得呢？", 16, 4),
        ("「もう行く。」と彼は言った。", 10, 2),
        ("आज हमने नई बजट योजना पर चर्चा की। कल फिर मिलेंगे।", 11, 2),
        ("اَلسَّلَامُ عَلَيْكُمْ. كيف حالك؟ أنا بخير", 6, 3),
        ("สวัสดี", 4, 1),  # a character with its signs
        ("Don\u2019t wait: state-of-the-art\u200bs 3 cafe\u0301s, \u00bd m\u00b2.", 7, 1),
        ("Он ушёл! Она \u2014 нет.", 4, 2),
        ("x_y zero\u200bwidth soft\u00adhyphen \u200b", 4, 1),
        ("\u2764\ufe0fok ... !", 1, 1),
    ],
)
def test_words_and_sentences(text, count, parts):
    assert len(words(text)) == count
    assert len(sentences(text)) == parts
    assert sum(len(words(each)) for each in sentences(text)) == count


def test_marks_are_tokens_and_signs_of_letters_are_not():
    assert WORD_OR_MARK.findall("की। x_y\u200b") == ["की", "।", "x", "_", "y", "\u200b"]
    assert lower_words("It\u2019s HERE") == ["it's", "here"]


def test_scripts_are_those_of_unicode():
    assert scripts("20 \u00b5m, 1\u00ba, \u211d \uff21 \U0001d400") == {"LATIN"}
    assert [script(c) for c in "aбα中かカ한क1ー\u00b5"] == [
        *("LATIN", "CYRILLIC", "GREEK", "HAN", "HIRAGANA", "KATAKANA", "HANGUL", "DEVANAGARI"),
        *(None, None, None),
    ]
    assert script("\U00010400") == "OTHER"  # Deseret


def test_signs_of_vowels_are_no_punctuation():
    found = per_text(["आज हमने नई बजट योजना पर चर्चा की।"], {"DEVANAGARI"})
    assert found["punctuation"].tolist() == [100 / 8] and found["foreign_script"].tolist() == [0]


def test_self_bleu_of_chinese_is_that_of_its_characters():
    from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

    chinese = ["我们今天去公园散步。", "我们昨天去公园散步。", "他们明天不去城里。"]
    tokenize = TokenizerZh()
    apart = [tokenize(text) for text in chinese]
    assert overlap.self_bleu(chinese)[0] == pytest.approx(overlap.self_bleu(apart)[0], abs=1e-12)
    assert overlap.self_bleu(chinese)[0][0] > 0.3  # as one token a sentence it would be 0
    assert overlap.bleu(overlap.bleu_statistics(chinese[:1], chinese[1:2])) > 30


def test_phrases_of_characters_are_marked_where_they_stand():
    phrase = "我 们 去"
    assert phrase in phrases_of("今天我们去公园。")
    assert highlight("今天我们去公园。", [phrase]) == "今天<mark>我们去</mark>公园。"
    assert highlight("It\u2019s a fact, it's so", ["it's"]).count("<mark>") == 2
    assert "<mark>" not in highlight("amends", ["men"])


def test_typography_of_a_text():
    assert typographic_share("\u201cYes\u201d \u2014 don\u2019t, 'no'") == 4 / 6
    assert np.isnan(typographic_share("well-known"))
    assert has_unusual("a\u00a0b") and has_unusual("a\u200bb") and not has_unusual("a b\n\tc")
    assert plain_glyphs("\u201cIt\u2019s\u00a0a\u200bb\u201d \u2014 \u2026") == '"It\'s ab" - ...'
    rows = glyph_matrix(["", "plain text", "\u201cx\u201d", "a \u2014 b", "a\u2014b"])
    assert rows.shape == (5, 16) and not rows[:2].any()
    assert (rows[2:] > 0).sum(1).tolist() == [1, 1, 1] and len(np.unique(rows[2:].argmax(1))) == 3


def test_typography_alone_is_told_apart(sets):
    human, outputs = sets(60, 0), sets(60, 1)
    human.texts = [f'{text} It\'s "so".' for text in human.texts]
    curly = [f"{text} It\u2019s \u201cso\u201d." for text in outputs.texts]
    outputs.texts = curly
    figures = evaluate(outputs, Reference(human, rounds=60))
    assert figures["c2st_glyphs"].value == 1 and figures["c2st_glyphs"].p < 0.05
    assert figures["typography"].value == 1 and figures["typography"].human == 0
    outputs.texts = [plain_glyphs(text) for text in curly]
    alike = evaluate(outputs, Reference(human, rounds=60))
    assert alike["c2st_glyphs"].within_human and alike["typography"].value == 0


def test_what_a_text_repeats_of_itself():
    found = per_text(["a b c d a b c", "one two three four", "two words"], {"LATIN"})
    assert found["repeated_words"][:2].tolist() == pytest.approx([1 / 5, 0])
    assert np.isnan(found["repeated_words"][2])


CHINESE = "我们来了。我们看见。我们走了。你觉得呢？"
HINDI = "आज हमने नई बजट योजना पर चर्चा की। "


@pytest.mark.parametrize("text, count", [(CHINESE, 17), (HINDI, 9)])
def test_figures_of_texts_with_a_number_at_their_end(text, count):
    texts = [f"{text}{i}" for i in range(30)]
    found = evaluate_texts(texts, texts, paired=True, embedder="character-ngrams", rounds=20)
    assert found["length_mean"].value == count and found["foreign_script"].value == 0
    assert found["same_start"].value == (text == CHINESE)


def test_units_are_no_foreign_script(sets):
    texts = [f"{text} It is 20 \u00b5m wide, 1\u00ba floor." for text in sets(30, 1).texts]
    found = evaluate_texts(texts, sets(30, 0).texts, embedder="character-ngrams", rounds=20)
    assert found["foreign_script"].value == 0
