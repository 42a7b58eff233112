"""Statistical models beside linear ones: what they keep is densities or rows.

``naive_bayes``  classifiers whose columns are independent in each class
``neighbours``   means of the nearest rows
``gaussian_processes``  classifiers by Gaussian processes

Next: :mod:`service.structures.statistical.naive_bayes`.
"""
