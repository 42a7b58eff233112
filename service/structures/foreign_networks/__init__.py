"""Networks of torch and Keras, read into arrays by what their layers are called.

Neither library is imported here.

``layers``          affine layers and activations, put together
``torch_modules``   torch's modules: what is executed, in order
``keras_models``    Keras' models that are chains of layers
``read_networks``   the models that come out: read, or called as they are

Next: :mod:`service.structures.foreign_networks.layers`.
"""
