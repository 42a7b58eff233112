"""The numbers of each chart, of all rows of its cohorts.

``binning``      columns cut into bins
``intervals``    how far a metric may be off
``metrics``      what a confusion table, and what errors of a regression, come to
``curves``       ROC, precision and recall, calibration
``performance``  how well the model does
``importance``   aggregate importances
``swarm``        where the importances of all rows lie
``histograms``   counts, and boxes
``points``       points, or counts of them, in binary
``rows``         tables of rows, and all that is known of one
``error_tree``   where the model fails

Next: :mod:`service.dashboard.charts.binning`.
"""
