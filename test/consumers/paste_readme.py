"""Pastes the first example of README.md into the project that `mix new my_app --sup` made, as the README says.

python3 paste_readme.py README.md my_app session.exs
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def block(readme: str, fence: str, after: str) -> str:
    """The first code block of that language after a line that holds a text."""
    rest = readme[readme.index(after) :]
    found = re.search(rf"^```{fence}\n(.*?)^```$", rest, re.MULTILINE | re.DOTALL)
    if found is None:
        sys.exit(f"README has no {fence} block after {after!r}")
    return found[1]


def replace(path: Path, pattern: str, text: str) -> None:
    """Puts text in the place of the one match of a pattern."""
    content, count = re.subn(pattern, lambda _: text, path.read_text(), flags=re.MULTILINE | re.DOTALL)
    if count != 1:
        sys.exit(f"{path} has {count} places like {pattern!r}")
    path.write_text(content)


def main(readme: str, app: Path, session: Path) -> None:
    tools = app / "priv/python/my_tools.py"
    tools.parent.mkdir(parents=True)
    tools.write_text(block(readme, "python", "my_tools.py"))
    replace(app / "mix.exs", r"^ *defp deps do.*?^  end\n", block(readme, "elixir", "In `mix.exs`"))
    replace(
        app / "lib/my_app/application.ex", r"^ *children = \[.*?^    \]\n", block(readme, "elixir", "application.ex")
    )
    session.write_text(block(readme, "elixir", "iex -S mix") + 'IO.puts("CONSUMER OK")\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text(), Path(sys.argv[2]), Path(sys.argv[3]))
