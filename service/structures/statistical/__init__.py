"""Statistical models beside linear ones: what they keep is densities, rows or covariances.

``naive_bayes``         classifiers whose columns are independent in each class
``neighbours``          means of the nearest rows
``gaussian_processes``  Gaussian processes of any stationary kernel, and their probabilities

Next: :mod:`service.structures.statistical.naive_bayes`.
"""
