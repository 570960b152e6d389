# The front door. Everything that a target needs it installs into .venv; nothing else is touched.

.PHONY: help demo test check lint clean
.DEFAULT_GOAL := help

# The first of these that is new enough for ansible-core 2.19 and really runs (a pyenv shim of a
# version that is not there does not).
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& echo "$$python" && break; done)
READY := .venv/.ready

help:
	@echo 'make demo   day zero on an embedded SPIKE: a good run, a rerun, a keeper that is down'
	@echo 'make test   every test, with the linters'
	@echo 'make check  the linters and the fast tests, in under a minute'
	@echo 'make clean  remove what the other targets made'

demo: $(READY)
	@.venv/bin/python tests/demo.py

test: $(READY)
	@.venv/bin/python tests/run.py all

check: $(READY)
	@.venv/bin/python tests/run.py fast

lint: $(READY)
	@.venv/bin/python tests/run.py lint

$(READY): requirements-dev.txt
	@test -n "$(PYTHON)" || { \
		echo 'Missing: Python 3.11 or newer with its venv module (Debian: apt install python3-venv).'; \
		exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip --quiet --disable-pip-version-check install -r requirements-dev.txt
	@touch $@

clean:
	rm -rf .venv build .hypothesis .mypy_cache .ruff_cache .pytest_cache
