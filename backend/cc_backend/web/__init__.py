"""The web pages: server-rendered views, and scripts that only add to them."""

from cc_backend.web.routes import blueprint

__all__ = ["blueprint"]
