# On a fresh Debian 12, `make run` and `make test` set up everything that they need.

# Debian's own Python: only it sees Debian's python3-systemd, python3-dbus and python3-gi.
PYTHON := /usr/bin/python3
BIN := .venv/bin
# Boots throwaway systems for test-system; not a part of this repository.
SYSBOX ?= ../shared/tools/sysbox
# systemd-python and dbus-python have no wheels, so Debian's packages are used. Tests call by
# busctl (systemd) and gdbus (libglib2.0-bin). rst2man (docutils) and man are for the manual pages.
# uvloop is optional: ocibridge uses it where it is installed.
PACKAGES := python3 python3-venv python3-systemd python3-uvloop python3-dbus python3-gi \
    python3-docutils dbus libglib2.0-bin systemd man-db
BENCH_PACKAGES := gcc libc6-dev pkg-config libsystemd-dev python3-matplotlib
DEB_PACKAGES := debhelper dh-python dpkg-dev lintian git
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps

.PHONY: run test test-system test-package install deb deb-tools setup lint types unit stateful \
    bus daemon robustness bench bench-tools soak lock clean

# ocibridge and a fake Dobby on a private bus, to be called from a shell.
run: setup
	@$(BIN)/python -m tests.fake_dobby.run

test: lint types unit stateful bus daemon robustness

# Units, policy, journal and package on booted systems. Needs root.
test-system: setup deb-tools
	@if test -x "$(SYSBOX)"; then \
	    SYSBOX="$(abspath $(SYSBOX))" $(BIN)/python -m pytest tests/system; \
	else \
	    echo "tests/system: NOT RUN: there is no sysbox at $(SYSBOX) (set SYSBOX):" \
	        "units, policy and journal are untested"; \
	fi

test-package: setup deb-tools
	$(BIN)/python -m pytest tests/package

# Builds build/ocibridge_VERSION_ARCHITECTURE.deb.
deb: setup deb-tools
	tools/make-deb

deb-tools:
	@tools/install-packages $(DEB_PACKAGES)

# Installs without a package, on this system or below DESTDIR. Needs root.
install: setup
	DESTDIR="$(DESTDIR)" tools/install

setup: .venv/.ready

.venv/.ready: pyproject.toml requirements.lock Makefile
	@tools/install-packages $(PACKAGES)
	@test -x $(BIN)/python || $(PYTHON) -m venv --system-site-packages .venv
	@$(PIP_INSTALL) --require-hashes --only-binary :all: --no-binary python-dbusmock \
	    -r requirements.lock
	@$(PIP_INSTALL) --editable .
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

unit stateful bus daemon robustness: setup
	$(BIN)/python -m pytest tests/$@

# Long-running variants: seconds that the stateful test and the soak test run (build/soak.json has
# the figures), and how often Dobby is killed under load.
SECONDS := 1800
DEATHS := 5000

soak: setup
	OCIBRIDGE_SOAK_SECONDS=$(SECONDS) $(BIN)/python -m pytest \
	    tests/stateful tests/robustness/test_soak.py
	OCIBRIDGE_DEATHS=$(DEATHS) $(BIN)/python -m pytest tests/bus/test_observer.py

# Compares ocibridge with a minimal forwarder in C: benchmarks/results.md, .png, .json.
# BENCH="--rounds 2 --calls 1000 …" for a short run.
bench: setup bench-tools
	$(BIN)/python -m benchmarks $(BENCH)

bench-tools:
	@tools/install-packages $(BENCH_PACKAGES)

lock:
	tools/lock-requirements

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
