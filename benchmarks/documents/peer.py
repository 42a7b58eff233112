"""The documents' own stack as a process of its own, in an environment of its own."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.serving.servers import AZUREML_INTERPRET

SCRIPT = Path(__file__).parent / "azureml_interpret.py"


class Peer:
    """A process that has fitted, explained and saved the example, and explains on demand.

    Attributes
    ----------
    folder : Path
        Where it saved the model and its scoring explainer, for the entry script.
    probabilities : ndarray of shape (4, 2)
        What its model says of the four rows.
    """

    def __init__(self, process, folder):
        self.process, self.folder = process, folder
        self.probabilities = np.array(self._read()["probabilities"])

    def explain(self):
        """Have it explain the four rows once; returns times and values."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("{"):  # its libraries print other lines
                return json.loads(line)
        log = (self.folder / "peer.log").read_text()
        return sys.exit(f"azureml-interpret ended with {self.process.wait()}: {log[-2000:]}")


@contextmanager
def peer(folder, model):
    """Run the stack over a folder; it ends with the context."""
    python = AZUREML_INTERPRET / "python"
    if not python.is_file():
        sys.exit(f"expected azureml-interpret in {AZUREML_INTERPRET}: make bench-documents")
    with (folder / "peer.log").open("wb") as log:
        process = subprocess.Popen(
            [str(python), str(SCRIPT), str(folder), model],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield Peer(process, folder)
        finally:
            process.kill()
            process.communicate(timeout=60)
