"""The OpenAPI document: made by quart-schema from what is noted at the routes (:mod:`trioworkers.described`).

quart-schema is used for what it knows best, rules and models of Quart in OpenAPI's terms, and not installed
into the application: `init_app` would put a pydantic adapter on the way of each answer, replace the JSON
provider and the class of websockets, and serve pages with scripts of other sites. This module is imported
when somebody asks for the document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart_schema import DataSource, Info, OpenAPIProvider, QuartSchema
from quart_schema.conversion import model_schema
from quart_schema.openapi import APIKeySecurityScheme, HttpSecurityScheme
from quart_schema.validation import QUART_SCHEMA_REQUEST_ATTRIBUTE

from trioworkers.described import JSON, description_of
from trioworkers.version import __version__
from trioworkers.web.admission import METRICS, OPEN, SIGN_IN, STATIC
from trioworkers.web.answers import Problem
from trioworkers.web.plugins import OWNERS
from trioworkers.web.sessions import COOKIE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from quart_trio import QuartTrio
    from werkzeug.routing.rules import Rule

    from trioworkers.described import Description

ABOUT = """The daemon of a fleet of Telegram bots: its state, and what can be done to it.

The control socket serves the same paths and asks for no token. The live stream is a websocket at `/api/live`.
Routes of other plugins than the built-in ones may answer what is not described here."""

OF_ALL = {
    403: "the request comes from a page of another site",
    421: "the API listens on a loopback address, and the request names another host",
}
OF_TOKEN = {
    401: "neither the API's token nor a session",
    429: "too many wrong tokens came from this address",
}
OF_BODY = {400: "the body is not as described", 413: "the body is too large"}
OF_QUERY = {400: "the query is not as described"}
OF_PLUGINS = "the plugin is not active"
PROBLEM = {"$ref": "#/components/schemas/Problem"}
SECURITY: list[dict[str, list[str]]] = [{"token": []}, {"session": []}]


def make_document(app: QuartTrio) -> dict[str, Any]:
    """The document of all routes that the application has now. Safe in a thread."""
    app.config.setdefault("QUART_SCHEMA_CONVERSION_PREFERENCE", "pydantic")
    app.config.setdefault("QUART_SCHEMA_CONVERT_CASING", False)
    schemes = {
        "token": HttpSecurityScheme(scheme="bearer"),
        "session": APIKeySecurityScheme(name=COOKIE, in_="cookie"),
    }
    info = Info(title="trioworkers", version=__version__, description=ABOUT)
    described = QuartSchema(info=info, security_schemes=dict(schemes), security=SECURITY)
    document = _Provider(app, described).schema()
    document["paths"] = dict(document["paths"])
    document["components"]["schemas"]["Problem"] = model_schema(Problem, schema_mode="serialization")
    return document


class _Provider(OpenAPIProvider):
    """quart-schema's, with our notes, and with the answers that it does not know of."""

    def generate_rules(self) -> Iterable[Rule]:
        """The rules, by their paths."""
        return sorted(super().generate_rules(), key=lambda rule: (rule.rule, sorted(rule.methods or ())))

    def operation_id(self, method: str, path: str, func: Callable[..., Any]) -> str:
        """A name made of method and path: functions of different modules share names."""
        words = path.replace("{", "").replace("}", "").replace("-", "_").replace(".", "_").split("/")
        return "_".join([method.lower(), *filter(None, words)])

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        """The operations of a rule, and the schemas that they name."""
        function = self._app.view_functions[rule.endpoint]
        note = description_of(function)
        if note is not None and note.body is not None:
            source = DataSource.JSON if note.body_media == JSON else DataSource.FORM
            setattr(function, QUART_SCHEMA_REQUEST_ATTRIBUTE, (note.body, source))
        paths, components = super().build_paths(rule)
        for operations in paths.values():
            for operation in operations.values():
                self._describe(operation, rule, note, components)
        return paths, components

    def _describe(
        self, operation: dict[str, Any], rule: Rule, note: Description | None, components: dict[str, Any]
    ) -> None:
        is_open = rule.rule in OPEN | SIGN_IN or rule.rule.startswith(STATIC)
        if is_open:
            operation["security"] = []
        elif rule.rule == METRICS:
            operation["security"] = [*SECURITY, {}]
        operation["parameters"] = list(operation["parameters"])
        refusals = dict(OF_ALL) if is_open else OF_ALL | OF_TOKEN
        if note is None:  # of a plugin that notes nothing
            operation["responses"] = {"default": {"description": "whatever the plugin answers"}}
            return
        operation["summary"] = note.summary
        operation.pop("description", None)
        if "requestBody" in operation:
            refusals |= OF_BODY
            schema = next(iter(operation["requestBody"]["content"].values()))["schema"]
            operation["requestBody"] = {**operation["requestBody"], "required": bool(schema.get("required"))}
        if note.query is not None:
            refusals |= OF_QUERY
            parameters, found = self.build_querystring_parameters(note.query)
            operation["parameters"] += [_without_null(parameter) for parameter in parameters]
            components.update(found)
        refusals |= note.refusals
        if rule.endpoint.rpartition(".")[0] in self._app.extensions.get(OWNERS, ()):
            refusals[404] = f"{note.refusals[404]}, or {OF_PLUGINS}" if 404 in note.refusals else OF_PLUGINS
        answers = {note.status: note.summary, **note.also}
        responses: dict[str, Any] = {}
        for status, words in sorted((refusals | answers).items()):
            responses[str(status)] = {"description": words}
            if status in answers:
                if note.answer is not None and not 300 <= status < 400:
                    responses[str(status)]["content"] = self._content(note, components)
            else:
                media = note.refusal_media if status in note.refusals else JSON
                schema = PROBLEM if media == JSON else {"type": "string"}
                responses[str(status)]["content"] = {media: {"schema": schema}}
        operation["responses"] = responses

    def _content(self, note: Description, components: dict[str, Any]) -> dict[str, Any]:
        if note.media != JSON:
            kinds = (note.media,) if isinstance(note.media, str) else note.media
            schema = {} if note.answer is bytes else {"schema": {"type": "string"}}
            return {kind: dict(schema) for kind in kinds}
        response, found = self.build_response_object(note.answer, None)
        components.update(found)
        content: dict[str, Any] = response["content"]
        return content


def _without_null(parameter: dict[str, Any]) -> dict[str, Any]:
    """A parameter of a query that is absent where its model has null: a query cannot hold null."""
    schema = {name: value for name, value in parameter["schema"].items() if value is not None}
    choices = [one for one in schema.pop("anyOf", []) if one != {"type": "null"}]
    return {**parameter, "schema": {**schema, **(choices[0] if len(choices) == 1 else {})}}
