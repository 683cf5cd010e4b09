"""pitcrew.adapters.dspy without a pool: what goes wrong with tools and models, and calls that are cancelled."""

import asyncio
import threading
import time

import pytest
from agents import DONE, FINISH, SECONDS, ask, dspy, join_helpers, look, observed, step
from dspy import lm15
from dspy.utils import DummyLM
from dspy.utils.exceptions import AdapterParseError, ContextWindowExceededError, LMUnsupportedFeatureError
from pitcrew import Cancelled
from pitcrew.adapters.dspy import ParallelReAct
from pitcrew.adapters.dspy.run import Run
from pitcrew.adapters.dspy.threads import Threads

# ---- What goes wrong


def test_what_a_tool_raises_is_told_to_the_model():
    def fails(how: str):
        raise {"value": ValueError("no such"), "exit": SystemExit(3), "stop": StopIteration()}[how]

    async def fails_later():
        raise OSError("late")

    wanted = [("fails", {"how": how}) for how in ("value", "exit", "stop")]
    prediction = ask(
        [step(*wanted, ("fails_later", {}), ("look", {"query": "a"})), FINISH, DONE], [fails, fails_later, look]
    )
    texts = observed(prediction)
    assert texts[0] == (False, "ValueError: no such")
    assert texts[1] == (False, "SystemExit: 3")
    assert texts[2][0] is False and "StopIteration" in texts[2][1]
    assert texts[3:] == [(False, "OSError: late"), (True, "found a")]
    assert prediction.answer == "42"


def test_an_unknown_tool_and_wrong_arguments_are_told_to_the_model():
    wrong = [("nope", {}), ("look", {"query": 1}), ("look", {"q": "a"}), ("look", {})]
    texts = observed(ask([step(*wrong), FINISH, DONE], [look]))
    assert texts[0] == (False, "LookupError: there is no tool named 'nope', only look, finish")
    assert texts[1] == (False, "ValueError: Arg query is invalid: 1 is not of type 'string'")
    assert texts[2] == (False, "ValueError: Arg q is not in the tool's args.")
    assert texts[3][0] is False and "query" in texts[3][1]


def test_steps_come_to_an_end():
    prediction = ask([step(("look", {"query": str(n)})) for n in range(2)] + [DONE], [look], max_iters=2)
    assert prediction.ended == "max_iters" and len(prediction.trajectory) == 2
    assert prediction.answer == "42"


class Says(DummyLM):
    """Gives texts as they are."""

    def __init__(self, *texts):
        super().__init__([])
        self.texts = list(texts)

    def _format_answer_fields(self, field_names_and_values):
        return self.texts.pop(0)


TO_FINISH = '{"tool_calls": [{"name": "finish", "args": {}}]}'
GOOD = "[[ ## reasoning ## ]]\nr\n\n[[ ## answer ## ]]\n42\n\n[[ ## completed ## ]]"


CUT = "[[ ## next_thought ## ]]\nx\n\n[[ ## tool_calls ## ]]\n[1, 2"


@pytest.mark.parametrize("garbage", ["", "I do not know", CUT, "{}", '{"tool_calls": 7}'])
def test_an_answer_that_cannot_be_read_ends_the_steps(garbage):
    # DSPy asks once more, for JSON.
    prediction = ask(Says(garbage, garbage, GOOD), [look])
    assert prediction.ended == "unreadable" and prediction.trajectory == [] and prediction.answer == "42"


def test_nor_the_last_one_is_an_error():
    with pytest.raises(AdapterParseError):
        ask(Says(*["garbage"] * 4), [look])


