"""The zygote link of docs/protocol.md, section 6, against a real `python -m pitcrew`."""

import mmap
import os
import re
import resource
import signal
import subprocess
import sys

import pytest
from harness import CLOSED, PACKAGE, SECONDS, environ_of, gone, until, wait_readable
from pitcrew import _core


def links_of(pid):
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]


def special(links):
    """Pipes and the like, but for those that whoever runs the tests has handed down to everybody."""
    fds = [fd for fd in map(int, os.listdir("/proc/self/fd")) if is_handed_down(fd)]
    handed_down = {os.readlink(f"/proc/self/fd/{fd}") for fd in fds}
    return {link for link in links if link.startswith(("pipe:", "socket:", "anon_inode:[pidfd"))} - handed_down


def is_handed_down(fd):
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


def test_ready_tells_what_was_decided(start):
    zygote = start("--start", "auto", "--tools", "worker_tools")
    version = ".".join(map(str, sys.version_info[:3]))
    assert zygote.ready() == {
        "start": "fork",
        "python": version,
        "pitcrew": _core.__version__,
        "threads": [],
        "modules": ["worker_tools"],
    }


def test_end_of_the_link_ends_the_zygote_and_its_workers(tools):
    worker = tools.worker()
    tools.link.close()
    assert tools.wait() == 0
    assert gone(worker.pid)


def test_a_killed_zygote_takes_its_workers_along(tools):
    workers = [tools.worker(wid) for wid in (1, 2)]
    os.kill(tools.pid, signal.SIGKILL)
    assert tools.wait() == -signal.SIGKILL
    for worker in workers:
        assert gone(worker.pid)


def test_sigterm_ends_the_zygote(tools):
    os.kill(tools.pid, signal.SIGTERM)
    assert tools.wait() == -signal.SIGTERM


def test_a_terminals_sigint_does_not(tools):
    os.kill(tools.pid, signal.SIGINT)
    worker = tools.worker()
    assert worker.call("add", 1, 2) == 3


def test_exits_are_told_with_status_and_usage(tools):
    worker = tools.worker(7)
    worker.send("quit_now", [42])
    name, wid, pid, how, code, utime, stime, maxrss = tools.expect("exit", 7)
    assert (name, wid, pid, how, code) == ("exit", 7, worker.pid, "exit", 42)
    assert utime >= 0 and stime >= 0 and maxrss > 1000


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_exits_are_told_with_their_signal(tools, number):
    worker = tools.worker(3)
    signal.pidfd_send_signal(tools.pidfd(3), number)
    assert tools.expect("exit", 3)[2:5] == [worker.pid, "signal", number]


def test_the_group_dies_with_its_leader(tools):
    worker = tools.worker(4)
    child = worker.call("leave_child_behind")
    os.kill(worker.pid, signal.SIGKILL)
    tools.expect("exit", 4)
    assert gone(child)


def test_many_workers_live_and_die_independently(tools):
    for wid in range(1, 17):
        tools.request(wid)
    pids = {tools.expect("forked", wid)[2] for wid in range(1, 17)}
    assert len(pids) == 16
    for wid in range(1, 17):
        signal.pidfd_send_signal(tools.pidfd(wid), signal.SIGKILL)
    assert {tools.expect("exit", wid)[2] for wid in range(1, 17)} == pids


def test_a_worker_holds_nothing_of_the_zygote(tools):
    other = tools.worker(1)
    worker = tools.worker(2)
    links = worker.call("links")
    assert links[0] == "/dev/null"
    assert links[1].startswith("pipe:") and links[2].startswith("pipe:") and links[1] != links[2]
    own = special(links.values())
    assert own.isdisjoint(special(links_of(tools.pid))) and own.isdisjoint(special(links_of(other.pid)))
    assert sum(link.startswith("socket:") for link in own) == 2


def test_the_zygote_keeps_no_pipe_of_a_worker(tools):
    worker = tools.worker(1)
    assert worker.first[0] == _core.KIND_READY
    assert sum(link.startswith("pipe:") for link in special(links_of(tools.pid))) == 2, "its own output"


def test_group_parent_and_oom_score(tools, worker):
    pid, group, parent = worker.call("group")
    assert (pid, group, parent) == (worker.pid, worker.pid, tools.pid)
    zygote = int(open(f"/proc/{tools.pid}/oom_score_adj").read())
    assert worker.call("oom_score_adj") == min(zygote + 800, 1000)


