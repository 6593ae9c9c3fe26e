"""What each metric is called, how it reads, and when it is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """How a metric is shown and read.

    Attributes:
        better: "lower", "higher", or "human": as close as possible to the value of human texts.
        digits: after the decimal point, of a metric that is no share.
        percent: the value is a share.
        compared: whether one system can be better in it than another: not where no figure of human
            texts says what is good.
    """

    title: str
    better: Literal["lower", "higher", "human"]
    definition: str
    digits: int = 4
    percent: bool = False
    compared: bool = True

    def format(self, value: float | None) -> str:
        if value is None:
            return "–"
        value = round(value, 3 if self.percent else self.digits) + 0.0  # no minus before zero
        text = f"{100 * value:.1f}%" if self.percent else f"{value:.{self.digits}f}"
        return text.replace("-", "\u2212")


_L2 = (
    "Euclidean distance between the relative frequencies of {0} in the outputs and in the human "
    "texts. Tokens are those of the tokenizer that the page names at its foot, or words and marks; "
    "n-grams do not cross texts. Grows as the number of texts falls: the human level has the same "
    "number."
)

_SQ = (
    "Square of the distance between the frequencies of {0}, less what the chance of the texts adds "
    "to it: 0 for human texts, and comparable between sets of different size. Negative values are "
    "noise around zero."
)

_JUDGED = (
    "Twice the rate at which a judge finds the output {0} than the human text of the same prompt. "
    "1 is parity."
)

METRICS: dict[str, Metric] = {
    "mmd": Metric(
        "MMD",
        "lower",
        "Maximum mean discrepancy between embeddings of outputs and of human texts: the signed "
        "square root of MMD². Negative values are noise around zero, below the human floor.",
    ),
    "mmd2": Metric(
        "MMD²",
        "lower",
        "Unbiased estimate of the squared maximum mean discrepancy with a Gaussian kernel "
        "whose bandwidth is the median distance between human texts. A text is not compared with "
        "itself, nor with the human text of its own prompt.",
        digits=5,
    ),
    "mmd_unseen": Metric(
        "MMD, unseen embedder", "lower", "MMD in a second embedding that no training signal used."
    ),
    "mmd2_unseen": Metric(
        "MMD², unseen embedder",
        "lower",
        "MMD² in a second embedding that no training signal used.",
        digits=5,
    ),
    "token_l2_1": Metric("Token L2", "lower", _L2.format("single tokens")),
    "token_l2_2": Metric("Token L2, pairs", "lower", _L2.format("pairs of tokens")),
    "token_l2_3": Metric("Token L2, triples", "lower", _L2.format("triples of tokens")),
    "token_sq_1": Metric("Token L2²", "lower", _SQ.format("single tokens"), digits=6),
    "token_sq_2": Metric("Token L2², pairs", "lower", _SQ.format("pairs of tokens"), digits=6),
    "token_sq_3": Metric("Token L2², triples", "lower", _SQ.format("triples of tokens"), digits=6),
    "style_mmd": Metric(
        "Style MMD",
        "lower",
        "MMD over 27 style features (rates of punctuation and of word classes, lengths of "
        "sentences, repetition, ...), each in units of its spread in the human texts.",
        digits=3,
    ),
    "jmq": Metric(
        "JMQ",
        "higher",
        "Twice the rate at which a judge prefers the output to the human text of the same "
        "prompt. 1 is parity.",
        digits=2,
    ),
    "jmq_clarity": Metric("Clarity", "higher", _JUDGED.format("clearer"), digits=2),
    "jmq_coherence": Metric("Coherence", "higher", _JUDGED.format("more coherent"), digits=2),
    "jmq_creativity": Metric("Creativity", "higher", _JUDGED.format("more creative"), digits=2),
    "jmq_depth": Metric("Depth", "higher", _JUDGED.format("of more depth"), digits=2),
    "jmq_relevance": Metric(
        "Prompt relevance", "higher", _JUDGED.format("a better answer to the brief"), digits=2
    ),
    "called_human": Metric(
        "Called human",
        "human",
        "Texts to which an AI detector gives a probability of at least 1/2 that a "
        "person wrote them; the mean over detectors, where there are several.",
        percent=True,
    ),
    "jsd": Metric(
        "JSD",
        "lower",
        "Jensen-Shannon divergence of token frequencies, in bits: 0 for equal frequencies, 1 "
        "for no token in common.",
    ),
    "frechet": Metric(
        "Fréchet distance",
        "lower",
        "Squared 2-Wasserstein distance between the Gaussians fitted to the "
        "embeddings of outputs and of human texts. Grows as the number of texts falls.",
    ),
    "c2st": Metric(
        "C2ST",
        "lower",
        "Classifier two-sample test: how often a linear classifier on embeddings that has not seen "
        "a text is right about it, mean over outputs and human texts. 50% is chance.",
        percent=True,
    ),
    "c2st_unseen": Metric(
        "C2ST, unseen embedder",
        "lower",
        "C2ST in a second embedding that no training signal used.",
        percent=True,
    ),
    "mauve": Metric(
        "MAUVE",
        "higher",
        "Area under the divergence frontier of quantised embeddings (Pillutla et al., "
        "2021). 1 is identical.",
        digits=3,
    ),
    "chrf": Metric(
        "chrF",
        "higher",
        "Character n-gram F-score with the human text of the same prompt (sacrebleu), 0 to 100.",
        digits=1,
        compared=False,
    ),
    "bleu": Metric(
        "BLEU",
        "higher",
        "BLEU-4 with the human text of the same prompt (sacrebleu), 0 to 100.",
        digits=2,
        compared=False,
    ),
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
