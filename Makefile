# The commands of the project. `make demo' and `make test' install what is missing first; see README.md.
# C flags are in c_src/Makefile and nowhere else.

# The interpreter for everything; tools/env.sh chooses one when this is empty.
PYTHON ?=
export PYTHON

.PHONY: all test test-optional demo bench soak check format asan valgrind fuzz docs python clean

all:
	@tools/bootstrap build
	@tools/with-venv rebar3 compile

test:
	@tools/bootstrap build test
	@tools/with-venv python tools/test.py

# The suites of Elixir and Erlang with optional libraries (telemetry, Nx, Decimal and so on) whose sources lie in a folder: make test-optional DEPS=folder
test-optional:
	@tools/bootstrap build test
	@tools/test-optional "$(DEPS)"

demo:
	@tools/bootstrap build demo
	@tools/with-venv mix run examples/digits/digits.exs

# make bench, or one of them: make bench BENCH=rtt
BENCH ?= rtt startup
bench:
	@tools/bootstrap build bench
	@set -e; for name in $(BENCH); do tools/with-venv bench/run $$name; done

# Calls of every kind for so long; fails if memory grows by more than 1 MiB for a million calls.
MINUTES ?= 30
soak:
	@tools/bootstrap build bench
	@tools/with-venv bench/run soak --minutes $(MINUTES)

check:
	@tools/bootstrap build test check
	@tools/with-venv tools/check

format:
	@tools/bootstrap build check
	@tools/with-venv tools/format

asan:
	@tools/bootstrap build test check
	@tools/with-venv tools/asan

valgrind:
	@tools/bootstrap build test check
	@tools/with-venv tools/valgrind

# The fuzzers, so many seconds each.
FUZZ_SECONDS ?= 30
fuzz:
	@tools/bootstrap build test check
	@$(MAKE) --no-print-directory -C c_src fuzz FUZZ_SECONDS=$(FUZZ_SECONDS)

docs:
	@tools/bootstrap build
	@tools/with-venv rebar3 edoc
	@tools/with-venv tools/events

# The worker's C part for one more interpreter, beside those that are there: make python PYTHON=/path/to/python
python:
	@tools/bootstrap build
	@$(MAKE) -C c_src python PYTHON="$$(tools/with-venv --interpreter)"

clean:
	@$(MAKE) -C c_src clean
	rm -rf _build doc python/build
