"""Bounds on what one question may cost.

Next: :mod:`service.dashboard.errors`.
"""

LIMITS = {
    "points": 200_000,  # of one picture
    "page": 200,  # rows of a table
    "rows": 10,  # that are looked at, or asked of the model, at once
    "cells": 5000,  # rows · grid of one question to the model
    "bins": 100,
}
SECONDS = 60.0  # that a question to the model may take
