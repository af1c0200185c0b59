"""Writes the golden values of the tests with NumPy, SciPy and scikit-learn.

Run once by hand in a virtual environment outside the tree:
    pip install numpy scipy scikit-learn && python generate.py
Versions used for the committed files: numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1.
"""

import json
import pathlib

import numpy as np
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB

HERE = pathlib.Path(__file__).parent


def write(name, value):
    (HERE / name).write_text(json.dumps(value) + "\n")


def quality():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 300).astype(float)
    scores = np.clip(0.35 * labels + rng.normal(0.3, 0.25, 300), 0.0, 1.0)
    scores[::3] = np.round(scores[::3], 1)
    numbers = rng.normal(5, 3, 300)
    guesses = numbers + rng.normal(0, 1, 300)
    spread = np.clip(0.35 * labels + rng.uniform(0, 0.6, 300), 0, 1)
    bins = np.minimum((spread * 10).astype(int), 9)
    error = sum(
        abs(spread[bins == b].mean() - labels[bins == b].mean()) * (bins == b).mean()
        for b in range(10)
        if (bins == b).any()
    )
    observed, predicted = calibration_curve(labels, spread, n_bins=10)
    write("metrics.json", {
        "labels": labels.tolist(), "scores": scores.tolist(),
        "auc": metrics.roc_auc_score(labels, scores),
        "log_loss": metrics.log_loss(labels, scores),
        "brier": metrics.brier_score_loss(labels, scores),
        "accuracy": metrics.accuracy_score(labels, scores >= 0.5),
        "numbers": numbers.tolist(), "guesses": guesses.tolist(),
        "rmse": metrics.root_mean_squared_error(numbers, guesses),
        "mae": metrics.mean_absolute_error(numbers, guesses),
        "spread": spread.tolist(), "calibration_error": error,
        "observed": observed.tolist(), "predicted": predicted.tolist(),
    })


def models():
    rng = np.random.default_rng(2)
    rows = 400
    x = rng.normal(10, 4, rows)
    y = rng.exponential(2, rows)
    y[rng.random(rows) < 0.1] = np.nan
    colours = np.array(["red", "green", "blue", "violet"])[rng.integers(0, 4, rows)]
    absent = rng.random(rows) < 0.05
    score = 0.3 * (x - 10) - 0.5 * np.nan_to_num(y, nan=4.0) + (colours == "red") * 1.5
    label = (rng.random(rows) < 1 / (1 + np.exp(-score))).astype(float)
    target = 2 * score + rng.normal(0, 1, rows)

    def standardise(v):
        return np.where(np.isnan(v), 0.0, (v - np.nanmean(v)) / np.nanstd(v))

    names = sorted(set(colours[~absent]))
    design = np.column_stack(
        [standardise(x), standardise(y), np.isnan(y)]
        + [(colours == name) & ~absent for name in names]
        + [absent]
    ).astype(float)
    logistic = LogisticRegression(C=0.7, solver="newton-cholesky", tol=1e-14, max_iter=1000).fit(design, label)
    ridge = Ridge(alpha=2.5, solver="cholesky").fit(design, target)
    bayes = GaussianNB(var_smoothing=1e-3).fit(design, label)
    write("models.json", {
        "x": x.tolist(), "y": [None if np.isnan(v) else v for v in y],
        "colour": [None if a else str(c) for a, c in zip(absent, colours)],
        "label": label.tolist(), "target": target.tolist(),
        "columns": ["x", "y", "y is missing"] + [f"colour = {n}" for n in names] + ["colour is missing"],
        "c": 0.7, "logistic": logistic.coef_[0].tolist(), "logistic_intercept": logistic.intercept_[0],
        "probabilities": logistic.predict_proba(design)[:, 1].tolist(),
        "l2": 2.5, "ridge": ridge.coef_.tolist(), "ridge_intercept": ridge.intercept_,
        "smoothing": 1e-3, "bayes": bayes.predict_proba(design)[:, 1].tolist(),
    })


def kolmogorov():
    survival = [
        [n, d, stats.kstwo.sf(d, n)]
        for n in [1, 2, 5, 10, 50, 140, 141, 500, 2000, 8571, 50000, 100000, 300000]
        for d in sorted({0.3 / n, 0.7 / n, 1.5 / n}
                        | {z / np.sqrt(n) for z in [0.2, 0.4, 0.6, 0.86, 0.9, 1.2, 1.45, 1.5, 2.1, 3.0, 5.0]})
        if d < 1
    ]
    rng = np.random.default_rng(3)
    pairs = []
    for m, n, shift in [(5, 7, 0.5), (30, 30, 0.4), (200, 150, 0.2), (64, 256, 0.0), (900, 1000, 0.1)]:
        first = np.round(rng.normal(0, 1, m), 2)
        second = np.round(rng.normal(shift, 1, n), 2)
        test = stats.ks_2samp(first, second)
        pairs.append({"first": first.tolist(), "second": second.tolist(),
                      "statistic": test.statistic, "p": test.pvalue})
    chi = [[k, x, stats.chi2.sf(x, k)] for k in [1, 2, 5, 30, 200] for x in [0.01, 0.5, 1.0, 5.0, 40.0, 250.0]]
    write("kolmogorov.json", {"survival": survival, "pairs": pairs, "chi_squared": chi})


quality()
models()
kolmogorov()
