"""A scoring microservice that answers with predictions and the reasons for them.

Rooms, in the order their arrows run: ``shapley`` (the mathematics) ← ``scoring`` (what is saved and served) ←
``explainers`` (the training side); ``web`` serves an entry script over HTTP. Next: :mod:`service.scoring`.
"""
