"""What pyproject.toml cannot say: the compiled kernels are made by ``native/build.py``.

An installation, editable or not, and a wheel run it. Where there is no compiler, or it fails, the
loops run in numpy: setuptools goes on, since the extension is optional.
"""

import subprocess
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError


class BuildKernels(build_ext):  # type: ignore[misc]  # setuptools publishes no types
    """Runs the one build that an image runs too."""

    def build_extension(self, ext: Extension) -> None:
        """Compile the library to where setuptools expects it."""
        command = [sys.executable, "native/build.py", self.get_ext_fullpath(ext.name)]
        try:
            subprocess.run(command, check=True)
        except subprocess.CalledProcessError as error:
            raise CompileError(str(error)) from error


KERNELS = Extension("service.shapley.kernels.compiled", sources=[], optional=True)
setup(ext_modules=[KERNELS], cmdclass={"build_ext": BuildKernels})
