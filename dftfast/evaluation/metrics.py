"""What each metric is called, how it reads, and when it is better."""

from __future__ import annotations

from dftfast.evaluation.metric import Metric
from dftfast.evaluation.text_metrics import OF_TEXTS

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
        "MMD, unseen embedder",
        "lower",
        "MMD in a second embedding, of another family's model, that no training signal used.",
    ),
    "mmd2_unseen": Metric(
        "MMD², unseen embedder",
        "lower",
        "MMD² in a second embedding that no training signal used.",
        digits=5,
    ),
    "mmd_characters": Metric(
        "MMD, characters",
        "lower",
        "MMD between the character n-grams of texts (3 to 5 within a word): which words, endings "
        "and spellings go together. No model is asked and no training signal uses them.",
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
    "jmq_equal_length": Metric(
        "JMQ at equal length",
        "higher",
        "JMQ where output and human text are as long, by a regression of the verdicts on length: "
        "what is left of it when longer texts are not liked for their length.",
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
    "trained_judge": Metric(
        "Judge trained here",
        "lower",
        "Of an output and the human text of its prompt, how often a linear classifier on "
        "embeddings and style, trained on the pairs of other prompts, knows the output. 50% is "
        "chance. It says nothing of quality.",
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
    "c2st_glyphs": Metric(
        "C2ST, marks and spaces",
        "lower",
        "C2ST by nothing but the kinds of quotation marks, dashes and spaces and how often they "
        "are: whether typography alone tells the texts apart.",
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
    **OF_TEXTS,
}
