"""pitcrew.adapters.dspy without a pool: the module, its steps, and results that serve again."""

import asyncio
import threading

import pytest
from agents import DONE, FINISH, SECONDS, Counter, ask, dspy, look, observed, step
from dspy.utils import DummyLM
from pitcrew.adapters.dspy import ParallelReAct

# ---- Steps


THREE = [step(("square", {"n": 1}), ("square", {"n": 2}), ("square", {"n": 3})), FINISH, DONE]


def test_the_tools_of_a_step_run_at_once_and_their_results_are_in_order():
    counter = Counter(together=3)
    prediction = ask(THREE, [counter.square])
    assert counter.most == 3
    assert prediction.answer == "42" and prediction.ended == "finish"
    assert observed(prediction) == [(True, "1"), (True, "4"), (True, "9")]


def test_or_one_after_the_other_with_the_same_answer():
    counter, at_once = Counter(), Counter(together=3)
    prediction = ask(THREE, [counter.square], parallel_tools=False)
    assert counter.most == 1
    assert prediction.toDict() == ask(THREE, [at_once.square]).toDict()


def test_no_more_than_so_many_run():
    counter = Counter(together=2)
    four = [step(*(("square", {"n": n}) for n in range(4))), FINISH, DONE]
    ask(four, [counter.square], max_concurrency=2)
    assert counter.most == 2


def test_coroutines_run_on_the_loop():
    async def run():
        barrier = asyncio.Barrier(2)

        async def meet(name: str) -> str:
            await barrier.wait()
            return f"{name} in {threading.current_thread().name}"

        class Meets:
            async def __call__(self, name: str) -> str:
                return await meet(name)

        module = ParallelReAct("question -> answer", [meet, dspy.Tool(Meets(), name="meets")])
        return await asyncio.wait_for(module.acall(question="?"), SECONDS)

    with dspy.context(lm=DummyLM([step(("meet", {"name": "a"}), ("meets", {"name": "b"})), FINISH, DONE])):
        assert observed(asyncio.run(run())) == [(True, "a in MainThread"), (True, "b in MainThread")]


def test_results_of_every_sort_are_told_as_text():
    values = ["é", 1.5, None, [1, {"a": "ß"}], {"at": 3j}, {(1, 2): 3}, {1, 2}]
    give = iter(values)

    def next_one():
        return next(give)

    prediction = ask([step(*[("next_one", {})] * len(values)), FINISH, DONE], [next_one], parallel_tools=False)
    assert [text for _, text in observed(prediction)] == [
        *["é", "1.5", "null", '[1, {"a": "ß"}]', '{"at": "3j"}', "{(1, 2): 3}"],
        '"{1, 2}"',
    ]


def test_what_is_called_beside_finish_is_run_and_counts():
    prediction = ask([step(("look", {"query": "a"}), ("finish", {})), DONE], [look])
    assert prediction.ended == "finish" and observed(prediction) == [(True, "found a")]


def test_a_step_without_calls_is_the_last():
    prediction = ask([step(("look", {"query": "a"})), step(), DONE], [look])
    assert prediction.ended == "no_tool_calls" and len(prediction.trajectory) == 2


def test_the_model_sees_what_was_observed_before():
    model = DummyLM([step(("look", {"query": "a"}), ("nope", {})), FINISH, DONE])
    ask(model, [look])
    assert 'look({"query": "a"}) gave: found a' in model.history[1]["messages"][-1]["content"]
    assert "nope({}) failed: LookupError" in model.history[2]["messages"][-1]["content"]


def test_it_can_be_called_without_a_loop_and_found_by_optimizers():
    module = ParallelReAct("question -> answer", [look])
    with dspy.context(lm=DummyLM([FINISH, DONE])):
        assert module(question="?").answer == "42"
    assert [name for name, _ in module.named_predictors()] == ["react", "extract.predict"]
    with dspy.context(lm=DummyLM([FINISH, DONE])):
        assert module.deepcopy()(question="?").answer == "42"


# ---- Results that serve again


@pytest.mark.parametrize("cached", [["square"], []])
def test_equal_calls_of_a_cached_tool_run_once(cached):
    counter = Counter()
    wanted = [("square", {"n": 1}), ("square", {"n": 1}), ("square", {"n": 1.0}), ("square", {"n": 2})]
    prediction = ask([step(*wanted), step(wanted[0]), FINISH, DONE], [counter.square], cached=cached)
    assert counter.all == (3 if cached else 5)
    assert [text for _, text in observed(prediction)][:2] == ["1", "1"]
    assert observed(prediction, 1) == [(True, "1")]


def test_equal_calls_have_the_same_arguments_by_name():
    ran = []

    def add(a: int, b: int) -> int:
        ran.append((a, b))
        return a + b

    wanted = [("add", {"a": 1, "b": 2}), ("add", {"b": 2, "a": 1}), ("add", {"a": 2, "b": 1})]
    ask([step(*wanted), FINISH, DONE], [add], cached=["add"])
    assert sorted(ran) == [(1, 2), (2, 1)]


def test_errors_are_not_kept():
    tries = []

    def flaky() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("not yet")
        return "now"

    prediction = ask([*[step(("flaky", {}))] * 3, FINISH, DONE], [flaky], cached=["flaky"])
    texts = [observed(prediction, n) for n in range(3)]
    assert texts == [[(False, "OSError: not yet")], [(True, "now")], [(True, "now")]]
    assert len(tries) == 2