def test_signals_are_as_in_any_python(tools, worker):
    ours = {}
    for line in open("/proc/self/status"):
        key, _, value = line.partition(":")
        ours[key] = int(value, 16) if key in ("SigBlk",) else value
    assert int(worker.call("status", "SigBlk"), 16) == ours["SigBlk"]
    ignored = int(worker.call("status", "SigIgn"), 16)
    caught = int(worker.call("status", "SigCgt"), 16)
    assert not ignored & 1 << signal.SIGINT - 1
    assert caught & 1 << signal.SIGINT - 1
    assert not (ignored | caught) & 1 << signal.SIGTERM - 1
    assert not (ignored | caught) & 1 << signal.SIGCHLD - 1


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_the_mark_is_where_proc_and_children_see_it(start, how):
    zygote = start("--start", how, "--tools", "worker_tools")
    zygote.ready()
    worker = zygote.worker(0xBEEF)
    mark = f"{zygote.instance}-0000beef"
    assert environ_of(worker.pid)["PITCREW_INSTANCE"] == mark
    assert worker.call("environment", "PITCREW_INSTANCE") == mark
    assert worker.call("subprocess_environment", "PITCREW_INSTANCE") == mark
    assert environ_of(zygote.pid)["PITCREW_INSTANCE"] == f"{zygote.instance}-00000000"


def test_output_comes_line_by_line_through_the_pipes(tools):
    worker = tools.worker(5)
    worker.call("say", "hello")
    assert tools.read_line(5, 1) == "hello\n"
    assert tools.read_line(5, 2) == "HELLO\n"


def test_random_numbers_differ_between_workers(tools):
    workers = [tools.worker(wid) for wid in (1, 2, 3)]
    assert len({worker.call("draw") for worker in workers}) == 3


def test_modules_are_imported_once_and_by_the_zygote(tools):
    assert [tools.worker(wid).call("loaded_in") for wid in (1, 2)] == [tools.pid, tools.pid]


def resident(pid, name):
    """How many KiB of the files of this name a process has in its memory."""
    with open(f"/proc/{pid}/smaps") as file:
        lines = file.read().splitlines()
    counting, found = False, []
    for line in lines:
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            counting = name in line
        elif counting and line.startswith("Rss:"):
            found.append(int(line.split()[1]))
    assert found
    return sum(found)


def test_the_zygote_keeps_no_pages_of_files_that_only_the_imports_needed(start):
    zygote = start("--start", "fork", "--tools", "maps_a_file")
    zygote.ready()
    worker = zygote.worker()
    assert worker.call("read") == list(range(1, 17))
    assert resident(worker.pid, "mapped_by_a_tool") == 16 * mmap.PAGESIZE // 1024
    assert until(lambda: resident(zygote.pid, "mapped_by_a_tool") == 0), "when it has had nothing to do for a while"
    assert zygote.worker(2).call("read") == list(range(1, 17))


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_the_largest_payload_has_room(start, how):
    zygote = start("--start", how, "--tools", "worker_tools")
    zygote.ready()
    assert zygote.worker(0xFFFFFFFF, size=64 * 1024).call("add", 1, 2) == 3


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_workers_are_not_limited_by_descriptors_and_keep_the_limit_that_was_given(start, how):
    few, (soft, hard) = 48, resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        zygote = start("--start", how, "--tools", "worker_tools")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    zygote.ready()
    for wid in range(2, few + 10):
        zygote.request(wid, token=b"x" * 16)
        assert zygote.expect("forked", wid)[1] == wid
    for wid in range(2, few + 10):
        signal.pidfd_send_signal(zygote.pidfd(wid), signal.SIGKILL)
        zygote.expect("exit", wid)
        for fd in zygote.forked.pop(wid)[1:]:
            os.close(fd)
    drain(zygote.listener)
    assert zygote.worker(1).call("descriptor_limit") == [few, hard]


def drain(listener):
    """Takes the connections of workers that were killed."""
    while wait_readable(listener.socket.fileno(), 0):
        listener.socket.accept()[0].close()


def test_an_unknown_message_is_no_reason_to_end(tools):
    tools.link.send(_core.encode(["dance", 1, b""]))
    tools.link.send(b"\xc1")
    worker = tools.worker()
    assert worker.call("add", 1) == 2


# ---- Spawn


def test_spawn_executes_an_interpreter_for_each_worker(start):
    zygote = start("--start", "spawn", "--tools", "worker_tools")
    assert zygote.ready()["modules"] == []
    worker = zygote.worker(1)
    assert worker.first[0] == _core.KIND_READY
    assert "--worker" in open(f"/proc/{worker.pid}/cmdline").read().split("\0")
    assert worker.call("add", 2, b=3) == 5
    links = worker.call("links")
    assert links[0] == "/dev/null" and 3 not in {fd for fd, link in links.items() if link.startswith("pipe:")}
    assert worker.call("group") == [worker.pid, worker.pid, zygote.pid]
    worker.call("say", "hello")
    assert zygote.read_line(1) == "hello\n"
    worker.send("quit_now", [9])
    assert zygote.expect("exit", 1)[3:5] == ["exit", 9]


def test_spawned_workers_die_with_the_zygote(start):
    zygote = start("--start", "spawn", "--tools", "worker_tools")
    zygote.ready()
    worker = zygote.worker(1)
    os.kill(zygote.pid, signal.SIGKILL)
    zygote.wait()
    assert gone(worker.pid)


