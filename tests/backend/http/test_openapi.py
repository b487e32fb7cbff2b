"""The OpenAPI document is built from the declarations of routes, and from nothing else."""

from flask import Response

from cc_backend.auth.permissions import Permission
from cc_backend.http.openapi import Body, Description, Parameter, Success, openapi_document
from cc_backend.http.routing import Route

TEXT = {"type": "string"}
NOTHING = Description()


def get_thing(thing: str) -> Response:
    """A thing.

    Told in more
    than one line.
    """
    return Response(thing)


def document(*routes: Route, described: Description = NOTHING) -> dict[str, object]:
    return openapi_document(
        routes, lambda _: described, title="Things", version="1", schemas={"Thing": TEXT}, path_schemas={"thing": TEXT}
    )


def test_a_route_is_described_by_its_path_its_view_and_what_it_declares() -> None:
    described = Description(
        (Parameter("name", TEXT, "a name", is_repeatable=True), Parameter("to", TEXT, "an end", is_required=True)),
        Body(TEXT, "text/plain"),
        Success("made", {"$ref": "#/components/schemas/Thing"}, status=201),
    )
    route = Route(("POST",), "/api/things/<thing>/", get_thing, Permission.JOBS_WRITE)
    paths = document(route, described=described)["paths"]
    assert paths == {
        "/api/things/{thing}/": {
            "post": {
                "operationId": "post_api_things_thing",
                "summary": "A thing.",
                "description": "Told in more than one line.",
                "x-permission": "jobs write",
                "parameters": [
                    {"name": "thing", "in": "path", "required": True, "schema": TEXT},
                    {
                        "name": "name",
                        "in": "query",
                        "description": "a name",
                        "schema": {"type": "array", "items": TEXT},
                    },
                    {"name": "to", "in": "query", "description": "an end", "schema": TEXT, "required": True},
                ],
                "requestBody": {"required": True, "content": {"text/plain": {"schema": TEXT}}},
                "responses": {
                    "201": {
                        "description": "made",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                    },
                    "default": {
                        "description": "what went wrong: `code` for programs, `error` for people",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                    },
                },
            }
        }
    }


def test_routes_with_one_path_are_operations_of_one_path_and_public_ones_need_no_token() -> None:
    routes = (
        Route(("GET",), "/api/things/", get_thing, Permission.PUBLIC),
        Route(("PUT", "POST"), "/api/things/", get_thing, Permission.JOBS_WRITE),
    )
    found = document(*routes)
    (operations,) = found["paths"].values()  # type: ignore[attr-defined]  # JSON
    assert list(operations) == ["get", "put", "post"]
    assert (operations["get"]["security"], "security" in operations["put"]) == ([], False)
    assert found["security"] == [{"bearer": []}, {"header": []}]


def test_errors_in_a_form_of_their_own_stand_beside_the_usual_one() -> None:
    route = Route(("GET",), "/api/things/", get_thing, Permission.PUBLIC)
    responses = document(route, described=Description(failure=TEXT))["paths"]["/api/things/"]["get"]["responses"]  # type: ignore[index]  # JSON
    (content,) = responses["default"]["content"].values()
    assert content["schema"] == {"anyOf": [{"$ref": "#/components/schemas/Problem"}, TEXT]}


def test_a_view_of_several_routes_may_be_summed_up_for_each() -> None:
    route = Route(("GET",), "/api/things/", get_thing, Permission.PUBLIC)
    operation = document(route, described=Description(summary="All things."))["paths"]["/api/things/"]["get"]  # type: ignore[index]  # JSON
    assert (operation["summary"], "description" in operation) == ("All things.", False)
