"""Statistical models beside linear ones: what they keep is densities or rows.

``naive_bayes``         classifiers whose columns are independent in each class
``neighbours``          means of the nearest rows
``process_kernels``     the kernels of Gaussian processes, as sums of terms
``gaussian_processes``  Gaussian processes of such kernels
``discriminants``       quadratic discriminant analysis

Next: :mod:`service.structures.statistical.naive_bayes`.
"""