def test_a_spawned_worker_that_cannot_import_says_why(start):
    zygote = start("--start", "spawn", "--tools", "import_raises")
    zygote.ready()
    worker = zygote.worker(1)
    kind, id_, _, fault = worker.first
    assert (kind, id_) == (_core.KIND_ERROR, 0)
    assert (fault["kind"], fault["type"]) == ("start_error", "LookupError")
    assert "import_raises.py" in fault["traceback"]
    assert zygote.expect("exit", 1)[3:5] == ["exit", 1]


# ---- Threads


def test_threads_after_the_imports_make_auto_spawn(start):
    zygote = start("--start", "auto", "--tools", "starts_thread")
    ready = zygote.ready()
    assert (ready["start"], ready["threads"]) == ("spawn", ["poller-of-this-test"])
    worker = zygote.worker(1)
    assert "poller-of-this-test" in worker.call("alive")


def test_threads_after_the_imports_fail_fork_with_their_names(start):
    zygote = start("--start", "fork", "--tools", "starts_thread")
    failed = zygote.failed()
    assert failed["stage"] == "threads"
    assert "poller-of-this-test" in failed["message"]
    assert zygote.wait() == 1


# ---- Failing starts


@pytest.mark.parametrize(
    ("module", "type_", "words"),
    [
        ("does_not_import", "ModuleNotFoundError", ["does_not_import.py", "a_module_that_nobody_has"]),
        ("import_raises", "LookupError", ["in prepare", "the model is not there"]),
        ("import_exits", "SystemExit", ["no licence"]),
        ("no_such_module_anywhere", "ModuleNotFoundError", ["no_such_module_anywhere"]),
        ("two_of_a_name", "ValueError", ["two_of_a_name.same", "two_of_a_name.other"]),
    ],
)
def test_an_import_that_fails_is_told_with_pythons_traceback(start, module, type_, words):
    zygote = start("--start", "auto", "--tools", "worker_hooks", "--tools", module)
    failed = zygote.failed()
    assert (failed["stage"], failed["type"]) == ("import", type_)
    for word in words:
        assert word in failed["traceback"]
    assert "zygote.py" not in failed["traceback"] and "frozen importlib" not in failed["traceback"]
    assert zygote.wait() == 1


def test_tools_that_cannot_be_told_fail_the_start(start):
    zygote = start("--start", "fork", "--tools", "bad_docstring")
    failed = zygote.failed()
    assert (failed["stage"], failed["type"]) == ("import", "pitcrew.EncodeError")
    assert '[0]["doc"]' in failed["message"]
    assert zygote.wait() == 1


def test_a_missing_mark_is_told(start):
    zygote = start("--start", "fork", env={"PITCREW_INSTANCE": None})
    failed = zygote.failed()
    assert failed["stage"] == "internal" and "PITCREW_INSTANCE" in failed["message"]
    assert zygote.wait() == 1


def test_a_link_that_is_read_late_loses_no_exit(tools):
    """More packets than the socket holds: they wait in the zygote."""
    count = 400
    for wid in range(1, count + 1):
        tools.request(wid, token=b"x" * 16)
    # Nobody listens for these workers' connections in time; each ends with status 1 or is killed with the zygote.
    pids = {}
    for wid in range(1, count + 1):
        pids[wid] = tools.expect("forked", wid)[2]
        signal.pidfd_send_signal(tools.pidfd(wid), signal.SIGKILL)
    assert {tools.expect("exit", wid)[2] for wid in pids} == set(pids.values())


# ---- Without a link, without a build


def test_run_by_hand_it_explains_itself():
    done = subprocess.run(
        [sys.executable, "-m", "pitcrew"],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 2 and "usage:" in done.stderr


@pytest.mark.parametrize("arguments", [["--start", "never"], ["--tools"], ["--bogus"]])
def test_a_wrong_command_line_is_refused(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "pitcrew", *arguments],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 2 and "usage:" in done.stderr


def test_without_a_build_it_says_which_command_makes_one(tmp_path):
    package = tmp_path / "pitcrew"
    package.mkdir()
    for file in (PACKAGE / "pitcrew").glob("*.py"):
        (package / file.name).write_bytes(file.read_bytes())
    done = subprocess.run(
        [sys.executable, "-S", "-m", "pitcrew", "--start", "fork"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 3
    assert f"--python {sys.executable}" in done.stderr and "Traceback" not in done.stderr


def test_a_build_in_another_folder_of_the_path_is_found(tmp_path):
    package = tmp_path / "pitcrew"
    package.mkdir()
    for file in (PACKAGE / "pitcrew").glob("*.py"):
        (package / file.name).write_bytes(file.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "pitcrew", "--version"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{PACKAGE}"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stdout) == (0, f"{_core.__version__}\n")


def test_nothing_is_left_in_the_link_of_a_dead_zygote(tools):
    os.kill(tools.pid, signal.SIGKILL)
    tools.wait()
    assert wait_readable(tools.link.fileno())
    assert tools.receive() == CLOSED
