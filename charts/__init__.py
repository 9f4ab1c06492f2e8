"""Marathon apps and DC/OS packages that run the product, and what renders them.

`render_app(name, values)` makes one app; `python -m charts render` writes all.
"""

from charts.parsers import InvalidValues
from charts.render import NAMES, InvalidApp, render_app

__all__ = ["NAMES", "InvalidApp", "InvalidValues", "render_app"]
