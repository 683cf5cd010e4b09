"""ReAct whose model may ask for many tools in one step, which then run at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError, ContextWindowExceededError

from .run import Run, together

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    Step = dict[str, Any]  # thought, and calls: each with name, args, ok and observation

FINISH = "finish"
# Fields of ours, beside those of the signature.
RESERVED = ("trajectory", "tools", "next_thought", "tool_calls", "reasoning", "ended")

GUIDE = """You are an agent that answers with the help of tools. You see {inputs}, the tools, and the trajectory: \
what was thought, called and observed so far. Say in next_thought what is known and what is missing, and in tool_calls \
which tools to call now. The calls of one step run {how}, and none sees the result of another, so ask in one step for \
whatever can be asked already. When all is known that is needed for {outputs}, call {finish}, without arguments."""


class ParallelReAct(dspy.Module):
    """`dspy.ReAct`, but that a step is a list of tool calls (`dspy.ToolCalls`) which run at once, results in order.

    signature: text such as "question -> answer", or a `dspy.Signature`.
    tools: functions, plain or `async def`, or `dspy.Tool`s. Plain ones run in threads.
    max_iters: steps, at most; then the answer is made from what there is.
    parallel_tools: whether the tools of a step run at once, or one after the other.
    max_concurrency: how many of them at most.
    cached: names of tools of which equal calls run once within one call of the module.

    The prediction has the signature's outputs, `reasoning`, `trajectory`, a list of steps, and `ended`, why there were
    no more: "finish", "no_tool_calls", "max_iters", or "unreadable" when the model's answer could not be read.
    """

    def __init__(
        self,
        signature: Any,
        tools: Iterable[Callable[..., Any] | dspy.Tool],
        *,
        max_iters: int = 20,
        parallel_tools: bool = True,
        max_concurrency: int = 32,
        cached: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.signature = dspy.Signature(signature) if isinstance(signature, str) else signature
        self.tools = by_name(tools)
        self.max_iters = max_iters
        self.tools_at_once = max_concurrency if parallel_tools else 1
        self.max_concurrency = max_concurrency
        self.cached = cached
        refuse_reserved(self.signature)
        self.react = dspy.Predict(self.react_signature())
        self.extract = dspy.ChainOfThought(self.extract_signature())

    # ---- What the model is asked

    def react_signature(self) -> Any:
        signature = self.signature
        guide = GUIDE.format(
            inputs=names(signature.input_fields),
            outputs=names(signature.output_fields),
            finish=FINISH,
            how="at the same time" if self.tools_at_once > 1 else "one after the other",
        )
        fields = {
            **signature.input_fields,
            "tools": (list[dspy.Tool], dspy.InputField()),
            "trajectory": (str, dspy.InputField()),
            "next_thought": (str, dspy.OutputField()),
            "tool_calls": (dspy.ToolCalls, dspy.OutputField()),
        }
        return dspy.Signature(with_types(fields), f"{signature.instructions}\n\n{guide}".strip())

    def extract_signature(self) -> Any:
        signature = self.signature
        fields = {
            **signature.input_fields,
            "trajectory": (str, dspy.InputField()),
            **signature.output_fields,
        }
        return dspy.Signature(with_types(fields), signature.instructions)

    # ---- Answering

    def forward(self, **inputs: Any) -> Any:
        """On an event loop of its own, so not from within one."""
        return asyncio.run(self.aforward(**inputs))

    async def aforward(self, **inputs: Any) -> Any:
        run = inputs.pop("_run", None)
        if run is not None:  # whose maker ends it
            return await self.answer(run, inputs)
        async with self.new_run() as run:
            return await self.answer(run, inputs)

    def new_run(self) -> Run:
        """For several inputs at once: `await module.acall(_run=run, **inputs)` for each."""
        return Run(self.tools_at_once, self.max_concurrency, self.cached)

    async def answer(self, run: Run, inputs: dict[str, Any]) -> Any:
        steps: list[Step] = []
        ended = "max_iters"
        for _ in range(self.max_iters):
            try:
                asked = await self.ask(run, self.react, inputs | {"tools": list(self.tools.values())}, steps)
            except (AdapterParseError, ValueError):
                ended = "unreadable"
                break
            calls = asked.tool_calls.tool_calls if asked.tool_calls is not None else []
            wanted = [call for call in calls if call.name != FINISH]
            results = await together(self.perform(run, call.name, call.args or {}) for call in wanted)
            steps.append({"thought": asked.next_thought, "calls": results})
            if len(wanted) < len(calls) or not calls:
                ended = FINISH if calls else "no_tool_calls"
                break
        answered = await self.ask(run, self.extract, inputs, steps)
        return dspy.Prediction(trajectory=steps, ended=ended, **answered)

    async def ask(self, run: Run, predict: Any, inputs: dict[str, Any], steps: list[Step]) -> Any:
        """With the later half of the steps if the model cannot read them all, and so on."""
        first = 0
        while True:
            try:
                return await run.ask(predict, inputs | {"trajectory": text_of(steps, first)})
            except ContextWindowExceededError:
                if len(steps) - first <= 1:
                    raise
                first += (len(steps) - first + 1) // 2

    async def perform(self, run: Run, name: str, args: dict[str, Any]) -> dict[str, Any]:
        """One call of a tool, whose failure is for the model to see. What ends the whole call is not."""
        try:
            if name not in self.tools:
                raise LookupError(f"there is no tool named {name!r}, only {', '.join(self.tools)}")
            ok, observation = True, await run.observe(self.tools[name], args)
        except (Exception, SystemExit) as error:
            ok, observation = False, f"{type(error).__name__}: {error}"
        return {"name": name, "args": args, "ok": ok, "observation": observation}


def by_name(tools: Iterable[Callable[..., Any] | dspy.Tool]) -> dict[str, dspy.Tool]:
    found: dict[str, dspy.Tool] = {}
    for given in tools:
        tool = given if isinstance(given, dspy.Tool) else dspy.Tool(given)
        if tool.name == FINISH:
            raise ValueError(f"a tool cannot be named {FINISH!r}: that is how the model says that it has finished")
        if tool.name in found:
            raise ValueError(f"two tools are named {tool.name!r}")
        found[tool.name] = tool
    finish = dspy.Tool(lambda: None, name=FINISH, desc="Says that all is known that the answer needs.", args={})
    return found | {FINISH: finish}


def refuse_reserved(signature: Any) -> None:
    taken = [name for name in RESERVED if name in signature.fields]
    if taken:
        raise ValueError(f"a signature cannot have a field named {', '.join(taken)}: ReAct has one of its own")


def with_types(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: field if isinstance(field, tuple) else (field.annotation, field) for name, field in fields.items()}


def names(fields: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in fields)


def text_of(steps: list[Step], first: int = 0) -> str:
    """As the model reads it, from step `first` on."""
    lines = ["(earlier steps are left out)"] if first > 0 else []
    for number, step in enumerate(steps[first:], first + 1):
        lines.append(f"Step {number}: {step['thought']}")
        for call in step["calls"]:
            came = "gave" if call["ok"] else "failed"
            lines.append(
                f"- {call['name']}({json.dumps(call['args'], ensure_ascii=False)}) {came}: {call['observation']}"
            )
    return "\n".join(lines)
