"""Shapley values of games that a model, a row and a background define. numpy and scipy only.

The game: for a row x, background rows b_i with weights w_i (sum 1) and a model output f,
v(S) = Σ_i w_i · f(x on S, b_i elsewhere). Its Shapley values φ are the local importances, and
Σ_j φ_j = f(x) − Σ_i w_i f(b_i). Nothing here knows a model library, a data frame or HTTP.

``background``        the weighted reference rows that stand for "feature unknown"
``grouping``          encoded columns that move together as one feature
``coalitions``        which subsets are evaluated, in pairs, with which weights
``plan``              coalitions, background draws and the factorised regression, shared by all rows
``stages``            the same plan bit by bit, for rows that a part of it is enough for
``games``             the value function v(S) of a model that can only be called
``kernel``            the estimate: regression, control variates, standard errors, stopping
``controls``          control variates: what is known exactly is subtracted first
``cache``             what was made for a plan, within a bounded memory
``survey``            the mean over all examples, estimated from a sample of them
``linear``            the closed form of linear models
``trees``             the closed form of a sum of decision trees
``products``          kernel machines with a product kernel: closed form, and the game behind a link
``polynomials``       the closed form of kernel machines with a polynomial kernel
``kernels``           the hot loops, in numpy and compiled
``additive``          linear models behind a link and networks, without a call of the model
``permutations``      the same with very many features, along sampled orders of them
``background_tables`` what the background contributes to hybrid rows, made once
``combined``          games put together of others, and of distances to rows that a model keeps

Next: :mod:`service.shapley.background`.
"""
