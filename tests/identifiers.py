"""Names of parametrised tests: the same in every process, so that tests can be shared out."""

import re


def written(value):
    """Write a value without the address that Python puts behind functions and objects."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
