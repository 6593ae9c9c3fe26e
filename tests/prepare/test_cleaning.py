"""Cleaning deletes lines and nothing else, and deletes those that are no writing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dftfast.prepare import Piece, Settings
from dftfast.prepare.clean import clean, is_subsequence, without_lines
from dftfast.prepare.lines import LINE_RULES, LineRules
from dftfast.prepare.repeated_lines import LineCounts, Repeated, find_repeated
from dftfast.prepare.rule_names import RULES

STORY = """Dear Ann,

The boats came home at dawn, and nobody spoke of the storm.
I walked down to the harbour: there was 1 letter for you.
It says that the company will pay $1,200.00 on May 3, 2002 (see page 7).
- bring the blue coat
- call me when you can
Share what you know with the others; do not print it.
The privacy of the children matters more to us than the story.
Home is where we are, and the menu was fish again.
Regards,
Tom"""


def piece(text, key=0, source="s", origin="s/a.txt"):
    return Piece(key, source, origin, text)


def rules(*without, repeated=None):
    return LineRules(Settings(without=frozenset(without)), repeated or Repeated.none())


def removed(*lines, **options):
    return rules(**options).removed(piece("\n".join(lines)))


def test_writing_is_left_alone():
    assert removed(*STORY.split("\n")) == {}


@pytest.mark.parametrize(
    "line, rule",
    [
        ("Home | Products | About us | Contact", "navigation"),
        ("Startseite > Ratgeber > Garten", "navigation"),
        ("Back to top ↑", "navigation"),
        ("Diese Seite verwendet Cookies, um Inhalte zu verbessern.", "cookies"),
        ("Tout accepter", "cookies"),
        ("Share on Facebook", "share"),
        ("Facebook Twitter LinkedIn", "share"),
        ("1,234 shares", "share"),
        ("Tel. +49 30 1234567", "contact"),
        ("ann.miller@example.org", "contact"),
        ("For media enquiries: press@example.org, 020 7946 0958", "contact"),
        ("Foto: Lena Schmidt / dpa", "caption"),
        ("4,5 von 5 Sternen", "review"),
        ("Añadir al carrito", "checkout"),
        ("inkl. MwSt. zzgl. Versandkosten", "checkout"),
        ("© 2019 Kestrel Ltd", "copyright"),
        ("Все права защищены", "copyright"),
        ("Subscribe to our weekly newsletter", "newsletter"),
        ("Please enable JavaScript to view this page", "javascript"),
        ("Privacy Policy | Terms of Use", "policy"),
        ("3 comments", "comments"),
        ("Lire la suite", "more"),
        ("Advertisement", "advert"),
        ("Last updated: 3 June 2011", "byline"),
        ("Tags: sea, storm", "tags"),
        ("★★★★☆", "review"),
        ("a" * 1001, "long_word"),
        ("♦ ♦ ♦", "symbols"),
    ],
)
def test_what_stands_around_a_text_is_found(line, rule):
    assert removed("A line of writing.", line, "Another one.") == {1: rule}
    off = {name for name in LINE_RULES if name != rule}
    assert rules(*off).removed(piece(line)) == {0: rule}
    assert rule not in rules(rule).removed(piece(line)).values()


def test_quotes_and_signatures_of_mails():
    text = "I agree.\n> Do you agree?\nSee you.\n-- \nTom Bell\nHarbour office"
    mail = piece(text, origin="box.mbox, message 3")
    assert rules().removed(mail) == {1: "quoted", 3: "signature", 4: "signature", 5: "signature"}
    assert rules().removed(piece(text)) == {}


def documents(number, frame, source="s"):
    return [
        piece(f"{frame}\nText number {i} of a person.\n{'own ' * (i + 2)}", i, source)
        for i in range(number)
    ]


def test_lines_that_a_source_repeats_are_its_frame(tmp_path):
    texts = documents(20, "Welcome to the Kestrel archive") + documents(4, "Fourfold frame", "t")
    counts = LineCounts(tmp_path)
    for each in texts:
        counts.add(each)
    counts.close()
    found = rules(repeated=find_repeated(tmp_path))
    assert found.removed(texts[0]) == {0: "repeated"}
    assert found.removed(texts[-1]) == {}
    assert found.removed(piece("Welcome to the Kestrel archive", source="t")) == {}


def test_workers_count_as_one(tmp_path):
    texts = documents(20, "Welcome to the Kestrel archive")
    for folder, workers in ((tmp_path / "one", 1), (tmp_path / "three", 3)):
        counts = [LineCounts(folder, worker) for worker in range(workers)]
        for i, each in enumerate(texts):
            counts[i % workers].add(each)
        for each in counts:
            each.close()
    one, three = find_repeated(tmp_path / "one"), find_repeated(tmp_path / "three")
    assert len(one.hashes) == 1 and one.hashes.tolist() == three.hashes.tolist()


@given(st.text(alphabet="a\n |©>", max_size=60), st.randoms())
def test_a_cleaned_text_is_a_subsequence(text, rng):
    count = len(text.split("\n"))
    gone = rng.sample(range(count), rng.randint(0, count))
    cleaned = without_lines(piece(text), gone).cleaned
    kept = [line for i, line in enumerate(text.split("\n")) if i not in gone and line.strip()]
    assert [line for line in cleaned.split("\n") if line.strip()] == kept
    assert cleaned == "" or is_subsequence(cleaned.split("\n"), text.split("\n"))


def test_the_check_sees_a_changed_word_and_a_changed_order():
    lines = STORY.split("\n")
    assert is_subsequence(lines[2:5], lines)
    assert not is_subsequence([lines[2].replace("boats", "ships")], lines)
    assert not is_subsequence([lines[4], lines[2]], lines)
    assert not is_subsequence([lines[2], lines[2]], lines)


def test_paragraphs_stay_apart_where_lines_are_removed():
    text = "One.\n\nShare this\n\nTwo.\n\nThree.\n\nMenu"
    assert without_lines(piece(text), {2, 8}).cleaned == "One.\n\nTwo.\n\nThree."


def left_out(text, **settings):
    told = []
    options = Settings(**{"min_words": 5, **settings})
    kept = list(clean([piece(text)], rules(), options, lambda *args: told.append(args[2])))
    assert len(kept) == 1 or told[-1] is not None
    return None if kept else told[-1]


DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
PARAGRAPH = "The boats came home at dawn, and nobody in the harbour spoke of the storm. "


@pytest.mark.parametrize(
    "text, rule",
    [
        ("Too short.", "short"),
        (PARAGRAPH + "Lorem ipsum dolor sit amet.", "c4_lorem_ipsum"),
        (PARAGRAPH + "function() { return the storm; }", "c4_curly_bracket"),
        ("a b c d e f g i the of " * 5, "gopher_mean_word"),
        ("#sea #storm the " * 8, "gopher_symbols"),
        (PARAGRAPH + "1204 3456 7890 2001 1998 2022 " * 2, "gopher_alphabetic"),
        ("Kestrel Harbour Bell Storm Lighthouse " * 2, "gopher_stop_words"),
        ("\n".join([PARAGRAPH] * 6), "gopher_duplicate_lines"),
        (PARAGRAPH * 6, "gopher_top_ngrams"),
        ("\n".join("the harbour's water rose on " + d for d in DAYS), "fineweb_line_ends"),
        ("\n".join(f"The boats left on {d}." for d in DAYS), "fineweb_short_lines"),
        ("\n".join(f"- The boats of the harbour all left on {d}." for d in DAYS), "gopher_bullets"),
        (
            "\n".join(f"On {d} the boats of the old harbour by the sea left..." for d in DAYS),
            "gopher_ellipsis",
        ),
    ],
)
def test_documents_that_are_no_writing_are_left_out(text, rule):
    assert left_out(text) == rule
    alone = frozenset(set(RULES) - {rule})
    assert left_out(text, without=alone) == rule
    assert left_out(text, without=frozenset(RULES)) is None


def test_stories_in_many_languages_are_kept():
    stories = {
        "en": STORY,
        "de": "Die Boote kamen im Morgengrauen zurück, und niemand sprach vom Sturm. "
        "Ich ging zum Hafen, wo ein Brief für dich lag.",
        "fr": "Les bateaux sont rentrés à l'aube et personne ne parlait de la tempête. "
        "Je suis allé au port, où il y avait une lettre.",
        "ru": "Лодки вернулись на рассвете, и никто не говорил о буре. "
        "Я пошёл в гавань, где было тихо, и нашёл там письмо для тебя от брата.",
        "zh": "船在黎明时回来了，没有人谈起风暴。我走到港口，那里有一封给你的信。",
    }
    for language, story in stories.items():
        [kept] = clean([piece(story)], rules(), Settings(), lambda *args: None)
        assert kept.language[0] == language
        other = "de" if language == "en" else "en"
        assert left_out(story, languages=frozenset({other})) == "language"


def test_order_and_shuffling_do_not_change_what_is_removed():
    lines = [*STORY.split("\n"), "Share on Facebook", "© 2019 Kestrel Ltd"]
    random.Random(0).shuffle(lines)
    found = removed(*lines)
    assert {lines[i] for i in found} == {"Share on Facebook", "© 2019 Kestrel Ltd"}
