"""DSPy in a pool: the tool `react_optimized`, and the module behind it for programs in Python.

    {Pitcrew.Pool, name: MyApp.Agents, tools: ["pitcrew.adapters.dspy"], concurrency: 8}

Needs the package dspy; docs/dspy.md names the version that it was tested with.
"""

from __future__ import annotations

from typing import Any

try:
    import dspy
except ModuleNotFoundError as error:
    if error.name != "dspy":
        raise
    raise ModuleNotFoundError("pitcrew.adapters.dspy needs the package dspy: pip install dspy", name="dspy") from None

from ... import tool
from .config import Config, inputs_of
from .given import tools_of
from .react import ParallelReAct
from .run import together

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .run import Run

__all__ = ["ParallelReAct", "react_optimized"]


@tool
async def react_optimized(signature: str, tools: list[Any], input: Any, config: dict[str, Any] | None = None) -> Any:
    """Answers with the help of tools, as ReAct does; the tools of one step run at once.

    signature: "question -> answer".
    tools: maps with `name`, `func` or `tool_id`, `doc`, `schema`, `idempotent`; or names, of the pool or the VM.
    input: a map with the signature's inputs, or a list of them.
    config: parallel_tools, cache_tool_results, batch_llm_calls, max_iters, max_concurrency, instructions, lm.

    Returns a map with `outputs`, `reasoning`, `trajectory` and `ended`; of a list of inputs a list, in which one that
    has failed is a map with `error`.
    """
    settings = Config.of(config)
    shape = dspy.Signature(str(signature), settings.instructions)
    given, idempotent = await tools_of(tools)
    inputs = inputs_of(input, shape)
    module = ParallelReAct(
        shape,
        given,
        max_iters=settings.max_iters,
        parallel_tools=settings.parallel_tools,
        max_concurrency=settings.max_concurrency,
        cached=idempotent if settings.cache_tool_results else (),
    )
    # A worker lives long: DSPy would keep the last 10,000 prompts.
    with dspy.context(lm=settings.model(), disable_history=True, trace=None):
        async with module.new_run() as run:
            if isinstance(inputs, dict):
                return await answer(module, run, inputs)
            if settings.batch_llm_calls:
                return await together(outcome(module, run, one) for one in inputs)
            return [await outcome(module, run, one) for one in inputs]


async def answer(module: ParallelReAct, run: Run, inputs: dict[str, Any]) -> dict[str, Any]:
    prediction = await module.acall(_run=run, **inputs)
    return {
        "outputs": {name: prediction[name] for name in module.signature.output_fields},
        "reasoning": prediction.reasoning,
        "trajectory": prediction.trajectory,
        "ended": prediction.ended,
    }


async def outcome(module: ParallelReAct, run: Run, inputs: dict[str, Any]) -> dict[str, Any]:
    """One input that fails spoils no other."""
    try:
        return await answer(module, run, inputs)
    except Exception as error:
        return {"error": {"type": type(error).__name__, "message": str(error)}}
