"""Games that are put together of others, or of distances to rows that a model keeps.

``stacked``     a link behind the outputs of several games
``neighbours``  means of the nearest rows

Next: :mod:`service.shapley.combined.stacked`.
"""
