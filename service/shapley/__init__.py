"""Shapley values of games that a model, a row and a background define. numpy and scipy only.

The game: for a row x, background rows b_i with weights w_i (sum 1) and a model output f,
v(S) = Σ_i w_i · f(x on S, b_i elsewhere). Its Shapley values φ are the local importances, and
Σ_j φ_j = f(x) − Σ_i w_i f(b_i). Nothing here knows a model library, a data frame or HTTP.

``background``   the weighted reference rows that stand for "feature unknown"
``coalitions``   which subsets are evaluated, with which weights
``games``        the value function v(S) of a model that can only be called
``kernel``       constrained weighted least squares: from v(S) to φ
``exact``        closed forms that need no coalitions
``trees``        the closed form of a sum of decision trees

Next: :mod:`service.shapley.kernel`.
"""
