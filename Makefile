# make demo         builds Foredial and runs it with its own carrier, CRM, campaign and leads
# make test         everything that must be green before a change goes in
# make crash        kill -9 at N moments of a call (100 unless told), each followed by a start and a judgement
# make soak         ten minutes (SOAK_MINUTES) of churn on twenty seats; nothing may be left behind
# make fuzz         N mutated inputs (10 million) from SEED at all that reads bytes; none may break it or take 10 ms
# make bench-click  from the click on Call to the INVITE on the wire, with twenty recorded calls up
# make bench-sip    calls and registrations a CPU-second, with Kamailio as the baseline in the same run
# make bench-pure   the pure hot paths beside what the crates below them cost alone
# make sim-sip      a million (SEEDS) interleavings of calls that cross on a lossy network
#
# The first two say what the machine lacks; as root on Debian they install it.

# Where cargo builds; .ci/run sets it to a folder that outlives the checkout.
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR

# One process a test where cargo-nextest is there; threads of one process where it is not.
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

.NOTPARALLEL:
.PHONY: help demo test needs fmt clippy rust web browser crash soak fuzz bench-click bench-sip bench-pure sim-sip

help:
	@sed -n 's/^# make /make /p' Makefile

demo:
	@scripts/needs demo
	cargo run --release --locked -- demo

test: needs fmt web clippy rust browser

needs:
	@scripts/needs test

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --locked --all-targets -- -D warnings

# Unit tests, simulations on a virtual clock, stories, and few tests on real sockets.
rust:
ifeq ($(NEXTEST),yes)
	cargo nextest run --locked --no-fail-fast
else
	cargo test --locked --no-fail-fast --lib --bins --tests
endif
	cargo test --locked --doc

web: web/node_modules/.package-lock.json
	cd web && npm run --silent check && npm test --silent && npm run --silent build

# The pages in a real browser, against the real daemon.
browser: tests/browser/node_modules/.package-lock.json
	cargo build --locked --bin foredial --example carrier
	cd tests/browser && FOREDIAL_BIN="$(CARGO_TARGET_DIR)/debug/foredial" npm test --silent

# A quarter each: at the click, while it rings, as the customer picks up, in mid-call.
N ?= 100
crash:
	CRASH_ROUNDS=$$(( ($(N) + 3) / 4 )) cargo test --locked --test live_crash -- --nocapture --test-threads 2

soak:
	cargo test --release --locked --test live_churn -- --ignored --nocapture

# SEED is drawn unless given. A finding tells its seed and number, and where its input lies.
fuzz: export N := $(if $(filter command line environment,$(origin N)),$(N),10000000)
fuzz:
	cargo test --release --locked --test fuzz -- --ignored --nocapture

SEEDS ?= 1000000
sim-sip:
	SEEDS=$(SEEDS) cargo test --release --locked --test sim_races whatever -- --nocapture

bench-click:
	cargo bench --locked --bench click

bench-sip:
	cargo build --release --locked --bin foredial
	benches/sip/run "$(CARGO_TARGET_DIR)/release/foredial"

bench-pure:
	cargo bench --locked --bench pure

%/node_modules/.package-lock.json: %/package-lock.json
	cd $* && npm ci --no-audit --no-fund --loglevel=error
	@touch $@
