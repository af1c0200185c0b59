#!/usr/bin/env python3
"""Compares the demo's models with scikit-learn's LogisticRegression on exactly the same features.

Run it against a cluster that `covey demo --keep` has left running, in the folder where the demo ran:

    pip install pandas pyarrow scikit-learn
    export COVEY_ENDPOINT=http://127.0.0.1:...          # as the demo has printed it
    python3 examples/flights/compare_with_sklearn.py --covey target/debug/covey --report covey-demo/report.json

It fetches the training sets that the demo has trained on, has Covey build one more for April to December (the features as
they were served), fits scikit-learn on January to March, and scores every month. It ends with 1 when the area under the ROC
curve of any month differs by more than --within from what Covey's never retrained model was measured at in the demo.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

LABEL, MOMENT = "late", "scheduled_departure"
# The demo's models, and the keys of its report that hold what they were measured at.
MODELS = {
    "flight_delay": ("auc_by_month_no_retrain", "logloss_by_month_no_retrain"),
    "flight_delay_plain": ("auc_by_month_no_windows", "logloss_by_month_no_windows"),
}
SINCE, UNTIL = "2013-04-01T05:00:00Z", "2014-01-01T05:00:00Z"


def covey(binary, *arguments):
    """Runs one command of the CLI; its remarks go to standard error as they are."""
    subprocess.run([binary, *arguments], check=True, stdout=subprocess.DEVNULL)


def fetched(binary, dataset, folder):
    """A training set as a data frame."""
    file = pathlib.Path(folder) / f"{dataset.replace('@', '-')}.parquet"
    covey(binary, "dataset", "download", dataset, "--to", str(file))
    return pd.read_parquet(file)


def served(binary, service, folder):
    """The features of April to December as they were served, with the labels."""
    name = f"{service}_served"
    spine = ["--spine-view", "flight_outcomes", "--timestamp", MOMENT, "--from", SINCE, "--until", UNTIL]
    covey(binary, "dataset", "build", name, "--service", service, "--label", LABEL, *spine)
    return fetched(binary, name, folder)


def features(binary, service):
    """The names of a service's features, in its order: what a model of it reads."""
    shown = subprocess.run(
        [binary, "feature", "service", "show", service, "--output", "json"],
        check=True,
        capture_output=True,
        text=True,
    )
    return [feature["feature"] for feature in json.loads(shown.stdout)]


def model(frame, names):
    """The same preparation as Covey's: numbers standardised with a mark for missing ones, texts one-hot; C = 1."""
    numbers = [name for name in names if pd.api.types.is_numeric_dtype(frame[name])]
    texts = [name for name in names if name not in numbers]
    numeric = make_pipeline(
        StandardScaler(), SimpleImputer(strategy="constant", fill_value=0.0, add_indicator=True)
    )
    prepared = ColumnTransformer(
        [("numbers", numeric, numbers), ("texts", OneHotEncoder(handle_unknown="ignore"), texts)]
    )
    return make_pipeline(prepared, LogisticRegression(C=1.0, solver="lbfgs", max_iter=10_000, tol=1e-8))


def compare(name, report, binary, folder):
    """Prints a table of the months; gives the largest difference of the area under the curve."""
    auc_key, loss_key = MODELS[name]
    learned, after = fetched(binary, f"{name}@1", folder), served(binary, name, folder)
    names = features(binary, name)
    fitted = model(learned, names).fit(learned[names], learned[LABEL])
    after["month"] = (after[MOMENT] - pd.Timedelta(hours=5)).dt.month
    print(f"\n{name}: {len(learned)} examples, {len(names)} features")
    print("month     rows   AUC covey  sklearn  difference   log loss covey  sklearn")
    worst, means = 0.0, []
    for month, rows in after.groupby("month"):
        scores = fitted.predict_proba(rows[names])[:, 1]
        auc, loss = roc_auc_score(rows[LABEL], scores), log_loss(rows[LABEL], scores)
        ours, our_loss = report[auc_key][str(month)], report[loss_key][str(month)]
        worst = max(worst, abs(ours - auc))
        means.append((ours, auc, our_loss, loss))
        print(f"{month:5} {len(rows):8} {ours:11.4f} {auc:8.4f} {ours - auc:11.6f} {our_loss:16.4f} {loss:8.4f}")
    ours, auc, our_loss, loss = (sum(column) / len(means) for column in zip(*means))
    print(f"{'mean':5} {len(after):8} {ours:11.4f} {auc:8.4f} {ours - auc:11.6f} {our_loss:16.4f} {loss:8.4f}")
    return worst


def main():
    """Reads the command line, compares both models, and says whether they agree."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--covey", default="covey", help="the binary")
    options.add_argument("--report", default="covey-demo/report.json", help="what the demo has written")
    options.add_argument("--within", type=float, default=0.01, help="the largest difference that passes")
    options = options.parse_args()
    report = json.loads(pathlib.Path(options.report).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        worst = max(compare(name, report, options.covey, folder) for name in MODELS)
    print(f"\nlargest difference of a month's AUC: {worst:.6f}")
    if worst > options.within:
        sys.exit(f"that is more than {options.within}")


if __name__ == "__main__":
    main()
