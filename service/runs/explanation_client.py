"""Explanations of a run."""


class ExplanationClient:
    """Uploads and downloads explanations."""
