"""A VM with two pools that are busy, and its dashboard."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = ROOT / "_build" / "screenshots"

# Prints the address of the page; ends with its standard input.
PROGRAM = """
{ok, _} = application:ensure_all_started(pitcrew),
Options = #{tools => [<<"dashboard_tools">>], cd => <<"test/fixtures">>},
{ok, _} = pitcrew_pool:start_link(Options#{name => busy, size => 3, cache => true}),
{ok, _} = pitcrew_pool:start_link(Options#{name => 'Elixir.Other.Py', size => 1}),
{ok, Page} = pitcrew_dashboard:start_link(#{port => 0}),
spawn(fun Loop() ->
    {ok, _} = pitcrew:call(busy, square, [rand:uniform(2000)]),
    rand:uniform(60) =:= 1 andalso pitcrew:call(busy, fail, []),
    rand:uniform(10) =:= 1 andalso pitcrew:call(busy, square, [2], #{protocol => json}),
    timer:sleep(rand:uniform(4)),
    Loop()
end),
spawn(fun Loop() -> _ = pitcrew:call(busy, nap, [rand:uniform() / 20]), timer:sleep(100), Loop() end),
io:format("~nPAGE ~ts~n", [pitcrew_dashboard:url(Page)]),
_ = io:get_line(""),
init:stop().
"""


class Dashboard:
    """The page of a VM of its own: `url` with the token, `plain` without."""

    def __init__(self) -> None:
        # The suites before this one have their builds elsewhere, or have not run.
        subprocess.run(["rebar3", "compile"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        command = ["erl", "-noshell", "-pa", "_build/default/lib/pitcrew/ebin", "-eval", PROGRAM]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")
        self.url = next(line for line in lines if line.startswith("PAGE ")).split()[1]
        # Nobody reads on, and the VM must not wait for anybody.
        threading.Thread(target=deque, args=(lines, 0), daemon=True).start()
        self.plain = self.url.split("?")[0]

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
