"""Which output is imitated where probabilities are asked for, and whether there are any.

Next: :mod:`service.explainers.mimic.explainer`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.options import check_choice
from service.engines.outputs import ModelOutput
from service.engines.row_explainer import asked_with_rows
from service.shapley.background import spread_out

N_ROWS = 64
ROUNDING = 1e-5  # networks add up to 1 in single precision


def probability_output(model: Any, values: str, output: str, task: str) -> str:
    """Return the `output` that has a model's probabilities, where these are asked for.

    Parameters
    ----------
    model : object
    values : {"default", "probability", "teacher_probability"}
        What `shap_values_output` says.
    output, task : str
        What the options `output` and `model_task` say.

    Returns
    -------
    str
        "probability" of a model with ``predict_proba``. Any other has one output only, which
        :func:`check_probabilities` looks at.

    Raises
    ------
    ValueError
        When another output is asked for as well.
    """
    has_method = hasattr(asked_with_rows(model), "predict_proba")
    if values == "default" or task == "regression" or not has_method:
        return output
    check_choice(f"output, with shap_values_output={values!r}", output, ("auto", "probability"))
    return "probability"


def check_probabilities(function: ModelOutput, examples: NDArray[Any], values: str) -> None:
    """Refuse an output that is no probability for each class, where these are asked for.

    Parameters
    ----------
    function : ModelOutput
    examples : ndarray of shape (n_examples, n_features)
    values : {"default", "probability", "teacher_probability"}

    Raises
    ------
    ValueError
        When answers are below 0, or do not add up to 1.
    """
    if values == "default" or function.scale == "probability":
        return
    answers = function(spread_out(examples, N_ROWS))
    if function.form is not None or not _are_shares(answers):
        raise ValueError(
            f"shap_values_output: expected 'default' of {function.name}, which answers no "
            f"probabilities, one for each class that add up to 1, got {values!r}."
        )


def _are_shares(answers: NDArray[np.float64]) -> bool:
    if answers.shape[1] < 2 or np.any(answers < 0):
        return False
    return np.allclose(answers.sum(axis=1), 1.0, rtol=0, atol=ROUNDING)
