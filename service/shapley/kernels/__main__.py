"""Say which form of the hot loops runs here: ``python -m service.shapley.kernels``."""

from service.shapley import kernels

print(kernels.current.sentence)
