"""Every kind of model behind every spelling of transformations, against the definition."""

import pytest
from raw_spellings import MODELS, SPELLINGS, check_spelling


@pytest.mark.filterwarnings("ignore:Bins whose width:UserWarning")
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_model_behind_every_spelling(spelling, kind):
    """As tests/fast/test_transformations.py does with one model for each spelling."""
    check_spelling(spelling, kind)
