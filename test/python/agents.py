"""What the tests of pitcrew.adapters.dspy share: a model's answers, tools, and what is looked at.

Where there is no DSPy importing it skips them, so they import it before anything of DSPy's.
"""

import asyncio
import sys
import threading
import time

import pytest

if not (3, 10) <= sys.version_info < (3, 16):
    pytest.skip("There is no DSPy for this version of Python", allow_module_level=True)

import dspy
from dspy.utils import DummyLM
from pitcrew.adapters.dspy import ParallelReAct

SECONDS = 30
DONE = {"reasoning": "seen", "answer": "42"}


def step(*wanted, thought="hm"):
    return {"next_thought": thought, "tool_calls": {"tool_calls": [{"name": n, "args": a} for n, a in wanted]}}


FINISH = step(("finish", {}))


def ask(model, tools, question="what?", **options):
    """The prediction, and nothing is left that ran."""

    async def run():
        module = ParallelReAct("question -> answer", tools, **options)
        return await asyncio.wait_for(module.acall(question=question), SECONDS)

    model = DummyLM(model) if isinstance(model, list) else model
    with dspy.context(lm=model):
        prediction = asyncio.run(run())
    join_helpers()
    return prediction


def join_helpers():
    """A thread whose result has been told ends in a moment."""
    for thread in threading.enumerate():
        if thread.name == "pitcrew-react":
            thread.join(SECONDS)
            assert not thread.is_alive()


def observed(prediction, number=0):
    return [(call["ok"], call["observation"]) for call in prediction.trajectory[number]["calls"]]


class Counter:
    """Tools that count how many of them run; where they are to run at once, each waits for the others."""

    def __init__(self, together=1):
        self.barrier = threading.Barrier(together, timeout=SECONDS)
        self.lock = threading.Lock()
        self.now = self.most = self.all = 0

    def square(self, n: int) -> int:
        with self.lock:
            self.now += 1
            self.all += 1
            self.most = max(self.most, self.now)
        self.barrier.wait()
        time.sleep(0.02)  # so that others could come, if they may
        with self.lock:
            self.now -= 1
        return n * n


def look(query: str) -> str:
    """Looks up."""
    return f"found {query}"


class Sees(dspy.utils.BaseCallback):
    def __init__(self, seen):
        self.seen = seen

    def on_lm_start(self, call_id, instance, inputs):
        self.seen.append(inputs["messages"][-1]["content"])
