"""Scripts that train a model and end with a saved scoring explainer, and the one that serves it."""
