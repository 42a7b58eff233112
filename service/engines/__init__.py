"""From what is known of a model to local importances: the engines, and which one explains a model.

In reading order:

``outputs``            which output of a model is explained
``options``            how an engine is to be built; they check themselves
``backgrounds``        which examples become the background
``progress``           what is shown meanwhile, on a terminal
``blas_threads``       one BLAS thread, so that bytes do not depend on the machine
``engine``             what every engine offers, with the defaults of an exact one
``exact_engines``      linear, tree, product and polynomial
``sampled_engines``    Kernel SHAP on any game, and shap's own
``precision``          single precision, where its rounding cannot be told
``called``             what a model costs that can only be called
``surrogate``          a small model of an opaque one, as a control variate
``background_error``   how far importances are from those on all examples
``compiled_encoding``  preprocessing as plain arrays, so that one row is quick
``builders``           from each kind of structure to its engine
``choice``             the table of engines, and the proof that one reproduces the model
``local_importances``  what comes out, with what is needed to read it
``sparse``             importances of sparse rows, of which only what differs is kept
``row_explainer``      the core that both explainers share
``transformed``        models behind transformations, by the columns that these make

Next: :mod:`service.engines.outputs`.
"""
