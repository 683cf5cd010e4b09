"""pitcrew.adapters.dspy without a pool: what `react_optimized` makes of what it is given."""

import asyncio
import importlib
import sys

import pytest
from agents import DONE, FINISH, Sees, dspy, look, step
from dspy.utils import DummyLM
from pitcrew import registry, tool
from pitcrew.adapters.dspy import react_optimized
from pitcrew.adapters.dspy.given import tools_of


def optimized(tools=(), input=None, config=None, model=(FINISH, DONE), signature="question -> answer"):
    input = {"question": "?"} if input is None else input
    with dspy.context(lm=DummyLM(list(model)) if isinstance(model, tuple) else model):
        return asyncio.run(react_optimized(signature, list(tools), input, config))


SCHEMA = {"type": "object", "properties": {"query": {"type": "string", "minLength": 1}}, "required": ["query"]}


def test_functions_get_a_map_that_fits_their_schema():
    given = []
    wanted = [
        ("f", {"query": "a"}),
        ("f", {"query": ""}),
        ("f", {}),
        ("f", {"query": 1}),
        ("any", {"x": 1}),
        ("any", {}),
    ]
    tools = [
        {"name": "f", "doc": "Finds.", "schema": SCHEMA, "func": lambda args: given.append(args) or "found"},
        {"name": "any", "func": lambda args: args},
    ]
    result = optimized(tools, model=(step(*wanted), FINISH, DONE))
    assert result["outputs"] == {"answer": "42"} and result["ended"] == "finish" and result["reasoning"] == "seen"
    texts = [(call["ok"], call["observation"]) for call in result["trajectory"][0]["calls"]]
    assert texts == [
        (True, "found"),
        (False, "ValueError: Arg query is invalid: '' should be non-empty"),
        (False, "ValueError: f: 'query' is a required property"),
        (False, "ValueError: Arg query is invalid: 1 is not of type 'string'"),
        (True, '{"x": 1}'),
        (True, "{}"),
    ]
    assert given == [{"query": "a"}]


def test_the_model_is_told_what_functions_take():
    model = DummyLM([FINISH, DONE])
    schema = {"properties": {"at": {"$ref": "#/$defs/place"}}, "$defs": {"place": {"type": "string"}}}
    seen = []
    model.callbacks.append(Sees(seen))
    optimized([{"name": "f", "doc": "Finds.", "schema": SCHEMA | schema, "func": len}], model=model)
    assert "Finds." in seen[0] and "'$ref': '#/$defs/place'" in seen[0] and "'place': {'type': 'string'}" in seen[0]


def test_idempotent_functions_run_once_for_all_inputs_if_wanted():
    for config, times in (({}, 1), ({"cache_tool_results": False}, 2)):
        ran = []
        tools = [{"name": "f", "idempotent": True, "func": lambda args, ran=ran: ran.append(1)}]
        model = DummyLM({"Step 2": DONE, "Step 1": FINISH, "?": step(("f", {}))})
        results = optimized(tools, [{"question": "a?"}, {"question": "b?"}], config, model)
        assert [result["outputs"] for result in results] == [{"answer": "42"}] * 2
        assert len(ran) == times


class Meets(DummyLM):
    """Model calls that wait for each other, so many at a time, and are counted."""

    def __init__(self, answers, together):
        super().__init__(answers)
        self.together, self.barrier = together, None
        self.now = self.most = 0

    async def aforward(self, prompt=None, messages=None, **kwargs):
        self.barrier = self.barrier or asyncio.Barrier(self.together)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.barrier.wait()
            await asyncio.sleep(0.02)  # so that others could come, if they may
            return await super().aforward(prompt, messages, **kwargs)
        finally:
            self.now -= 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_model_is_asked_for_all_inputs_at_once_or_for_one_after_the_other():
    answers = {f"Step 2: {name}": {"reasoning": "r", "answer": name} for name in "abc"}
    answers |= {f"Step 1: {name}": step(("finish", {}), thought=name) for name in "abc"}
    answers |= {f"{name}?": step(("look", {"query": name}), thought=name) for name in "abc"}
    inputs = [{"question": f"{name}?"} for name in "abc"]
    tools = [{"name": "look", "func": lambda args: look(**args)}]
    at_once, alone = Meets(answers, 3), Meets(answers, 1)
    results = optimized(tools, inputs, {"batch_llm_calls": True}, at_once)
    assert results == optimized(tools, inputs, {"batch_llm_calls": False}, alone)
    assert (at_once.most, alone.most) == (3, 1)
    assert [result["outputs"]["answer"] for result in results] == ["a", "b", "c"]


@pytest.mark.parametrize("batch", [True, False])
def test_an_input_that_fails_spoils_no_other(batch):
    model = DummyLM({"Step 1": DONE, "good": FINISH})
    inputs = [{"question": question} for question in ("good", "bad", "good")]
    results = optimized([], inputs, {"batch_llm_calls": batch}, model)
    assert [result.get("outputs") for result in results] == [{"answer": "42"}, None, {"answer": "42"}]
    assert results[1]["error"]["type"] == "AdapterParseError"
    assert optimized([], [], None) == []


