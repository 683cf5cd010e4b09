"""What `python -m pitcrew` lets be called that is no tool: code, and functions of allowed modules."""

from __future__ import annotations

import pytest
from harness import run_python
from pitcrew import _core, permits
from pitcrew.permits import Permits

EVAL = "pitcrew:eval"


@pytest.fixture(params=["fork", "spawn"])
def allowing(request, start):
    """A worker whose pool allows everything that these tests call."""
    zygote = start(
        "--start", request.param, "--tools", "worker_tools", "--allow-eval",
        "--allow-import", "collections", "--allow-import", "permitted", "--allow-import", "os.path",
    )  # fmt: skip
    zygote.ready()
    worker = zygote.worker()
    assert worker.first[0] == _core.KIND_READY, worker.first
    return worker


def refused(worker, tool, *args):
    fault = worker.fault(tool, *args)
    assert fault["traceback"] is None
    return fault["kind"], fault["message"]


# ---- Nothing is allowed unless it is said


def test_eval_is_refused_with_the_option_that_allows_it(worker):
    assert refused(worker, EVAL, "1") == (
        "not_allowed",
        "the pool does not allow eval: its option allow_eval must be true",
    )


def test_imports_are_refused_with_the_option_that_allows_them(worker):
    kind, message = refused(worker, "os.path:join", "a", "b")
    assert kind == "not_allowed" and "allow_import must name os.path" in message
    assert worker.call("add", 1, 2) == 3


def test_other_names_are_no_tools_as_ever(worker, allowing):
    for one in (worker, allowing):
        for name in ("ad", "pitcrew:evil", "pitcrew:", "pitcrew._core:encode", "pitcrew.worker:stop"):
            assert one.fault(name, 1)["kind"] == "unknown_tool"


def test_no_tool_may_take_such_a_name():
    done = run_python("import pitcrew\npitcrew.tool(name='pitcrew:eval')(len)")
    assert done.returncode == 1 and "names that begin with 'pitcrew:' are Pitcrew's own" in done.stderr


# ---- Code


@pytest.mark.parametrize(
    ("code", "bindings", "value"),
    [
        ("x + 4", {"x": 3}, 7),
        ("", {}, None),
        ("# nothing", {}, None),
        ("x = 1", {}, None),
        ("x = 1\nx", {}, 1),
        ("x = 1; x", {}, 1),
        ("import math\nmath.fsum(xs)", {"xs": [1, 2]}, 3.0),
        ("def f(n):\n    return 1 if n < 2 else n * f(n - 1)\n\nf(n)\n", {"n": 5}, 120),
        ("[y for y in xs if y != z]", {"xs": [1, 2, 3], "z": 2}, [1, 3]),
        ("if x:\n    'not the last statement'", {"x": True}, None),
        ("__name__", {}, "__eval__"),
        ("ä", {"ä": "ö"}, "ö"),
    ],
)
def test_the_last_expression_is_the_result(allowing, code, bindings, value):
    assert allowing.call(EVAL, code, bindings) == value


def test_bindings_may_be_left_out_and_named_by_atoms(allowing):
    assert allowing.call(EVAL, "1 + 1") == 2
    assert allowing.call(EVAL, "1 + 1", None) == 2
    assert allowing.call(EVAL, "(a, sorted(globals()))", {_core.Atom("a"): 1}) == (1, ["__builtins__", "__name__", "a"])
    assert allowing.call(EVAL, b"a", {b"a": 1}) == 1


def test_each_time_the_namespace_is_a_new_one(allowing):
    assert allowing.call(EVAL, "seen = 1\nseen") == 1
    assert allowing.fault(EVAL, "seen")["type"] == "NameError"
    assert allowing.call(EVAL, "type(x).__name__", {"x": 1}) == "int"
    assert allowing.call(EVAL, "type(x).__name__", {"x": ""}) == "str"


