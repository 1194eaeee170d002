"""Sphinx's settings; `make docs` builds the site in docs/_build/html without a warning, or fails."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import echorl

project = "echorl"
author = copyright = "The echorl contributors"
release = version = echorl.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
root_doc = "index"
html_theme = "furo"
html_title = f"echorl {version}"
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autoclass_content = "class"
napoleon_use_ivar = True


def setup(app):
    """Write links to files outside docs/ as the files' names: the site does not hold them."""
    app.connect("source-read", _without_outside_links)


def _without_outside_links(app, name, source):
    levels = "../" * (name.count("/") + 1)
    source[0] = re.sub(rf"\[([^]]+)\]\({levels}([^)#]+)[^)]*\)", _file_name, source[0])


def _file_name(link):
    text, path = link.groups()
    return f"`{path}`" if text.strip("`/") in path else f"{text} (`{path}`)"
