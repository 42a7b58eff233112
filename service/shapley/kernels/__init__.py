"""The hot loops: pure functions on arrays, in numpy and, where a compiler was, in C++.

Who wants a loop run calls a method of :data:`current`. Which of both it is was decided when this
package was imported, by whether the compiled library lies beside it; the numpy form is the
specification of each loop, and what tests hold the compiled one against.

``distances``         kernels that are products of one factor a feature, by distances
``nearest``           points, and means of the nearest of them
``regression``        the regression on a plan's pairs, in numpy
``waves``             cosines of additive games, in numpy
``words``             truth values of many rows, 64 to a word
``quadrature``        Gauss–Legendre nodes for the integrals of products and polynomials
``shapley_weights``   the Shapley value of a feature in the game of one leaf
``splits``            the splits of decision trees as a walk meets them
``walks``             the paths that hybrid rows can take through trees, in numpy
``twigs``             parts of trees whose leaves are met together, in numpy
``numpy_kernels``     the loops in numpy
``compiled_kernels``  the same in the library that ``native/build.py`` makes of ``native/``

Next: :mod:`service.shapley.kernels.distances`.
"""

from service.shapley.kernels.compiled_kernels import CompiledKernels
from service.shapley.kernels.numpy_kernels import NumpyKernels

current: NumpyKernels = CompiledKernels.load() or NumpyKernels()

__all__ = ["CompiledKernels", "NumpyKernels", "current"]
