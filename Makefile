# Two commands do everything on a fresh Debian 12: `make run` and `make test`. Both set up first what is missing.

# The machine's first python3 may not be Debian's own, which alone sees Debian's python3-systemd, -dbus and -gi.
PYTHON := /usr/bin/python3
BIN := .venv/bin
# Boots throwaway systems for test-system; not a part of this repository.
SYSBOX ?= ../shared/tools/sysbox
# systemd-python and dbus-python have no wheels: Debian's packages. busctl (systemd) and gdbus (libglib2.0-bin) are callers.
# rst2man (docutils) and man are for the manual pages. uvloop is optional: ocibridge uses it where it is there.
PACKAGES := python3 python3-venv python3-systemd python3-uvloop python3-dbus python3-gi python3-docutils dbus libglib2.0-bin systemd man-db
BENCH_PACKAGES := gcc libc6-dev pkg-config libsystemd-dev python3-matplotlib
DEB_PACKAGES := debhelper dh-python dpkg-dev lintian git

.PHONY: run test test-system test-package install deb deb-tools setup lint types unit stateful bus daemon robustness bench bench-tools soak lock clean

run: setup
	@$(BIN)/python -m tests.fake_dobby.run

test: lint types unit stateful bus daemon robustness

# A real systemd, system bus and journal, in boxes, and the package: as root.
test-system: setup deb-tools
	@if test -x "$(SYSBOX)"; then \
	    SYSBOX="$(abspath $(SYSBOX))" $(BIN)/python -m pytest tests/system; \
	else \
	    echo "tests/system: NOT RUN: there is no sysbox at $(SYSBOX) (set SYSBOX): units, policy and journal are untested"; \
	fi

test-package: setup deb-tools
	$(BIN)/python -m pytest tests/package

# build/ocibridge_VERSION_ARCHITECTURE.deb
deb: setup deb-tools
	tools/make-deb

deb-tools:
	@tools/install-packages $(DEB_PACKAGES)

# Without a package, on this system or below DESTDIR; as root.
install: setup
	DESTDIR="$(DESTDIR)" tools/install

setup: .venv/.ready

.venv/.ready: pyproject.toml requirements.lock Makefile
	@tools/install-packages $(PACKAGES)
	@test -x $(BIN)/python || $(PYTHON) -m venv --system-site-packages .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes --only-binary :all: --no-binary python-dbusmock -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --editable .
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

unit stateful bus daemon robustness: setup
	$(BIN)/python -m pytest tests/$@

# For long: how many seconds the random machine plays, and the hostile world lasts (figures: build/soak.json); how often Dobby dies under load.
SECONDS := 1800
DEATHS := 5000

soak: setup
	OCIBRIDGE_SOAK_SECONDS=$(SECONDS) $(BIN)/python -m pytest tests/stateful tests/robustness/test_soak.py
	OCIBRIDGE_DEATHS=$(DEATHS) $(BIN)/python -m pytest tests/bus/test_observer.py

# What ocibridge costs beside the floor: benchmarks/results.md, .png, .json. BENCH="--rounds 2 --calls 1000 …" for a short look.
bench: setup bench-tools
	$(BIN)/python -m benchmarks $(BENCH)

bench-tools:
	@tools/install-packages $(BENCH_PACKAGES)

lock:
	tools/lock-requirements

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
