# The face of the project: `make help` lists what there is. Quiet; V=1 shows commands.

BUILD ?= build
JOBS ?= $(shell nproc)
PREFIX ?= /usr
SEEDS ?= 1000
TIME ?= 600
Q := $(if $(V),,@)
NINJA := ninja -C $(BUILD) -j$(JOBS) $(if $(V),-v,--quiet)

.DEFAULT_GOAL := build
.PHONY: build demo test tidy format sanitize fuzz bench profile soak install deps help clean guest-test planted

help:
	@echo "make            build everything into $(BUILD)/ (programs in $(BUILD)/bin)"
	@echo "make demo       a local cluster on loopback: a volume, a file system, failures survived (root; KEEP=1 leaves it)"
	@echo "make test       all tests, under 15 minutes on 2 cores"
	@echo "make tidy       style: include direction, lengths, banned words, pages and completions (ALL=1: clang-tidy on all)"
	@echo "make sanitize   clang++ with address and undefined-behaviour sanitizers: build and run the tests"
	@echo "make fuzz       TIME=$(TIME) seconds of search for each fuzz target, with sanitizers (TARGETS=\"NAME...\", KEEP=1 adds to the corpus)"
	@echo "make bench      benchmarks, as ratios to floors of the same run"
	@echo "make profile    instructions per operation by layer, under callgrind (TOP=20: and functions)"
	@echo "make planted    build with planted bugs; each must be found (BUGS=\"NAME...\": only these; KEEP=1: a page)"
	@echo "make soak       SEEDS=$(SEEDS) fresh simulator seeds, then long runs on real processes (FAULTS=60 of links and processes)"
	@echo "make guest-test GUEST=RUNNER  kernel drivers (ublk, NBD) in a virtual machine: tests/system/guest.sh"
	@echo "make install    DESTDIR=, PREFIX=$(PREFIX): programs, units, man pages, completions"
	@echo "make deps       install what is missing from Debian's packages (root)"
	@echo "make format     clang-format on all sources"

deps:
	$(Q)tests/style/deps.sh

build: deps
	$(Q)test -f $(BUILD)/build.ninja || cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
	@echo "building into $(BUILD)/ ..."
	$(Q)$(NINJA)

demo: build
	$(Q)BUILD=$(BUILD) examples/demo.sh

test: build
	$(Q)ctest --test-dir $(BUILD) --output-on-failure -j$(JOBS) --schedule-random --no-tests=error

tidy: deps
	$(Q)BUILD=$(BUILD) ALL=$(ALL) tests/style/tidy.sh

format:
	$(Q)git ls-files '*.cc' '*.h' | xargs clang-format -i

sanitize: deps
	$(Q)test -f $(BUILD)-sanitize/build.ninja || cmake -S . -B $(BUILD)-sanitize -G Ninja -DCMAKE_BUILD_TYPE=Debug \
	  -DCMAKE_CXX_COMPILER=clang++ -DSP_SANITIZE=address,undefined >/dev/null
	@echo "building with clang++ and sanitizers into $(BUILD)-sanitize/ ..."
	$(Q)ninja -C $(BUILD)-sanitize -j$(JOBS) $(if $(V),-v,--quiet)
	$(Q)ctest --test-dir $(BUILD)-sanitize --output-on-failure -j$(JOBS) -L 'unit|model|sim|fuzz' --no-tests=error
	$(Q)$(BUILD)-sanitize/bin/sp-sim --seeds 20 --jobs $(JOBS)

fuzz: deps
	$(Q)test -f $(BUILD)-fuzz/build.ninja || cmake -S . -B $(BUILD)-fuzz -G Ninja -DCMAKE_BUILD_TYPE=Debug \
	  -DCMAKE_CXX_COMPILER=clang++ -DSP_SANITIZE=address,undefined >/dev/null
	@echo "building the fuzz targets with clang++ and sanitizers into $(BUILD)-fuzz/ ..."
	$(Q)ninja -C $(BUILD)-fuzz -j$(JOBS) $(if $(V),-v,--quiet) fuzzers
	$(Q)BUILD=$(BUILD)-fuzz TIME=$(TIME) TARGETS="$(TARGETS)" KEEP=$(KEEP) tests/fuzz/run.sh

profile: build
	$(Q)BUILD=$(BUILD) tests/bench/profile.sh

bench: build
	$(Q)BUILD=$(BUILD) tests/bench/run.sh

planted: deps
	$(Q)test -f $(BUILD)-planted/build.ninja || cmake -S . -B $(BUILD)-planted -G Ninja -DCMAKE_BUILD_TYPE=Release -DSP_PLANTED=ON >/dev/null
	@echo "building with planted bugs into $(BUILD)-planted/ ..."
	$(Q)ninja -C $(BUILD)-planted -j$(JOBS) $(if $(V),-v,--quiet)
	$(Q)BUILD=$(BUILD)-planted BUGS="$(BUGS)" KEEP=$(KEEP) tests/planted/run.sh

soak: build
	$(Q)BUILD=$(BUILD) SEEDS=$(SEEDS) FAULTS=$(FAULTS) tests/system/soak.sh

guest-test: build
	$(Q)BUILD=$(BUILD) GUEST=$(GUEST) tests/system/guest.sh

install: build
	$(Q)DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) BUILD=$(BUILD) tests/style/install.sh

clean:
	$(Q)rm -rf $(BUILD) $(BUILD)-sanitize $(BUILD)-planted $(BUILD)-fuzz
