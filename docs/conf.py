"""How Sphinx builds the documentation: ``make docs``."""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))  # service and deploy, installed or not

project = "Scoring with reasons"
author = "The contributors"
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = project
# The pages open from a folder, also without a network: nothing comes from elsewhere but MathJax,
# without which a formula shows as it is written in TeX.
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections have them in words
numpydoc_show_class_members = False

TUTORIALS = HERE / "_build" / "examples"
TUTORIAL_FILES = (
    "GALLERY_HEADER.rst",
    "breast_cancer.py",
    "diabetes_svr.py",
    "from_azureml_interpret.py",
    "mimic.py",
    "permutation_importance.py",
    "raw_features.py",
)


def copy_tutorials() -> None:
    """Copy the examples to where they may write: each is run in its own folder."""
    TUTORIALS.mkdir(parents=True, exist_ok=True)
    for name in TUTORIAL_FILES:
        shutil.copy2(ROOT / "examples" / name, TUTORIALS / name)


copy_tutorials()
sphinx_gallery_conf = {
    "examples_dirs": str(TUTORIALS),
    "gallery_dirs": "tutorials",
    "filename_pattern": r"\.py$",
    "capture_repr": ("_repr_html_",),  # explanations are shown as pictures
    "image_scrapers": (),  # and nothing else is drawn
    "reset_modules": (),
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 10**6,  # a duration on the page would differ with each build
    "abort_on_example_error": True,
}
