"""What an entry script may rely on: how its ``run`` is called, and which modules it may import.

The contract is that of Azure ML's inference server, with one parameter more.

``run_function``   ``run``, called by the names of its parameters
``azure_modules``  the modules that Azure ML's server brings along
``body_texts``     ``pandas.read_json`` of the text of a body

Next: :mod:`service.web.entry.run_function`.
"""
