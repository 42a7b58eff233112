"""Networks of torch, with torch: `make test-torch` runs them in an environment of their own."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from serving import serving
from shapley_by_definition import shapley_by_definition

from service.explainers import DeepExplainer, TreeExplainer
from service.scoring import KernelScoringExplainer, load, save

try:
    import torch
    from torch import nn
except ImportError:
    if os.environ.get("CI"):
        raise
    reason = "torch is not installed here: `make test-torch` runs these tests in .venv-torch"
    pytest.skip(reason, allow_module_level=True)

ROOT = Path(__file__).parents[2]
X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32).astype(np.float64)


class Residual(nn.Module):
    """One activation that is used twice, in an order that is not that of its attributes."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 2)
        self.bend = nn.Tanh()
        self.middle = nn.Linear(7, 6)
        self.first = nn.Linear(5, 7)

    def forward(self, rows):
        return self.last(self.bend(self.middle(self.bend(self.first(rows)))))


class Functional(nn.Module):
    """What it does between its layers cannot be seen."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 7), nn.Linear(7, 1)

    def forward(self, rows):
        assert not torch.is_grad_enabled()
        assert not self.training
        return self.last(torch.relu(self.first(rows)))


def networks():
    torch.manual_seed(0)
    made = {
        "regression": nn.Sequential(
            nn.Linear(5, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 1)
        ),
        "sigmoid": nn.Sequential(
            nn.Flatten(),
            nn.BatchNorm1d(5),
            nn.Linear(5, 7),
            nn.BatchNorm1d(7),
            nn.ReLU(),
            nn.BatchNorm1d(7, affine=False),
            nn.Linear(7, 1),
            nn.Sigmoid(),
        ),
        "softmax": nn.Sequential(
            nn.Linear(5, 7, bias=False), nn.Identity(), nn.ReLU(), nn.Linear(7, 3), nn.Softmax(1)
        ),
        "logits": nn.Sequential(nn.Sigmoid(), nn.Linear(5, 4), nn.Linear(4, 3)),
        "of its own": Residual(),
        "called": nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 1)),
        "called by function": Functional(),
        "called logit": nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 1)),
        "called sigmoid": nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 1), nn.Sigmoid()),
        "double": nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)).double(),
    }
    with torch.no_grad():
        for _ in range(5):
            made["sigmoid"](torch.randn(64, 5) * 2 + 1)  # so that it has statistics
    return made


NETWORKS = networks()


def answer(network, rows):
    """What torch answers, in eval mode; (n_rows, n_outputs)."""
    was_training = network.training
    network.eval()
    dtype = next(network.parameters()).dtype
    with torch.no_grad():
        outputs = network(torch.as_tensor(rows).to(dtype)).numpy().astype(np.float64)
    network.train(was_training)
    return outputs


CASES = {
    "regression": ("kernel/network", {}, lambda out: out),
    "sigmoid": ("kernel/network", {}, lambda out: np.hstack([1 - out, out])),
    "softmax": ("kernel/network", {}, lambda out: out),
    "logits": ("kernel/network", {"model_task": "classification"}, lambda out: out),
    "of its own": ("kernel/network", {"model_task": "regression"}, lambda out: out),
    "called": ("kernel", {}, lambda out: out),
    "called by function": ("kernel", {}, lambda out: out),
    "called logit": (
        "kernel",
        {"model_task": "classification"},
        lambda out: np.hstack([-out, out]),
    ),
    "called sigmoid": (
        "kernel",
        {"model_task": "classification"},
        lambda out: np.hstack([1 - out, out]),
    ),
    "double": ("kernel/network", {}, lambda out: out),
}


@pytest.mark.parametrize("name", CASES)
def test_importances_are_those_of_the_network_by_definition(name):
    """Enumerated over all coalitions by calling torch: read networks and called ones alike."""
    method, options, shape = CASES[name]
    explainer = DeepExplainer(NETWORKS[name], X, **options)
    local = explainer.explain_local(X[:2])
    assert local.method == method

    def ask(rows):
        return shape(answer(NETWORKS[name], rows))

    expected = shapley_by_definition(ask, X[1], X, np.ones(len(X)))
    values = np.array(local.local_importance_values)[..., 1, :].reshape(expected.shape)
    np.testing.assert_allclose(values, expected, rtol=0, atol=2e-6)
    sums = np.array(local.local_importance_values).sum(axis=-1).T + local.expected_values
    np.testing.assert_allclose(np.atleast_2d(sums.T).T, ask(X[:2]), rtol=0, atol=2e-6)


def test_margins_come_before_the_last_activation():
    """Of a sigmoid −m and m, of a softmax the scores."""
    sigmoid = DeepExplainer(NETWORKS["sigmoid"], X, output="margin", classes=["no", "yes"])
    local = sigmoid.explain_local(X[:3])
    before = answer(NETWORKS["sigmoid"][:-1], X[:3])
    sums = np.array(local.local_importance_values).sum(axis=-1).T + local.expected_values
    np.testing.assert_allclose(sums, np.hstack([-before, before]), rtol=0, atol=2e-6)
    assert local.classes == ["no", "yes"]
    softmax = DeepExplainer(NETWORKS["softmax"], X, output="margin").explain_local(X[:3])
    sums = np.array(softmax.local_importance_values).sum(axis=-1).T + softmax.expected_values
    np.testing.assert_allclose(sums, answer(NETWORKS["softmax"][:-1], X[:3]), rtol=0, atol=2e-6)


def test_the_network_stays_as_it_was():
    """In training mode, without hooks."""
    network = NETWORKS["regression"]
    network.train()
    DeepExplainer(network, X).explain_local(X[:1])
    assert network.training
    assert not any(part._forward_hooks for part in network.modules())


def test_messages_name_the_network(capsys):
    """Its class, and not what calls it here."""
    network = NETWORKS["called by function"]
    DeepExplainer(network, X)
    assert capsys.readouterr().err.startswith("Functional is called.")
    explainer = DeepExplainer(network, X, model_task="classification")
    assert capsys.readouterr().err.startswith("Functional.decision_function is called.")
    assert explainer.row_explainer.function.type_name == f"{__name__}.Functional"
    with pytest.raises(ValueError, match="expected a tree model, got Functional; use Tab"):
        TreeExplainer(network, X)


def test_a_called_network_is_saved_with_its_engine(tmp_path):
    """It is asked where rows are scored, and needs torch there."""
    explainer = DeepExplainer(NETWORKS["called sigmoid"], X, model_task="classification")
    save(KernelScoringExplainer(explainer), tmp_path / "saved")
    values = load(tmp_path / "saved").explain(X[:2])
    assert values == explainer.explain_local(X[:2]).local_importance_values


def test_a_read_network_is_scored_without_torch(tmp_path):
    """Saved, and loaded in a process that never imports torch: the same bytes."""
    explainer = DeepExplainer(NETWORKS["softmax"], X)
    path = save(KernelScoringExplainer(explainer), tmp_path / "saved")
    assert b"torch" not in Path(path).read_bytes()
    script = (
        "import json, sys; from service.scoring import load\n"
        f"print(json.dumps(load({str(path)!r}).explain({X[:2].tolist()!r})))\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    expected = explainer.explain_local(X[:2]).local_importance_values
    assert json.loads(done.stdout) == expected == load(path).explain(X[:2])
    assert pickle.loads(pickle.dumps(explainer)).method == "kernel/network"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["softmax", "called sigmoid", "called by function"])
def test_a_network_is_served(name, workers, tmp_path):
    """Read or called, with torch's own threads at work before the workers start and in them: every
    answer is what torch says here, and its importances add up to it.
    """
    _, options, shape = CASES[name]
    explainer = DeepExplainer(NETWORKS[name], X, **options)
    folder = tmp_path / "models"
    save(KernelScoringExplainer(explainer), folder, original_model=NETWORKS[name])
    settings = {"AZUREML_MODEL_DIR": str(folder), "WORKERS": str(workers)}
    # Two threads also where the tests pin one: a pool of them does not live through a fork. The
    # pickle of a class of this file wants this file.
    paths = [str(Path(__file__).parent), str(ROOT / "tests")]
    settings |= {"OMP_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(paths)}
    expected = shape(answer(NETWORKS[name], X[:3]))
    expected_values = np.array(explainer.explain_local(X[:1]).expected_values)
    with serving(tmp_path, **settings) as service:
        for _ in range(4):
            scored = service.score(json.dumps(X[:3].tolist())).json()
            values = np.array(scored["local_importance_values"]).reshape(-1, 3, X.shape[1])
            sums = values.sum(axis=-1).T + expected_values
            np.testing.assert_allclose(sums, expected, rtol=0, atol=2e-6)
            predictions = np.array(scored["predictions"])
            asked = answer(NETWORKS[name], X[:3])
            np.testing.assert_allclose(predictions.reshape(asked.shape), asked, rtol=0, atol=2e-6)
