"""Tools as callers give them, made into `dspy.Tool`s."""

from __future__ import annotations

import json
from typing import Any

import dspy
import jsonschema

import pitcrew

from ... import registry
from ...manifest import kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = ("name", "func", "tool_id", "doc", "schema", "idempotent")
ANYTHING: dict[str, Any] = {"type": "object"}


async def tools_of(given: object) -> tuple[list[dspy.Tool], set[str]]:
    """The tools, and the names of those that are idempotent."""
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"tools must be a list, not {given!r}")
    specs = [spec_of(one) for one in given]
    known = await tools_of_the_vm() if any(may_be_of_the_vm(spec) for spec in specs) else {}
    found = [tool_of(spec, known) for spec in specs]
    return [tool for tool, _ in found], {tool.name for tool, idempotent in found if idempotent}


def tool_of(spec: dict[str, Any], known: dict[str, Any]) -> tuple[dspy.Tool, bool]:
    """A registered function, one that is given, or a tool of the pool's: what comes first."""
    if "tool_id" in spec:
        return of_registered(spec, spec["tool_id"], known)
    if "func" in spec:
        return of_function(spec)
    if spec["name"] in registry.tools:
        return of_python(spec, registry.tools[spec["name"]])
    if spec["name"] in known:
        return of_registered(spec, spec["name"], known)
    raise LookupError(f"tool {spec['name']}: no func is given, and there is no tool of that name in the pool or the VM")


def may_be_of_the_vm(spec: dict[str, Any]) -> bool:
    return "tool_id" in spec or ("func" not in spec and spec["name"] not in registry.tools)


async def tools_of_the_vm() -> dict[str, Any]:
    """Those that the VM tells of, by name; none outside of a call."""
    try:
        return {tool["name"]: tool for tool in await pitcrew.elixir.tools()}
    except pitcrew.ElixirError:
        return {}


def spec_of(given: object) -> dict[str, Any]:
    """A name alone stands for a tool of the pool or of the VM."""
    if isinstance(given, str):
        return {"name": str(given)}
    if not isinstance(given, dict):
        raise TypeError(f"a tool is a map, or the name of a tool, not {given!r}")
    spec = {str(key): value for key, value in given.items()}
    unknown = [key for key in spec if key not in KEYS]
    if unknown:
        raise ValueError(f"a tool has no {', '.join(unknown)}, only {', '.join(KEYS)}")
    name = spec.get("name")
    if not isinstance(name, str) or name == "":
        raise ValueError(f"a tool needs a name: {given!r}")
    return spec | {"name": str(name)}


def of_function(spec: dict[str, Any]) -> tuple[dspy.Tool, bool]:
    """A function of the VM, which is called with one argument, the map of what the model has given."""
    name, function, schema = spec["name"], spec["func"], plain(spec)
    if not callable(function):
        raise TypeError(f"tool {name}: func must be a function, not {function!r}")
    check = checker(name, schema)

    def call(**args: Any) -> Any:
        check(args)
        return function(args)

    return with_schema(call, name, spec.get("doc"), schema), bool(spec.get("idempotent", False))


def of_registered(spec: dict[str, Any], tool_id: object, known: dict[str, Any]) -> tuple[dspy.Tool, bool]:
    """A tool of the VM's, called with what the model has given by name. What is not said of it here the VM says."""
    if not isinstance(tool_id, str):
        raise TypeError(f"tool {spec['name']}: tool_id must be text, not {tool_id!r}")
    spec = {key: value for key, value in known.get(tool_id, {}).items() if value is not None} | spec
    name, schema = spec["name"], plain(spec)
    check = checker(name, schema)
    function = pitcrew.elixir[tool_id]  # here, where it is known which call it is for

    def call(**args: Any) -> Any:
        check(args)
        return function(**args)

    return with_schema(call, name, spec.get("doc"), schema), bool(spec.get("idempotent", False))


def of_python(spec: dict[str, Any], found: registry.Tool) -> tuple[dspy.Tool, bool]:
    """A tool of the pool's, by its name. Its annotations say what it takes."""
    name = spec["name"]
    if "schema" in spec:
        raise ValueError(f"tool {name}: what a tool of the pool takes is said by its annotations, not by a schema")
    if kind(found.function) not in ("function", "coroutine"):
        raise ValueError(f"tool {name}: a generator cannot be called by a model")
    try:
        tool = dspy.Tool(found.function, name=name, desc=spec.get("doc"))
    except Exception as error:
        raise ValueError(f"tool {name}: DSPy cannot read its annotations: {error}") from error
    return tool, bool(spec.get("idempotent", found.idempotent))


# ---- Schemas


def plain(spec: dict[str, Any]) -> dict[str, Any]:
    """The schema as JSON would have it: atoms are text."""
    given = spec.get("schema")
    if given is None:
        return ANYTHING
    try:
        schema = json.loads(json.dumps(given))
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except (TypeError, ValueError, jsonschema.SchemaError) as error:
        raise ValueError(f"tool {spec['name']}: this is no JSON schema: {short(error)}") from None
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise ValueError(f"tool {spec['name']}: its schema must be of an object, whose properties are the arguments")
    return {str(key): value for key, value in schema.items()}


def checker(name: str, schema: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    validator = jsonschema.validators.validator_for(schema)(schema)

    def check(args: dict[str, Any]) -> None:
        for error in validator.iter_errors(args):
            where = f"{name}, {error.json_path}" if error.path else name
            raise ValueError(f"{where}: {error.message}")

    return check


def short(error: Exception) -> str:
    return str(getattr(error, "message", error))


def with_schema(call: Callable[..., Any], name: str, doc: str | None, schema: dict[str, Any]) -> dspy.Tool:
    """`dspy.Tool` shows the model its arguments one by one, each with a schema."""
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    properties = {key: shared | value for key, value in schema.get("properties", {}).items() if isinstance(value, dict)}
    return dspy.Tool(call, name=name, desc=doc or "", args=properties, arg_types={})
