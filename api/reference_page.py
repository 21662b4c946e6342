"""/docs: the OpenAPI document as one page that needs no script and nobody else's server.

A payment platform's own origin runs no third-party code. Any OpenAPI viewer can be pointed at /openapi.json instead.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse

Json = Mapping[str, Any]

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 15px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
details { border: 1px solid #8885; border-radius: 6px; margin: .5rem 0; padding: .5rem .9rem; }
summary { cursor: pointer; } code, pre { font: 13px/1.5 ui-monospace, monospace; }
pre { background: #8881; border-radius: 6px; padding: .7rem; overflow: auto; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .25rem .6rem .25rem 0; }
tr { border-bottom: 1px solid #8883; vertical-align: top; } .get { color: #2a7; } .post { color: #57d; }
.verb { display: inline-block; min-width: 3.2rem; font-weight: 700; } h2 { margin-top: 2.2rem; }
"""


def page(document: Json) -> str:
    """The whole page."""
    info = document["info"]
    by_tag: dict[str, list[str]] = defaultdict(list)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag[operation["tags"][-1]].append(_operation(document, method, path, operation))
    sections = "".join(f"<h2>{escape(tag.capitalize())}</h2>{''.join(found)}" for tag, found in by_tag.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])} API</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} API {escape(info['version'])}</h1>"
        f"<p>{escape(info['summary'])}</p>{_description(info['description'])}"
        f'<p>The document behind this page: <a href="openapi.json"><code>/openapi.json</code></a></p>{sections}</html>'
    )


def _description(markdown: str) -> str:
    items = [line.removeprefix("- ") for line in markdown.strip().splitlines() if line.startswith("- ")]
    return f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>"


def _inline(text: str) -> str:
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if odd % 2 else part for odd, part in enumerate(parts))


def _operation(document: Json, method: str, path: str, operation: Json) -> str:
    return (
        f'<details><summary><span class="verb {method}">{method.upper()}</span> <code>{escape(path)}</code> '
        f"{escape(operation['summary'])}</summary><p>{_inline(operation.get('description', ''))}</p>"
        f"{_parameters(operation)}{_body(document, operation)}{_answers(operation)}</details>"
    )


def _parameters(operation: Json) -> str:
    rows = [
        (found["name"], f"{found['in']}, {_kind(found['schema'])}", found.get("description", ""))
        for found in operation.get("parameters", [])
    ]
    return _table(("parameter", "is", ""), rows)


def _body(document: Json, operation: Json) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        return ""
    model = _resolve(document, content["application/json"]["schema"])
    wanted = model.get("required", [])
    rows = [
        (name, _kind(field) + ("" if name in wanted else ", optional"), _words(field))
        for name, field in model["properties"].items()
    ]
    example = orjson.dumps(model.get("example", {}), option=orjson.OPT_INDENT_2).decode()
    return f"{_table(('body', 'is', ''), rows)}<pre>{escape(example)}</pre>"


def _answers(operation: Json) -> str:
    rows = [(status, answer["description"], "") for status, answer in operation["responses"].items()]
    return _table(("answer", "says", ""), rows)


def _choices(schema: Json) -> Iterator[Json]:
    yield schema
    for choice in schema.get("anyOf", []):
        if choice.get("type") != "null":
            yield choice


def _resolve(document: Json, schema: Json) -> Json:
    for choice in _choices(schema):
        if "$ref" in choice:
            found: Json = document["components"]["schemas"][choice["$ref"].rpartition("/")[2]]
            return found
    return schema


def _kind(schema: Json) -> str:
    for choice in _choices(schema):
        if "type" in choice:
            limits = [f"{name} {choice[name]:,.0f}" for name in ("minimum", "maximum", "maxLength") if name in choice]
            return ", ".join([choice["type"], *limits])
        if "$ref" in choice:
            return str(choice["$ref"].rpartition("/")[2])
    return "any"


def _words(schema: Json) -> str:
    return next((choice["description"] for choice in _choices(schema) if "description" in choice), "")


def _table(head: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{_inline(kind)}</td><td>{_inline(words)}</td></tr>"
        for name, kind, words in rows
    )
    return f"<table><tr>{''.join(f'<th>{escape(title)}</th>' for title in head)}</tr>{lines}</table>"


def install(app: FastAPI) -> None:
    """Serve the page at /docs, made when it is first asked for."""
    made: list[str] = []

    async def docs(_request: Request) -> HTMLResponse:
        if not made:
            made.append(page(app.openapi()))
        return HTMLResponse(made[0])

    app.add_route("/docs", docs, include_in_schema=False)
