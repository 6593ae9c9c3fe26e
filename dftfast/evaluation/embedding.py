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


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Squared Fréchet (2-Wasserstein) distance of the Gaussians fitted to x [n, d] and y [m, d].

    |μx - μy|² + tr Σx + tr Σy - 2 tr (Σx Σy)^½ (Dowson and Landau 1982), covariances with n - 1. The last trace is the
    nuclear norm of X Yᵀ, X and Y centred and scaled: exact also where there are fewer texts than dimensions.
    """
    mx, my, x, y, (_, s, _) = _frechet_parts(x, y)
    return float(((mx - my) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * s.sum())


def frechet_rounds(x: np.ndarray, y: np.ndarray, w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Fréchet distance with rows drawn w and v times in each round, to first order in w - 1 and v - 1.

    The derivative of the nuclear norm of X Yᵀ = U S Vᵀ by the weight of row i of X is (U S Uᵀ)_ii / 2, so that one
    decomposition serves all rounds. [rounds]
    """
    mx, my, cx, cy, (u, s, v_) = _frechet_parts(x, y)
    of_x = (cx**2).sum(1) - u**2 @ s + 2 * np.sqrt(len(x) - 1) / len(x) * (cx @ (mx - my))
    of_y = (cy**2).sum(1) - v_**2 @ s - 2 * np.sqrt(len(y) - 1) / len(y) * (cy @ (mx - my))
    return frechet(x, y) + (w - 1) @ of_x + (v - 1) @ of_y


def _frechet_parts(x: np.ndarray, y: np.ndarray):
    """Means, rows centred and divided by sqrt(n - 1), and the singular value decomposition (U, S, V) of X Yᵀ."""
    (mx, x), (my, y) = _centred(x), _centred(y)
    (qx, rx), (qy, ry) = np.linalg.qr(x), np.linalg.qr(y)
    u, s, vt = np.linalg.svd(rx @ ry.T, full_matrices=False)
    return mx, my, x, y, (qx @ u, s, qy @ vt.T)


def _centred(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = x.astype(np.float64)
    return x.mean(0), (x - x.mean(0)) / np.sqrt(len(x) - 1)


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