def test_dspy_keeps_nothing_of_it():
    from dspy.clients import base_lm

    before = len(base_lm.GLOBAL_HISTORY), len(dspy.settings.trace)
    model = DummyLM([FINISH, DONE])
    optimized(model=model)
    assert (len(base_lm.GLOBAL_HISTORY), len(dspy.settings.trace), len(model.history)) == (*before, 0)


@pytest.fixture
def pool(monkeypatch):
    """Tools of a pool, and how often one of them has run."""
    monkeypatch.setattr(registry, "tools", {})
    ran = []

    @tool(idempotent=True)
    async def count(n: int) -> int:
        """Counts."""
        ran.append(n)
        return n

    @tool
    def chunks():
        yield 1

    @tool
    def odd(n: "no such type") -> int:  # noqa: F722
        return 1

    return ran


@pytest.mark.parametrize(
    ("given", "times"), [("count", 1), ({"name": "count"}, 1), ({"name": "count", "idempotent": False}, 2)]
)
def test_a_tool_of_the_pool_by_its_name(pool, given, times):
    seen = []
    model = DummyLM([step(("count", {"n": 1}), ("count", {"n": 1}), ("count", {"n": "x"})), FINISH, DONE])
    model.callbacks.append(Sees(seen))
    result = optimized([given], model=model)
    assert [call["ok"] for call in result["trajectory"][0]["calls"]] == [True, True, False]
    assert pool == [1] * times
    assert "Counts." in seen[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("chunks", "a generator cannot be called by a model"),
        ("odd", "tool odd: DSPy cannot read its annotations"),
        ({"name": "count", "schema": {}}, "said by its annotations, not by a schema"),
    ],
)
def test_tools_of_the_pool_that_a_model_cannot_call(pool, given, message):
    with pytest.raises(ValueError, match=message):
        optimized([given])


FUNCTION = {"name": "f", "func": len}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tools": [7]}, "a tool is a map"),
        ({"tools": [{"func": len}]}, "a tool needs a name"),
        ({"tools": ["no_such_tool"]}, "there is no tool of that name"),
        ({"tools": [FUNCTION | {"func": 7}]}, "func must be a function, not 7"),
        ({"tools": [{"name": "f", "tool_id": 7}]}, "tool_id must be text, not 7"),
        ({"tools": [FUNCTION | {"dok": ""}]}, "a tool has no dok, only name, func"),
        ({"tools": [FUNCTION, FUNCTION]}, "two tools are named 'f'"),
        ({"tools": [FUNCTION | {"name": "finish"}]}, "a tool cannot be named 'finish'"),
        ({"tools": [FUNCTION | {"schema": {"type": "thing"}}]}, "tool f: this is no JSON schema: 'thing' is not valid"),
        ({"tools": [FUNCTION | {"schema": {"type": "array"}}]}, "its schema must be of an object"),
        ({"tools": [FUNCTION | {"schema": {"x": 3j}}]}, "this is no JSON schema"),
        ({"tools": [FUNCTION | {"schema": 7}]}, "this is no JSON schema"),
        ({"config": 7}, "config must be a map"),
        ({"config": {"paralell_tools": True}}, "config has no paralell_tools, only parallel_tools"),
        ({"config": {"parallel_tools": 1}}, "parallel_tools must be true or false, not 1"),
        ({"config": {"max_iters": 0}}, "max_iters must be a positive integer, not 0"),
        ({"config": {"max_concurrency": True}}, "max_concurrency must be a positive integer"),
        ({"config": {"instructions": 7}}, "instructions must be text"),
        ({"config": {"lm": 7}}, "lm must be the name of a model"),
        ({"config": {"lm": {"temperature": 1}}}, "lm must be the name of a model, or a map"),
        ({"input": "q"}, "an input is a map"),
        ({"input": {}}, "an input lacks question"),
        ({"input": [{"question": 1, "extra": 2}]}, "an input has extra, which the signature has not"),
        ({"signature": "question -> tools, answer"}, "cannot have a field named tools"),
        ({"signature": "no arrow"}, "signature"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises((ValueError, TypeError, LookupError), match=message):
        optimized(**given)


def test_without_a_model():
    with pytest.raises(ValueError, match="there is no language model"), dspy.context(lm=None):
        asyncio.run(react_optimized("question -> answer", [], {"question": "?"}))


def test_without_dspy(monkeypatch):
    monkeypatch.setitem(sys.modules, "dspy", None)
    monkeypatch.delitem(sys.modules, "pitcrew.adapters.dspy")
    with pytest.raises(ModuleNotFoundError, match="needs the package dspy"):
        importlib.import_module("pitcrew.adapters.dspy")


def test_tools_must_be_a_list():
    with pytest.raises(TypeError, match="tools must be a list"):
        asyncio.run(tools_of({"name": "f"}))


def test_instructions_reach_the_model():
    seen = []
    model = DummyLM([FINISH, DONE])

    class System(dspy.utils.BaseCallback):
        def on_lm_start(self, call_id, instance, inputs):
            seen.append(inputs["messages"][0]["content"])

    model.callbacks.append(System())
    optimized(model=model, config={"instructions": "Answer in Latin."})
    assert all("Answer in Latin." in text for text in seen) and len(seen) == 2
