"""A scoring microservice that answers with predictions and the reasons for them.

Each room imports only from rooms above it, never from one below:

``rows``              what a row is, and how it is read
``shapley``           the mathematics; numpy and scipy alone
``structures``        what is inside a fitted model, by family
``engines``           from what is inside a model to importances
``explanations``      what an explainer answers, in a notebook
``explainers``        the training side: full explainers
``scoring``           what is saved, and served beside the original model
``dashboard``         explanations in the browser
``runs``              run history and registry, on MLflow
``pages``             pages for people
``web``               the Flask application around the user's entry script
``server``            gunicorn's process

Beside the rooms stand modules that any of them may import:

``errors``            what can go wrong in scoring
``settings``          what can be set by the environment
``model_origin``      which registered models lie in the model folder
``model_paths``       where a model lies that a script asks for by name
``container_limits``  processors and memory that this process may use
``strict_json``       JSON that every parser accepts
``threads``           a function of many items, in threads
``version``           the version of the service

``commands`` is the command line, ``batch`` scores a file for it. Users import from
:mod:`service.explainers`, :mod:`service.scoring` and :mod:`service.runs`. What these answer with is
in :mod:`service.explanations`, and shown by :mod:`service.dashboard`; nothing else is public.

Next: `service.commands`.
"""
