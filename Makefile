# The one door for developers. `make` alone lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build run test check conformance managers bench bench-images docs man install uninstall contrib deb package fuzz clean vm-test

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
# .cargo/config.toml builds for the host by name, so the artefacts land in target/TRIPLE.
triple := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
release := target/$(triple)/release
# Pinned: what `make deb` installs when it is missing.
cargo_deb := 3.8.0
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

managers: $(if $(ours),build) ## containerd, pods, Docker, podman and buildah driving RUNTIME (as root, installs them)
	@conformance/managers/run $(RUNTIME)

vm-test: $(if $(ours),build) ## a Debian machine with systemd and cgroup v2, tests inside (as root; builds the machine once)
	@RUNTIME=$(RUNTIME) conformance/vm/run

bench: build ## the speed of ocicat against crun, runc and the kernel's floor
	@benches/run ocicat=$(RUNTIME)

bench-images: build ## ocicat-image against containerd and skopeo with umoci, from a registry on loopback (ROUNDS=N, 5)
	@benches/images $(if $(ROUNDS),-n $(ROUNDS)) $(CURDIR)/target/release/ocicat-image

docs: ## docs/conformance.md, generated from the tables of rules, fields and validation programs
	$(CARGO) run --quiet --example conformance -- docs/conformance.md

man: ## the manual pages and shell completions, generated from the command line's definition
	$(CARGO) run --quiet --example manual -- man completions

install: build man contrib ## binaries, manual pages, completions, contrib and docs below DESTDIR/PREFIX
	install -vDm 755 -t $(DESTDIR)$(PREFIX)/bin target/release/ocicat target/release/ocicat-image
	install -Dm 644 -t $(DESTDIR)$(PREFIX)/share/man/man8 man/*.8
	@for program in ocicat ocicat-image; do \
	  install -vDm 644 completions/$$program.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$program; \
	  install -vDm 644 completions/_$$program $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_$$program; \
	  install -vDm 644 completions/$$program.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/$$program.fish; \
	done
	install -Dm 644 -t $(DESTDIR)$(PREFIX)/share/doc/ocicat README.md CHANGELOG.md SECURITY.md LICENSE
	install -Dm 644 -t $(DESTDIR)$(PREFIX)/share/doc/ocicat/docs docs/*.md
	cp -rT --no-preserve=mode,ownership target/contrib $(DESTDIR)$(PREFIX)/share/doc/ocicat/contrib

uninstall: ## what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/ocicat{,-image} $(DESTDIR)$(PREFIX)/share/man/man8/ocicat{,-*}.8
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/ocicat{,-image}
	rm -f $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_ocicat{,-image}
	rm -f $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/ocicat{,-image}.fish
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/ocicat

# The configurations for managers, with the path that this installation has.
contrib:
	@rm -rf target/contrib && mkdir -p target && cp -r contrib target/contrib
	@grep -rl /usr/local/bin/ocicat target/contrib | xargs sed -i 's|/usr/local/bin/ocicat|$(PREFIX)/bin/ocicat|g'

deb: PREFIX := /usr
deb: build man contrib ## a Debian package in target/debian; cargo-deb is installed into target when it is missing
	@command -v target/tools/bin/cargo-deb >/dev/null || (root=$$PWD/target/tools; cd / && $(CARGO) install cargo-deb --version $(cargo_deb) --locked --root $$root)
	target/tools/bin/cargo-deb --no-build --target $(triple) --output target/debian/

package: ## install, uninstall and the Debian package, tried in an empty root (as root)
	@tests/package

fuzz: ## every fuzz target for a minute (installs cargo-fuzz)
	@fuzz/run

clean: ## everything that was built
	$(CARGO) clean
	rm -rf conformance/runtime-tools/build conformance/managers/build