class Short(DummyLM):
    """A model that cannot read more than so many steps."""

    def __init__(self, answers, steps):
        super().__init__(answers)
        self.steps = steps

    async def aforward(self, prompt=None, messages=None, **kwargs):
        if messages[-1]["content"].count("\nStep") > self.steps:
            raise ContextWindowExceededError(model="short")
        return await super().aforward(prompt, messages, **kwargs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_too_long_for_the_model_loses_its_earlier_steps():
    answers = [step(("look", {"query": str(n)})) for n in range(4)] + [FINISH, DONE]
    model = Short(answers, 2)
    prediction = ask(model, [look])
    assert len(prediction.trajectory) == 5
    last = model.history[-1]["messages"][-1]["content"]
    assert "(earlier steps are left out)" in last and "found 3" in last and "found 0" not in last
    with pytest.raises(ContextWindowExceededError):
        ask(Short(answers, -1), [look])


# ---- Models


class Blocks(dspy.BaseLM):
    """One of the old sort, which cannot be awaited."""

    def __init__(self, answers):
        super().__init__("blocks")
        self.dummy = DummyLM(answers)

    def forward(self, prompt=None, messages=None, **kwargs):
        assert threading.current_thread().name == "pitcrew-react"
        return self.dummy.forward(prompt, messages, **kwargs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_that_cannot_be_awaited_is_asked_in_a_thread():
    assert ask(Blocks([step(("look", {"query": "a"})), FINISH, DONE]), [look]).answer == "42"


def test_so_is_one_whose_engine_cannot():
    class Engine:
        def complete(self, request):
            assert threading.current_thread().name == "pitcrew-react"
            message = lm15.Message.assistant([lm15.TextPart(texts.pop(0))])
            usage = lm15.Usage(input_tokens=0, output_tokens=0, total_tokens=0)
            return lm15.Response(id=None, model="some", message=message, finish_reason="stop", usage=usage)

    texts = [f"[[ ## next_thought ## ]]\nx\n\n[[ ## tool_calls ## ]]\n{TO_FINISH}\n\n[[ ## completed ## ]]", GOOD]
    assert ask(dspy.LM("some", engine=Engine(), cache=False), [look]).answer == "42"


def test_one_that_refuses_a_request_is_still_awaited_for_the_others():
    class Model:
        async def acall(self, request):
            if request == "refused":
                raise LMUnsupportedFeatureError("no such feature")
            return "awaited"

        def __call__(self, request):
            raise LMUnsupportedFeatureError("no such feature")

    async def run():
        async with Run(1, 1) as asked:
            with pytest.raises(LMUnsupportedFeatureError):
                await asked.ask(Model(), {"request": "refused"})
            assert await asked.ask(Model(), {"request": "other"}) == "awaited"

    asyncio.run(run())


# ---- Cancelling


def test_a_tool_in_a_thread_is_interrupted_and_waited_for():
    begun, seen = threading.Event(), []

    def stays():
        begun.set()
        try:
            while True:
                time.sleep(0.01)
        except Cancelled:
            seen.append("cancelled")
            raise

    async def run():
        task = asyncio.ensure_future(ParallelReAct("question -> answer", [stays, look]).acall(question="?"))
        await asyncio.to_thread(begun.wait, SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        join_helpers()

    with dspy.context(lm=DummyLM([step(("stays", {}), ("look", {"query": "a"})), FINISH, DONE])):
        asyncio.run(run())
    assert seen == ["cancelled"]


def test_an_interrupt_may_come_at_any_moment():
    """Of a thread that ends by itself just then: it is waited for, and nothing is raised where nobody expects it."""

    async def run():
        for n in range(300):
            threads = Threads()
            calls = [asyncio.ensure_future(threads.call(lambda n=n: sum(range(n * 5)))) for _ in range(2)]
            await asyncio.sleep(0)
            await asyncio.wait_for(threads.end(), SECONDS)
            assert threads.alive == set()
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert outcome == sum(range(n * 5)) or isinstance(outcome, Cancelled)

    asyncio.run(run())
    join_helpers()


def test_cancelled_in_a_tool_is_no_observation():
    def ends():
        raise Cancelled("the VM waits no more")

    def waits():
        time.sleep(0.05)

    with pytest.raises(Cancelled):
        ask([step(("waits", {}), ("ends", {})), FINISH, DONE], [ends, waits])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_that_is_asked_is_cancelled():
    class Stuck(DummyLM):
        async def aforward(self, prompt=None, messages=None, **kwargs):
            asked.set()
            await asyncio.sleep(3600)

    async def run():
        task = asyncio.ensure_future(ParallelReAct("question -> answer", [look]).acall(question="?"))
        await asyncio.wait_for(asked.wait(), SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asked = asyncio.Event()
    with dspy.context(lm=Stuck([])):
        asyncio.run(run())
