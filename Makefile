# A thin face over meson and scripts/. `make run` and `make test` install what is missing.
.PHONY: run test build install bench lint format clean

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

lint:
	@scripts/install build test
	@scripts/lint

format:
	clang-format -i src/*.c src/*/*.[ch] tests/unit/*.[ch] tests/sim/*.[ch]

clean:
	rm -rf build build-*
