"""The documents' own example against azureml-interpret: ``make bench-documents``."""
