"""Do the standard errors tell the truth? ``python -m benchmarks.coverage --only CASE --seeds 200``.

Explains the same rows with many seeds and counts how often the truth is within 1.96 standard
errors: it should be about 95%. Where the truth is itself sampled, its own error is added to the
standard error (in quadrature).
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks.cases import CASES
from benchmarks.peers import our_answer, our_explainer

RESULTS = Path(__file__).parent / "results" / "coverage.json"
SAMPLED = (
    "svc_probability_centres",
    "svc_probability_whole",
    "mlp",
    "logistic_probability",
    "digits",
    "opaque_12_100",
    "opaque_12_500",
    "opaque_60_100",
    "opaque_60_500",
)
N_ROWS = 2


def main():
    """Measure the cases asked for, print and record."""
    options = arguments()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.only.split(","):
        measured = coverage(CASES[name](), options.seeds, options.nsamples, options.seconds)
        print(f"{name}: {describe(measured)}", flush=True)
        if "share" in measured:
            found[name] = measured
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(SAMPLED), help="cases, separated by commas")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--nsamples", default="auto", help="auto, or a number of coalitions")
    parser.add_argument(
        "--seconds",
        type=float,
        default=120.0,
        help="a case stops after that long, whatever the seeds",
    )
    return parser.parse_args()


def coverage(case, seeds, nsamples, seconds):
    """Count how often the truth is within 1.96 standard errors of the estimate."""
    from service.scoring import KernelScoringExplainer

    explainer, truth = our_explainer(case), case.truth(case.our_background)
    rows, until = case.native(case.tests[:N_ROWS]), time.perf_counter() + seconds
    nsamples = nsamples if nsamples == "auto" else int(nsamples)
    values, errors = [], []
    for seed in range(seeds):
        scoring = KernelScoringExplainer(explainer, nsamples=nsamples, random_state=seed)
        answer = our_answer(case, scoring.explain_rows(rows))
        if answer.errors is None:
            return {"missing": answer.method}
        values.append(answer.values)
        errors.append(answer.errors)
        if time.perf_counter() > until:
            break
    return summary(np.array(values), np.array(errors), truth.values[:N_ROWS], truth.errors[:N_ROWS])


def summary(values, errors, truth, truth_errors):
    """Put the shares together; arrays are (n_seeds, n_rows, n_outputs, n_features).

    Features with no error at all (they do not vary, or the way is exact) are left out.
    """
    counted = (errors > 0).all(axis=0)
    if not counted.any():
        return {"missing": "exact"}
    within = np.abs(values - truth) < 1.96 * np.sqrt(errors**2 + truth_errors**2)
    by_feature = within.mean(axis=0)[counted]
    spread = values.std(axis=0, ddof=1)[counted]
    bias = (values.mean(axis=0) - truth)[counted]
    return {
        "seeds": len(values),
        "share": float(by_feature.mean()),
        "lowest_feature": float(by_feature.min()),
        "stated_over_real": float((np.sqrt((errors**2).mean(axis=0))[counted] / spread).mean()),
        "bias_over_error": float(np.sqrt((bias**2).mean() / (spread**2).mean())),
        "relative_error": float(np.sqrt(((values - truth) ** 2).mean()) / np.abs(truth).mean()),
    }


def describe(measured):
    """Say it in one line."""
    if "missing" in measured:
        return f"no standard errors ({measured['missing']})"
    return (
        f"{measured['share']:.1%} of the truths within 1.96 standard errors "
        f"({measured['seeds']} seeds; lowest feature {measured['lowest_feature']:.1%}); "
        f"stated over real spread {measured['stated_over_real']:.2f}, "
        f"bias over spread {measured['bias_over_error']:.2f}, "
        f"error {measured['relative_error']:.3f}"
    )


if __name__ == "__main__":
    main()
