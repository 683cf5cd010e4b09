"""The Python side of this example: DSPy, and a model that needs no network, for it knows what it will be asked."""

import asyncio
import json
import threading

import dspy
import pitcrew.adapters.dspy  # noqa: F401 # has the tool react_optimized
from dspy.utils import DummyLM
from pitcrew import on_worker_start, tool

CITIES = {"Oslo": "Take a coat, and the museums.", "Rome": "Take the evening for it.", "Cork": "Stay for the music."}


def step(thought, *calls):
    calls = [{"name": name, "args": args} for name, args in calls]
    return {"next_thought": thought, "tool_calls": json.dumps({"tool_calls": calls})}


def script(city):
    """By what is in the prompt: the first line that fits, so the latest step stands first."""
    return {
        f"Step 2: That is enough about {city}": {"reasoning": "All three have answered.", "answer": CITIES[city]},
        f"Step 1: For {city}": step(f"That is enough about {city}.", ("finish", {})),
        f"a day in {city}": step(
            f"For {city} I need the weather, what is on, and where to sleep.",
            ("weather", {"city": city}),
            ("events", {"city": city}),
            ("hotels", {"city": city, "most": 120}),
        ),
    }


class Model(DummyLM):
    """Takes a moment for each answer, as a model does, and counts how many it is asked for at once."""

    def __init__(self):
        super().__init__({line: says for city in CITIES for line, says in script(city).items()})
        self.lock = threading.Lock()
        self.now = self.most = 0

    def count(self, change):
        with self.lock:
            self.now += change
            self.most = max(self.most, self.now)

    async def aforward(self, prompt=None, messages=None, **kwargs):
        self.count(1)
        try:
            await asyncio.sleep(0.1)
            return await super().aforward(prompt, messages, **kwargs)
        finally:
            self.count(-1)


model = Model()


@on_worker_start
def configure():
    dspy.configure(lm=model)


@tool
def most_model_calls():
    """At once, since the last time that somebody asked."""
    most, model.most = model.most, 0
    return most
