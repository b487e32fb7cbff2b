"""The web pages: server-rendered views, and scripts that only add to them."""

from cc_backend.web.routes import make_blueprint

__all__ = ["make_blueprint"]
