# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The front door. Everything that a target needs it installs into .venv; nothing else is touched.

.PHONY: help demo test test-long test-hosts bench fuzz check lint generate galaxy sanity matrix release clean
.DEFAULT_GOAL := help

# The first of these that is new enough for ansible-core 2.19 and really runs (a pyenv shim of a
# version that is not there does not).
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& echo "$$python" && break; done)
READY := .venv/.ready

help:
	@echo 'make demo   day zero on an embedded SPIKE: a good run, a rerun, a keeper that is down'
	@echo 'make test   the tests, with the linters, in under 12 minutes'
	@echo 'make test-long  the tests that take longer'
	@echo 'make test-hosts  the tests on real Debian hosts, as root, in under 10 minutes'
	@echo 'make bench  how fast it is, as tables; WRITE=1 keeps them in docs/benchmarks.md'
	@echo 'make fuzz   inputs from outside, by atheris, FUZZ_SECONDS (300) for each reader'
	@echo 'make check  the linters and the fast tests, in under a minute'
	@echo 'make generate  write what follows from the documentation of the options'
	@echo 'make galaxy the archive as Galaxy takes it, and its pages, in build/galaxy'
	@echo 'make sanity ansible-test sanity, by each supported ansible-core, or by CORES="2.19 2.21"'
	@echo 'make matrix the supported versions of ansible-core, Python and the libraries, or PARTS of them'
	@echo '            WRITE=1 keeps what these three have found in docs/quality.md'
	@echo 'make release  the changelog of the version in galaxy.yml, or of VERSION=1.1.0'
	@echo 'make clean  remove what the other targets made'

demo: $(READY)
	@.venv/bin/python tests/demo.py

test: $(READY)
	@.venv/bin/python tests/run.py all

test-long: $(READY)
	@.venv/bin/python tests/run.py long

test-hosts: $(READY)
	@.venv/bin/python tests/run.py hosts

bench: $(READY)
	@.venv/bin/python tests/run.py bench $(if $(WRITE),--write)

fuzz: $(READY)
	@.venv/bin/python tests/fuzz.py

check: $(READY)
	@.venv/bin/python tests/run.py fast

lint: $(READY)
	@.venv/bin/python tests/run.py lint

generate: $(READY)
	@.venv/bin/python tools/generate.py

galaxy: $(READY)
	@.venv/bin/python tests/galaxy.py $(if $(WRITE),--write)

sanity: $(READY)
	@.venv/bin/python tests/sanity.py $(if $(WRITE),--write) $(CORES)

matrix: $(READY)
	@.venv/bin/python tests/matrix.py $(if $(WRITE),--write) $(PARTS)

release: $(READY)
	@.venv/bin/python tools/release.py $(VERSION)

$(READY): requirements-dev.txt
	@test -n "$(PYTHON)" || { \
		echo 'Missing: Python 3.11 or newer with its venv module (Debian: apt install python3-venv).'; \
		exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip --quiet --disable-pip-version-check install -r requirements-dev.txt
	@touch $@

clean:
	rm -rf .venv build .hypothesis .mypy_cache .ruff_cache .pytest_cache
