import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from test_encoders import CASES, FRAME, FULL, TEXTS, empty_columns_are_named, fit, usual

from service.engines.compiled_encoding import compile_encoder
from service.rows.schema import Schema
from service.structures.encoders import split_model

WITHOUT_A_COMPILED_FORM = {
    *("quantiles", "powers", "weights", "splines", "splines without one"),
    *("indicators", "indicators of all", "above a threshold"),
}
every_case = pytest.mark.parametrize("name", CASES)


def both(steps, rows):
    """Return the compiled encoder, the fitted one on the schema's matrix, and that matrix."""
    model = fit(steps, rows)
    schema = Schema.of(rows, None, model)
    matrix = schema.from_positions(rows)
    names = [str(name) for name in schema.model_names]
    encoder, _ = split_model(model, len(names), names)
    compiled = compile_encoder(encoder, names, schema, matrix)
    return compiled, lambda some: encoder(schema.model_rows(some)), matrix


@empty_columns_are_named
@every_case
def test_a_compiled_encoder_gives_the_bytes_of_the_fitted_steps(name):
    """For every way of preprocessing that has a compiled form: in a batch, alone, and after
    pickling.
    """
    compiled, fitted, matrix = both(*CASES[name])
    assert (compiled is None) == (name in WITHOUT_A_COMPILED_FORM)
    if compiled is None:
        return
    before = matrix.copy()
    encoded = compiled(matrix)
    assert encoded.dtype == np.float64
    np.testing.assert_array_equal(encoded, fitted(matrix))
    np.testing.assert_array_equal(compiled(matrix[3:4]), encoded[3:4])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(compiled))(matrix), encoded)
    pd.testing.assert_frame_equal(pd.DataFrame(matrix), pd.DataFrame(before))


@pytest.mark.parametrize(
    "step",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.1),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    ],
    ids=["zeros", "infrequent", "a code of its own"],
)
def test_a_category_that_came_later_becomes_what_the_fitted_encoder_makes_of_it(step):
    """No example has it, and the comparison with the fitted steps cannot have seen it."""
    compiled, fitted, matrix = both([step], FRAME[TEXTS])
    new = matrix[:2].copy()
    new[0, 0], new[1, 1] = "Sion", "x"
    np.testing.assert_array_equal(compiled(new), fitted(new))
    assert not np.array_equal(compiled(new), compiled(matrix[:2]))


def test_a_category_that_the_fitted_encoder_refuses_is_refused_by_name():
    """As a ValueError, as before."""
    compiled, fitted, matrix = both([OneHotEncoder()], FRAME[TEXTS])
    new = matrix[:1].copy()
    new[0, 0] = "Sion"
    for encode, reason in ((compiled, "Unknown category 'Sion'"), (fitted, "Sion")):
        with pytest.raises(ValueError, match=reason):
            encode(new)


def test_steps_whose_numbers_differ_keep_their_fitted_form():
    """A scaler computes in single precision on a DataFrame of such columns; the compiled form would
    not.
    """
    assert both([StandardScaler()], FULL.astype(np.float32))[0] is None
    assert both([StandardScaler()], FULL)[0] is not None


def test_columns_are_found_by_name_in_rows_of_another_order():
    """The examples may have theirs in another order than the model was fitted on."""
    model = fit([usual()], FRAME)
    rows = FRAME[FRAME.columns[::-1]]
    schema = Schema.of(rows, None, model)
    names, matrix = list(rows.columns), schema.from_positions(rows)
    encoder, _ = split_model(model, len(names), names)
    compiled = compile_encoder(encoder, names, schema, matrix)
    np.testing.assert_array_equal(compiled(matrix), model[:-1].transform(FRAME))
