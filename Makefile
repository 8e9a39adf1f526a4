# The one door for developers. `make` alone lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build run test check conformance managers vm-test bench man install deb fuzz clean

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
# .cargo/config.toml builds for the host by name, so the artefacts land in target/TRIPLE.
triple := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
release := target/$(triple)/release
# The runtime that conformance, managers and bench run; ours is built first.
RUNTIME ?= $(CURDIR)/target/release/ocicat
ours := $(filter $(CURDIR)/target/release/ocicat,$(RUNTIME))

help: ## this list
	@echo "make TARGET [RUNTIME=/path/to/any/runtime] [PREFIX=/usr/local] [DESTDIR=]"
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

build: ## the release binaries, static and stripped, in target/release
	OCICAT_COMMIT=$$(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown) $(CARGO) build --release --bins
	@mkdir -p target/release
	@for binary in ocicat ocicat-image; do [ ! -f $(release)/$$binary ] || ln -f $(release)/$$binary target/release/$$binary; done

run: ## a first container: installs what is missing, builds, runs, leaves no trace (as root)
	@tests/install-needs
	@$(MAKE) --no-print-directory build
	@tests/first-run

test: ## every test: format, lints, unit, layers, plans, integration as root, fast conformance
	@tests/all

check: ## format, lints, layers: what a commit must pass
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) test --quiet --test layers

conformance: $(if $(ours),build) ## the 58 validation programs of runtime-tools against RUNTIME
	@conformance/runtime-tools/run $(if $(ours),--expected conformance/runtime-tools/expected.tsv) $(RUNTIME)

managers: $(if $(ours),build) ## containerd, podman and the other managers driving RUNTIME (as root, installs them)
	@conformance/managers/run $(RUNTIME)

vm-test: $(if $(ours),build) ## a Debian machine with systemd and cgroup v2, tests inside (as root; builds the machine once)
	@RUNTIME=$(RUNTIME) conformance/vm/run

bench: build ## the speed of ocicat against crun, runc and the kernel's floor
	@benches/run ocicat=$(RUNTIME)

man: ## the manual pages and shell completions, generated from the command line's definition
	$(CARGO) run --quiet --example manual -- man completions

install: build man ## the binaries, manual pages and completions below DESTDIR/PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 target/release/ocicat $(DESTDIR)$(PREFIX)/bin/ocicat
	@[ ! -f target/release/ocicat-image ] || install -vm 755 target/release/ocicat-image $(DESTDIR)$(PREFIX)/bin/ocicat-image
	@for page in man/*.1 man/*.8; do [ ! -f $$page ] || install -vDm 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}; done
	install -vDm 644 completions/ocicat.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/ocicat
	install -vDm 644 completions/_ocicat $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_ocicat
	install -vDm 644 completions/ocicat.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/ocicat.fish

deb: build man ## a Debian package (needs cargo-deb)
	$(CARGO) deb --no-build --target $(triple)

fuzz: ## every fuzz target for a minute (needs cargo-fuzz and a nightly toolchain)
	@for target in $$($(CARGO) +nightly fuzz list); do \
	  mkdir -p fuzz/corpus/$$target; \
	  $(CARGO) +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=60; \
	done

clean: ## everything that was built
	$(CARGO) clean
	rm -rf conformance/runtime-tools/build conformance/managers/build
