"""Metrics of embeddings: kernel matrices for MMD, Fréchet distance, classifier two-sample test."""
from __future__ import annotations

import warnings

import numpy as np

from .figure import resampling_weights


def median_bandwidth(y: np.ndarray, seed: int = 0, most: int = 2000) -> float:
    """Median Euclidean distance between (at most `most`, drawn by seed) different rows of y: the median heuristic."""
    if len(y) > most:
        y = y[np.random.default_rng(seed).choice(len(y), most, replace=False)]
    squared = squared_distances(y, y)[np.triu_indices(len(y), 1)]
    return float(np.sqrt(np.median(squared)))


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|x_i - y_j|², float32 [n, m]; both are centred first, as the expansion of the square cancels badly far from 0."""
    centre = y.mean(0, dtype=np.float64).astype(np.float32)
    x, y = x - centre, y - centre
    d = (x**2).sum(1)[:, None] + (y**2).sum(1)[None, :] - 2 * (x @ y.T)
    return np.maximum(d, 0, out=d)


def rbf(x: np.ndarray, y: np.ndarray, bandwidth: float) -> np.ndarray:
    """exp(-|x_i - y_j|² / (2 h²)), float32 [n, m]."""
    d = squared_distances(x, y)
    if x is y:
        np.fill_diagonal(d, 0)
    d *= -1 / (2 * bandwidth**2)
    return np.exp(d, out=d)


def frechet(x: np.ndarray, y: np.ndarray, w: np.ndarray | None = None, v: np.ndarray | None = None) -> float:
    """Squared Fréchet (2-Wasserstein) distance of the Gaussians fitted to x [n, d] and y [m, d].

    |μx - μy|² + tr Σx + tr Σy - 2 tr (Σx Σy)^½ (Dowson and Landau 1982), covariances with n - 1. w and v are optional
    weights (counts) of the rows. The last trace is the nuclear norm of X Yᵀ, X and Y centred and scaled: no matrix
    square root, and exact also where there are fewer texts than dimensions.
    """
    mx, x = _centred(x, w)
    my, y = _centred(y, v)
    if min(len(x), len(y)) <= x.shape[1]:
        cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    else:
        # the squares of the singular values of X Yᵀ are the eigenvalues of Lᵀ Σy L where Σx = L Lᵀ
        values, vectors = np.linalg.eigh(x.T @ x)
        root = vectors * np.sqrt(np.maximum(values, 0))
        cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root.T @ (y.T @ y) @ root), 0)).sum()
    return float(((mx - my) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * cross)


def _centred(x: np.ndarray, w: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    x = x.astype(np.float64)
    w = np.ones(len(x)) if w is None else w
    x, w = x[w > 0], w[w > 0]
    mean = w @ x / w.sum()
    return mean, (x - mean) * np.sqrt(w / (w.sum() - 1))[:, None]


def frechet_rounds(x: np.ndarray, y: np.ndarray, w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Fréchet distance with rows drawn w and v times in each round."""
    return np.array([frechet(x, y, a, b) for a, b in zip(w, v)])


def c2st_correct(x: np.ndarray, y: np.ndarray, paired: bool, seed: int = 0, folds: int = 5) -> np.ndarray:
    """Whether a classifier that did not see it in training tells each text right: float64 [n + m], x first.

    Logistic regression on standardised embeddings, cross-fitted. Texts of one prompt are always in the same fold: a
    classifier that has seen the human text of a prompt would take the model's for human as well.
    Classifier two-sample test: Lopez-Paz and Oquab, ICLR 2017.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.concatenate([x, y]).astype(np.float64)
    label = np.r_[np.zeros(len(x)), np.ones(len(y))]
    rng = np.random.default_rng([seed, 2])
    deal = lambda n: rng.permutation(np.arange(n) % folds)
    first = deal(len(x))
    fold = np.r_[first, first if paired else deal(len(y))]
    correct = np.empty(len(label))
    for k in range(folds):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(features[fold != k], label[fold != k])
        correct[fold == k] = model.predict(features[fold == k]) == label[fold == k]
    return correct
