"""From files to an image.

``context``       which files go into the image
``application``   where the files of the application lie in it
``recipe``        its Dockerfile
``pins``          which of the locked packages
``pip_settings``  where the build finds those packages
``build``         has the engine build it
``sbom``          lists what is in it

Next: `deploy.image.context`.
"""
