"""The site's configuration: ``sphinx-build -W docs docs/_build``, warnings are errors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import generate

import mrs_necrosis

project = "mrs_necrosis"
author = "the mrs_necrosis developers"
copyright = f"2026, {author}"
version = release = mrs_necrosis.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "_generated"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["deflist", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
add_module_names = False
python_maximum_signature_line_length = 80

html_theme = "pydata_sphinx_theme"
html_title = f"mrs_necrosis {release}"
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "use_edit_page_button": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {
    page.stem: [] for page in Path(__file__).parent.glob("*.md")
}  # their sections stand on the right
html_copy_source = False
html_show_sphinx = False

generate.write(Path(__file__).parent / "_generated")
