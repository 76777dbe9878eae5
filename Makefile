# A thin face over meson and scripts/. `make run` and `make test` install what is missing.
.DEFAULT_GOAL := build
.PHONY: run test build install bench overload fuzz corpora differential slow ops image package lint format clean

run: build
	@scripts/run $(ARGS)

build:
	@scripts/install build
	@scripts/build build

test:
	@scripts/install build test
	@scripts/test

install: build
	meson install -C build

bench: build
	@scripts/install build test
	/usr/bin/python3 tests/bench/bench.py

# Who gets how much of an upstream that throttles; ARGS as tests/sim/overload/overload.c has them.
overload:
	@scripts/install build
	@scripts/overload $(ARGS)

# FUZZ_SECONDS=30 for each target.
fuzz:
	@scripts/install build fuzz
	@scripts/fuzz

# Raw requests; FOLDERS of files, or the project's own table.
corpora: build
	ANDIRON=build/andiron /usr/bin/python3 tests/corpora/run $(FOLDERS)

# The same bytes to HAProxy and nginx.
differential: build
	@scripts/install proxies
	ANDIRON=build/andiron /usr/bin/python3 tests/corpora/differential $(FOLDERS)

# Thousands of slow clients; ARGS as tests/slow/run has them.
slow: build
	@scripts/install slow
	ANDIRON=build/andiron /usr/bin/python3 tests/slow/run $(ARGS)

# As root: the container, the units under a real systemd, the Debian package.
ops: build
	@scripts/install build test ops package
	ANDIRON=build/andiron /usr/bin/python3 -m unittest discover -v -s tests/ops

# The container image, of this machine's libraries; docs/containers.md has the other way.
image: build
	@scripts/install ops
	@scripts/image $(ARGS)

# The Debian package, into build-package/.
package:
	@scripts/install build package
	@scripts/package

lint:
	@scripts/install build test
	@scripts/lint

format:
	clang-format -i src/*.c src/*/*.[ch] tests/unit/*.[ch] tests/sim/*.[ch] tests/sim/overload/*.[ch] tests/fuzz/*.[ch] tests/bench/*.c docs/man/*.c

clean:
	rm -rf build build-*
