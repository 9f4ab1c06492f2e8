"""Marathon apps and DC/OS packages that run the product, and what renders them.

`render_app(name, values)` makes one app; `python -m charts render` writes all.
"""

from charts.render import NAMES, InvalidApp, render_app
from charts.values import InvalidValues

__all__ = ["NAMES", "InvalidApp", "InvalidValues", "render_app"]
