from scipy import stats

from dftfast.evaluation.slop.overused import (
    human_against_human,
    overused,
    phrases_of,
    without_parts,
)


def test_phrases_do_not_cross_sentences():
    assert phrases_of("We go. Now stop", orders=(1, 2)) == {
        "we",
        "go",
        "now",
        "stop",
        "we go",
        "now stop",
    }


def test_planted_phrase_is_found_and_significant(sets):
    human = [phrases_of(t) for t in sets(200, 0).texts]
    texts = sets(200, 1).texts
    outputs = [
        phrases_of(t + " It was a testament to hope." if i % 4 == 0 else t)
        for i, t in enumerate(texts)
    ]
    rows = without_parts(overused(outputs, human, paired=True))
    first = rows[0]
    assert (
        first.phrase == "it was a testament to hope"
        and first.outputs == 0.25
        and first.human == 0
        and first.p < 1e-6
    )
    assert first.ratio == (50.5 / 200) / (0.5 / 200)
    assert all(row.p > 0.05 for row in rows[1:])
    assert all(row.p > 0.05 for row in human_against_human(human))


def test_p_values_are_those_of_scipy():
    outputs = [{"x"}] * 12 + [set()] * 8
    human = [{"x"}] * 2 + [set()] * 10 + [{"x"}] * 1 + [set()] * 7
    (paired,) = overused(outputs, human, paired=True)
    assert abs(paired.p - stats.binomtest(10, 11).pvalue) < 1e-12
    (apart,) = overused(outputs, human, paired=False)
    assert (
        abs(apart.p - 2 * stats.fisher_exact([[12, 8], [3, 17]], alternative="greater").pvalue)
        < 1e-12
    )


def test_long_phrases_are_joined_from_any_order_of_their_parts():
    text = phrases_of("not just a tool but a way of life")
    rows = without_parts(overused([text] * 10 + [set()] * 10, [set()] * 20, paired=True))
    assert [row.phrase for row in rows] == ["not just a tool but a way of life"]


def test_nothing_overused_in_equal_sets():
    texts = [{"a", "b"}] * 10
    assert overused(texts, texts, paired=True) == []
