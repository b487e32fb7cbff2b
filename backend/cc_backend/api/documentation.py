"""The description of the API by itself: its OpenAPI document, and the same as a page for people."""

import json
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from flask import Flask, Response, current_app, render_template_string

from cc_backend.api.descriptions import IN_PATH, describe_route
from cc_backend.api.schemas import COMPONENTS
from cc_backend.http.openapi import openapi_document
from cc_backend.http.responses import json_response, with_etag
from cc_backend.http.routing import Route
from cc_common import __version__

_EXTENSION = "cockpit-openapi"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
code, td { overflow-wrap: anywhere; }
pre { overflow-x: auto; border: 1px solid; padding: 0.5rem; }
table { border-collapse: collapse; }
td, th { text-align: left; vertical-align: top; padding: 0.2rem 1rem 0.2rem 0; }
h2 { margin-top: 2.5rem; font-size: 1.1rem; }
"""
_CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ api.info.title }}</title><style>{{ style | safe }}</style></head>
<body>
<main>
<h1>{{ api.info.title }}</h1>
<p>Version {{ api.info.version }}. <a href="{{ url_for('.get_api_openapi_json') }}">As OpenAPI 3.1 (JSON)</a>.
A token is sent in <code>X-Auth-Token</code> or <code>Authorization: Bearer</code>. Paths are valid with and without the
slash at their end. Failures are <code>{"status", "code", "error"}</code>.</p>
<nav aria-label="Routes"><ul>
{%- for path, operations in api.paths.items() %}{% for method, operation in operations.items() %}
<li><a href="#{{ operation.operationId }}"><code>{{ method | upper }} {{ path }}</code></a></li>
{%- endfor %}{% endfor %}
</ul></nav>
{%- for path, operations in api.paths.items() %}{% for method, operation in operations.items() %}
<section id="{{ operation.operationId }}">
<h2><code>{{ method | upper }} {{ path }}</code></h2>
<p>{{ operation.summary }} {{ operation.description }}</p>
<p>Permission: {{ operation["x-permission"] }}</p>
{%- if operation.parameters %}
<table><thead><tr><th>parameter</th><th>in</th><th>means</th><th>is</th></tr></thead><tbody>
{%- for parameter in operation.parameters %}
<tr><td><code>{{ parameter.name }}</code>{% if parameter.required %} (required){% endif %}</td>
<td>{{ parameter["in"] }}</td>
<td>{{ parameter.description }}</td><td><code>{{ as_json(parameter.schema) }}</code></td></tr>
{%- endfor %}
</tbody></table>
{%- endif %}
{%- for media_type, body in (operation.requestBody or {"content": {}}).content.items() %}
<p>Body, <code>{{ media_type }}</code>:</p>
<pre><code>{{ as_json(body.schema, 2) }}</code></pre>
{%- endfor %}
{%- for status, response in operation.responses.items() if status != "default" %}
<p>{{ status }}: {{ response.description }}</p>
{%- for media_type, content in (response.content or {}).items() %}
<pre><code>{{ as_json(content.schema, 2) }}</code></pre>
{%- endfor %}{% endfor %}
</section>
{%- endfor %}{% endfor %}
<h2 id="schemas">Schemas</h2>
{%- for name, schema in api.components.schemas.items() %}
<section id="schema-{{ name }}"><h3><code>{{ name }}</code></h3>
<pre><code>{{ as_json(schema, 2) }}</code></pre></section>
{%- endfor %}
</main>
</body>
</html>
"""


def describe_routes(app: Flask, routes: Iterable[Route]) -> None:
    """Let the views of this module describe these routes."""
    app.extensions[_EXTENSION] = openapi_document(
        routes,
        describe_route,
        title="ClusterCockpit REST API",
        version=__version__,
        schemas=COMPONENTS,
        path_schemas=IN_PATH,
    )


def get_openapi() -> Response:
    """The OpenAPI 3.1 document of the API."""
    return with_etag(json_response(_document()))


def show_api() -> Response:
    """The OpenAPI document as a page for people, without scripts."""
    page = render_template_string(_PAGE, api=_document(), style=_STYLE, as_json=_as_json)
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
    return with_etag(response)


def _document() -> dict[str, Any]:
    document: dict[str, Any] = current_app.extensions[_EXTENSION]
    return document


def _as_json(schema: object, indent: int | None = None) -> str:
    return json.dumps(schema, indent=indent, ensure_ascii=False)