def test_an_error_has_its_line_and_no_frames_of_ours(allowing):
    fault = allowing.fault(EVAL, "def half(n):\n    return n / 0\n\nx = 1\nhalf(x)")
    assert (fault["kind"], fault["type"], fault["message"]) == ("tool_error", "ZeroDivisionError", "division by zero")
    lines = fault["traceback"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith('  File "<eval ') and lines[1].endswith('>", line 5, in <module>')
    assert lines[2] == "    half(x)"
    assert any(line.endswith('>", line 2, in half') for line in lines) and "    return n / 0" in lines
    assert "evaluate.py" not in fault["traceback"]


def test_code_that_does_not_parse_says_where(allowing):
    fault = allowing.fault(EVAL, "x = 1\nx +* 2")
    assert (fault["kind"], fault["type"]) == ("tool_error", "SyntaxError")
    assert ">, line 2" in fault["message"]
    assert "x +* 2" in fault["traceback"] and "evaluate.py" not in fault["traceback"]


def test_the_lines_of_old_code_are_forgotten(allowing):
    """Kept are the latest, and not more than a megabyte of them."""
    allowing.fault(EVAL, "1 / 0")
    for n in range(100):
        assert allowing.call(EVAL, f"{n}") == n
    assert allowing.call(EVAL, f"'{'x' * (1 << 20)}'") == "x" * (1 << 20)
    count = "import sys\nlen(sys.modules['pitcrew.evaluate']._kept)"
    assert allowing.call(EVAL, count) == 1
    assert allowing.call(EVAL, "import sys\n[f for f in sys.modules['linecache'].cache if f.startswith('<eval')]") == []
    assert "1 / 0" in allowing.fault(EVAL, "1 / 0")["traceback"]


@pytest.mark.parametrize(
    "args", [[1], [None], ["1", [1]], ["1", {1: 2}], ["1", {"a b": 2}], ["1", {"if": 2}], ["1", {"": 2}]]
)
def test_what_is_no_code_and_no_binding(allowing, args):
    assert refused(allowing, EVAL, *args)[0] == "bad_arguments"


def test_code_may_not_end_the_worker_by_exit(allowing):
    assert allowing.fault(EVAL, "import sys\nsys.exit(3)")["type"] == "SystemExit"
    assert allowing.call(EVAL, "1") == 1


# ---- Functions


def test_functions_of_allowed_modules(allowing):
    assert allowing.call("os.path:join", "a", "b") == "a/b"
    assert allowing.call("permitted:double", 21) == 42
    assert allowing.call("permitted.inner:triple", 14) == 42
    assert allowing.call("permitted:inner.triple", 14) == 42
    assert allowing.call("permitted:Point.origin") == [0, 0]
    assert allowing.call("permitted:Sub.inherited") == "inherited"
    assert allowing.call("permitted:shared", "x") == {"shared": "x"}
    assert allowing.call("permitted:double", n=2) == 4


def test_it_is_imported_by_its_first_call_and_once(allowing):
    assert allowing.call("permitted:imported", "permitted.lazy") is False
    assert [allowing.call("permitted.lazy:count") for _ in range(3)] == [1, 2, 3]
    assert allowing.call("permitted:imported", "permitted.lazy") is True


def test_arguments_that_do_not_fit_are_told_the_first_time_and_later(allowing):
    for _ in range(2):
        assert allowing.fault("permitted:double", 1, 2)["kind"] == "bad_arguments"
    fault = allowing.fault("permitted:fail")
    assert fault["kind"] == "tool_error" and "permits.py" not in fault["traceback"] and "in fail" in fault["traceback"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("permittedx:double", "allow_import must name permittedx"),
        ("permitte:double", "allow_import"),
        ("os:getcwd", "allow_import must name os "),
        ("os.path.x:y", "no module named 'os.path.x'"),
        (":double", "allow_import"),
        (".permitted:double", "allow_import"),
        ("permitted.:double", "can be imported"),
        ("permitted..inner:triple", "can be imported"),
        ("permitted.__main__:run", "can be imported"),
        ("permitted:os.system", "the module os"),
        ("permitted:inner.os.system", "the module os"),
        ("permitted.inner:os.system", "the module os"),
        ("permitted:Point.os.system", "the module os"),
        ("permitted:system", "has imported it without naming it in __all__"),
        ("permitted:Popen", "subprocess"),
        ("permitted:evaluate", "builtins"),
        ("permitted:environment.get", "os"),
        ("permitted:foreign", "the module"),
        ("permitted.alias:getcwd", "the module os"),
        ("permitted:_hidden", "public names"),
        ("permitted:double.__globals__", "public names"),
        ("permitted:double.__class__.mro", "public names"),
        ("permitted:__builtins__.eval", "public names"),
        ("permitted:", "public names"),
        ("permitted:double.", "public names"),
        ("permitted:double:x", "public names"),
        ("permitted:a.b.c.d.e.f.g.h.i", "public names"),
    ],
)
def test_nothing_else_becomes_reachable(allowing, name, words):
    kind, message = refused(allowing, name)
    assert words in message
    assert kind == ("unknown_tool" if "no module named" in words else "not_allowed")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("permitted.nobody:f", "there is no module named 'permitted.nobody'"),
        ("permitted:dubble", "has no attribute 'dubble'"),
        ("permitted:double.x", "has no attribute 'x'"),
        ("permitted:NUMBER", "'NUMBER' in permitted:NUMBER is of type int, not a function"),
        ("permitted:TABLE.get", "'TABLE' in permitted:TABLE.get is of type dict"),
        ("permitted:path.clear", "is of type list"),
        ("permitted:inner", "cannot be called: it is of type module"),
    ],
)
def test_what_is_not_there_is_an_unknown_tool(allowing, name, words):
    kind, message = refused(allowing, name)
    assert kind == "unknown_tool" and words in message


