"""What the verbs use; they themselves are in `deploy.deployment`.

``mutex``   one deployment at a time under a name
``ownership``  whose a deployment is
``audit``   what was done, by whom and with what outcome
``status``  what a deployment is doing

Next: `deploy.verbs.mutex`.
"""
