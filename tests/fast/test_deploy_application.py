"""Which file lies where in the image: nothing is lost, or it is refused by name."""

import os

import pytest

from deploy.configuration import configuration
from deploy.errors import BuildError, ConfigurationError
from deploy.image import context
from deploy.image.application import application


@pytest.fixture
def project(tmp_path):
    """A folder with an entry script; `write` puts more files into it."""
    write(tmp_path, "score.py")
    return tmp_path


def write(folder, *names):
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)


def users(folder, **values):
    """Return what of the user's lies where: places and the names of the files there."""
    config = configuration({"name": "scoring", "models": [], **values})
    found = application(config, folder)
    own = application(configuration({"name": "scoring", "models": []}), folder)
    return {
        place: content.decode()
        for place, content in found.items()
        if place not in own or place == "score.py"
    }


def test_files_and_folders_keep_their_names(project):
    """Models below their own folder, with the manifest beside a file; code beside the script."""
    write(project, "in/a.pkl", "in/a.json", "b/2024/model.pkl", "b/2025/model.pkl", "lib/x/y.py")
    assert users(project, models=["in/a.pkl", "b"], code=["lib/x", "lib/x/y.py"]) == {
        "score.py": "score.py",
        "models/a.pkl": "in/a.pkl",
        "models/a.json": "in/a.json",
        "models/b/2024/model.pkl": "b/2024/model.pkl",
        "models/b/2025/model.pkl": "b/2025/model.pkl",
        "x/y.py": "lib/x/y.py",
        "y.py": "lib/x/y.py",
    }


def test_two_folders_keep_models_of_one_name_apart(project):
    """Which is what a refusal advises."""
    write(project, "churn/model.pkl", "fraud/model.pkl")
    found = users(project, models=["churn", "fraud/"])
    assert set(found) == {"score.py", "models/churn/model.pkl", "models/fraud/model.pkl"}


def test_the_folder_of_deploy_yml_itself_is_its_content(project):
    """`code: [.]` takes everything beside the entry script, which is named twice then."""
    write(project, "helpers.py", "package/inner.py", ".env", "__pycache__/x.pyc")
    assert set(users(project, code=["."])) == {"score.py", "helpers.py", "package/inner.py"}


def test_what_is_behind_a_link_is_there_too(project):
    """A folder of models often has a link to the newest."""
    write(project, "store/3/model.pkl", "models/README")
    (project / "models" / "latest").symlink_to(project / "store" / "3")
    assert set(users(project, models=["models"])) == {
        "score.py",
        "models/models/README",
        "models/models/latest/model.pkl",
    }


@pytest.mark.parametrize(
    ("values", "key", "place", "other"),
    [
        ({"models": ["a/m.pkl", "b/m.pkl"]}, "models[1]", "models/m.pkl", "models[0], {}/a/m.pkl"),
        (
            {"models": ["a/m.pkl", "c/m.bin"]},
            "models[1]",
            "models/m.json",
            "models[0], {}/a/m.json",
        ),
        ({"models": ["x/d", "y/d"]}, "models[1]", "models/d/m", "models[0], {}/x/d/m"),
        ({"models": ["e/d", "y/d"]}, "models[1]", "models/d/m", "models[0], {}/e/d"),
        ({"models": ["y/d", "e/d"]}, "models[0]", "models/d/m", "models[1], {}/e/d"),
        ({"code": ["a/u.py", "b/u.py"]}, "code[1]", "u.py", "code[0], {}/a/u.py"),
        ({"code": ["b/score.py"]}, "code[0]", "score.py", "entry_script, {}/score.py"),
        (
            {"code": ["b/models"], "models": ["a/m.pkl"]},
            "models[0]",
            "models/m.pkl",
            "code[0], {}/b",
        ),
    ],
)
def test_two_files_at_one_place_are_refused(project, values, key, place, other):
    """One would be lost, here and in the image alike, so that no proof would show it."""
    write(project, "a/m.pkl", "a/m.json", "b/m.pkl", "c/m.bin", "c/m.json", "x/d/m", "y/d/m")
    write(project, "e/d", "a/u.py", "b/u.py", "b/score.py", "b/models/m.pkl")
    with pytest.raises(ConfigurationError) as refusal:
        users(project, **values)
    said = str(refusal.value)
    assert said.startswith(f"{key}: {project}/")
    assert f" would lie at /app/{place}, where {other.format(project)}" in said
    assert "rename one of them, or name their folders in their place" in said


@pytest.mark.parametrize(
    "values",
    [
        {"entry_script": "probe.py"},
        {"entry_script": "mine/service.py"},
        {"code": ["mine/service"]},
        {"code": ["mine/probe.py"]},
        {"code": ["preflight"]},
        {"code": ["content.sha256"]},
    ],
)
def test_names_of_the_images_own_are_refused(project, values):
    """The probe of the health check would be overwritten, or the service not be imported."""
    write(project, "probe.py", "mine/service.py", "mine/service/more.py", "mine/probe.py")
    write(project, "preflight/x", "content.sha256")
    with pytest.raises(ConfigurationError, match=r"is a name of the image's own; rename it"):
        users(project, **values)


def test_what_cannot_be_read_is_refused_by_its_key(project):
    """A missing file, an empty folder, a broken link, a link in a circle, and a pipe."""
    write(project, "here/model.pkl", "hidden/.git/config")
    (project / "here" / "gone").symlink_to("nowhere")
    with pytest.raises(
        ConfigurationError, match=r"^models\[0\]: cannot read .*none\.pkl \(No such"
    ):
        users(project, models=["none.pkl"])
    with pytest.raises(ConfigurationError, match=r"^models\[0\]: cannot read .*gone \(No such"):
        users(project, models=["here"])
    with pytest.raises(ConfigurationError, match=r"^code\[0\]: expected files in .*hidden, found"):
        users(project, code=["hidden"])
    (project / "here" / "gone").unlink()
    (project / "here" / "round").symlink_to(project / "here")
    with pytest.raises(ConfigurationError, match=r"^models\[0\]: .*round is a link to a folder"):
        users(project, models=["here"])
    os.mkfifo(project / "pipe.pkl")
    with pytest.raises(ConfigurationError, match=r"^models\[0\]: expected a file, but .*pipe\.pkl"):
        users(project, models=["pipe.pkl"])


def test_a_refusal_comes_before_the_entry_script_is_asked(project):
    """And so before anything is built."""
    write(project, "a/m.pkl", "b/m.pkl")
    (project / "score.py").write_text("raise SystemExit('asked')")
    config = configuration({"name": "scoring", "models": ["a/m.pkl", "b/m.pkl"]})
    with pytest.raises(ConfigurationError, match=r"^models\[1\]"):
        context.gather(config, project, {})


def test_a_script_that_fails_is_told_what_its_folder_of_models_held(project):
    """A folder of models lies below it, which who writes the script has to know."""
    write(project, "mine/model.pkl", "rows.json")
    (project / "score.py").write_text("def init(): open('model.pkl')\ndef run(raw_data): pass\n")
    config = configuration({"name": "scoring", "models": ["mine"], "example": "rows.json"})
    with pytest.raises(BuildError, match=r"Its AZUREML_MODEL_DIR held \['mine'\]\. Mend it first"):
        context.gather(config, project, {})