def test_a_module_that_does_not_import_is_an_error_of_its_own(allowing):
    for _ in range(2):
        fault = allowing.fault("permitted.broken:f")
        assert (fault["kind"], fault["type"]) == ("tool_error", "ModuleNotFoundError")
        assert "broken.py" in fault["traceback"] and "permits.py" not in fault["traceback"]


def test_a_forked_worker_imports_for_itself(start):
    """Allowing is not importing: the zygote has nothing of it."""
    zygote = start("--start", "fork", "--tools", "worker_tools", "--allow-import", "permitted")
    assert zygote.ready()["modules"] == ["worker_tools"]
    pids = [zygote.worker(wid).call("permitted:imported_by") for wid in (1, 2)]
    assert pids == [worker.pid for worker in zygote.workers]


def test_a_long_import_can_be_cancelled(start):
    zygote = start("--start", "fork", "--tools", "worker_tools", "--allow-import", "waits_at_import")
    zygote.ready()
    worker = zygote.worker()
    id_ = worker.send("waits_at_import:f")
    assert zygote.read_line(1) == "importing\n"
    assert worker.cancel(id_) == "started"
    assert worker.answer()[3]["kind"] == "cancelled"
    assert worker.call("add", 1, 2) == 3


# ---- The rules by themselves


def test_the_standard_library_and_numpy_are_reachable_as_people_write_it():
    numpy = pytest.importorskip("numpy")
    allowed = Permits(
        modules=["numpy", "collections", "math", "hashlib", "random", "functools", "bisect", "datetime", "json"]
    )

    def call(name, *args):
        found, is_unresolved = allowed.find(name)
        return (found() if is_unresolved else found)(*args)

    assert call("numpy.linalg:norm", [3.0, 4.0]) == 5.0
    assert call("numpy:linalg.norm", [3.0, 4.0]) == 5.0
    assert call("numpy:add", 1, 2) == 3
    assert call("numpy:add.reduce", [1, 2, 3]) == 6
    assert call("numpy:array", [1]).tolist() == [1]
    assert call("numpy:float64", 1.5) == 1.5
    assert call("numpy.random:rand").__class__ is float
    assert call("numpy:random.default_rng", 1).integers(10) == numpy.random.default_rng(1).integers(10)
    assert call("collections:OrderedDict.fromkeys", ["a"], 1) == {"a": 1}
    assert call("math:sqrt", 4) == 2.0
    assert call("hashlib:sha256", b"").hexdigest().startswith("e3b0c442")
    assert 0.0 <= call("random:random") < 1.0
    assert call("functools:reduce", max, [1, 3, 2]) == 3
    assert call("bisect:bisect_left", [1, 2, 3], 2) == 1
    assert call("datetime:datetime.fromisoformat", "2024-01-02").day == 2
    assert call("json:dumps", {"a": 1}) == '{"a": 1}'
    for name in ("numpy:os.getcwd", "json:codecs.open", "random:_os.system", "collections:_sys.exit"):
        with pytest.raises(_core.Refused):
            call(name)


def test_what_was_found_is_found_again_without_a_search():
    allowed = Permits(modules=["math"])
    find, is_unresolved = allowed.find("math:sqrt")
    assert is_unresolved and find().__name__ == "sqrt"
    assert allowed.find("math:sqrt") == (find(), False)


def test_not_more_is_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(permits, "MOST_KNOWN", 3)
    allowed = Permits(modules=["math"])
    for name in ("sqrt", "exp", "log", "sin", "cos"):
        allowed.find(f"math:{name}")[0]()
        assert len(allowed.known) <= 3


def test_a_name_that_fails_is_not_remembered():
    allowed = Permits(modules=["math"])
    for _ in range(2):
        with pytest.raises(_core.Refused, match="no attribute"):
            allowed.find("math:square")[0]()
    assert allowed.known == {}


def test_the_command_line_that_says_it_again():
    assert Permits().modules == frozenset()
    before = permits.current
    try:
        permits.allow(True, ["numpy", "math"])
        assert permits.argv() == ["--allow-eval", "--allow-import", "math", "--allow-import", "numpy"]
        permits.allow(False, [])
        assert permits.argv() == []
    finally:
        permits.current = before


def test_a_refusal_that_a_tool_raises_by_itself(allowing):
    """A word that is none of ours is no kind of error."""
    code = "from pitcrew import _core\nraise _core.Refused('made_up', 'x')"
    assert allowing.fault(EVAL, code)["kind"] == "tool_error"
    assert allowing.fault(EVAL, "from pitcrew import _core\nraise _core.Refused('x')")["kind"] == "tool_error"
