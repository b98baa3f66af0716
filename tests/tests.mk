# SPDX-License-Identifier: Apache-2.0
# What `make check` is made of. Each target runs alone as well; red output names the command that reproduces it.

## setup: install what builds and tests need; demo, check, e2e and bench do that themselves
setup:
	@tests/support/setup.sh build check demo bench

# A simulation is one thread on a virtual clock: the thread sanitizer would only make it 20 times slower.
ifneq ($(MODE),tsan)
CHECKED_SIM := $(SIM)
endif

## test-programs: build all unit and simulation test programs
test-programs: $(UNIT) $(CHECKED_SIM)

# Its calls go through the real server.
$(OUT)/tests/unit/test_call: | $(OUT)/foci-sfu

## check-unit: unit tests and simulations (MODE=debug)
check-unit: $(UNIT) $(CHECKED_SIM)
	$(Q)tests/support/run_tests.sh "$(MODE)" $^

# At how many places; 0: at each.
OOM_SAMPLE ?= 600
## check-oom: a call whose server runs out of memory, each time at another place (check-unit does less; all: OOM_SAMPLE=0)
check-oom: $(OUT)/tests/sim/sim_room_oom
	$(Q)OOM_SAMPLE=$(OOM_SAMPLE) TEST_TIMEOUT=1800 tests/support/run_tests.sh "$(MODE)" $^
.PHONY: check-oom

## fuzz-smoke: every fuzz target over its corpus
fuzz-smoke: $(FUZZ)
	$(Q)tests/support/run_fuzz_corpus.sh "$(MODE)" $^

fuzz-programs: $(FUZZ)

## lint: the rules of the house (layers, symbols, banned calls, sizes, headers, tests, documents)
lint: sfu jwt-service focictl
	$(Q)tests/lint/run.sh $(BUILD)

FORMATTED = $(shell find common sfu jwt-service deploy tests -name '*.[ch]' -not -path '*/node_modules/*' -not -path 'tests/data/*')
## format-check: whether clang-format-14 would change anything
format-check:
	@tests/support/setup.sh format
	@bad=$$(clang-format-14 --dry-run $(FORMATTED) 2>&1 | sed -n 's/^\([^ :]*\):.*clang-format-violations.*/\1/p' | sort -u); \
	[ -z "$$bad" ] || { echo "$$bad" | sed 's/$$/: make format/'; false; }
## format: let clang-format-14 do it
format:
	@tests/support/setup.sh format
	$(Q)clang-format-14 -i $(FORMATTED)

## analyze: cppcheck over the services
analyze:
	@tests/support/setup.sh check
	$(Q)cppcheck --quiet --std=c11 --enable=warning,performance,portability --library=posix --inline-suppr \
	    --error-exitcode=1 -I. -D_GNU_SOURCE '-D__VA_OPT__(...)=__VA_ARGS__' $(CPPCHECK_SUPPRESS) common sfu jwt-service deploy
# Headers of libraries are not given to it and it knows no __VA_OPT__; version 2.10 stumbles over compound literals in
# expressions (internalAstError), and does not see that an array inside of one is filled by the callee (legacyUninitvar).
CPPCHECK_SUPPRESS := --suppress=missingInclude --suppress=missingIncludeSystem --suppress=unknownMacro \
    --suppress=internalAstError --suppress=legacyUninitvar

## check: all tests, set-up included; a sum on the last line (tests/support/check.sh names its parts)
check:
	@tests/support/setup.sh build check demo bench
	@exec tests/support/check.sh $(BUILD)

## check-asan: unit tests, simulations and fuzz corpora with address and undefined-behaviour sanitizers
check-asan:
	$(Q)$(MAKE) --no-print-directory MODE=asan check-unit fuzz-smoke
## check-tsan: unit tests with the thread sanitizer
check-tsan:
	$(Q)$(MAKE) --no-print-directory MODE=tsan check-unit

# How long `make fuzz` goes on.
FUZZ_SECONDS ?= 60
## fuzz: T=stun runs fuzz_stun with libFuzzer for FUZZ_SECONDS, from its corpus; new inputs go to build/fuzz/stun
fuzz:
	$(if $(T),,$(error say which: make fuzz T=stun (tests/fuzz/fuzz_*.c)))
	@tests/support/setup.sh build fuzz
	$(Q)$(MAKE) --no-print-directory CC=clang-14 MODE=fuzz $(BUILD)/fuzz/tests/fuzz/fuzz_$(T)
	@mkdir -p $(BUILD)/fuzz/$(T)
	$(BUILD)/fuzz/tests/fuzz/fuzz_$(T) -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(BUILD)/fuzz/$(T)/ \
	    $(BUILD)/fuzz/$(T) tests/fuzz/corpus/$(T)

.PHONY: setup test-programs check-unit fuzz-smoke fuzz-programs lint format-check format analyze check check-asan check-tsan fuzz

## e2e: real browsers, Element Call and Synapse against both services (MODE=release); writes build/e2e.json
e2e:
	@tests/support/setup.sh build
	$(Q)$(MAKE) --no-print-directory MODE=release all
	$(Q)tests/e2e/run.sh --build-dir $(BUILD)/release
.PHONY: e2e

# ---- benchmark -------------------------------------------------------------------------------------------------------
FLOOR_LIBS := $(call pc,libcrypto,-lcrypto) $(if $(wildcard /usr/include/intel-ipsec-mb.h),-lIPSec_MB)
$(OUT)/floor_forwarder $(OUT)/floor_load: $(OUT)/%: $(OUT)/tests/bench/%.o $(OUT)/tests/bench/floor_gcm.o
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(FLOOR_LIBS)

$(OUT)/floor_dtls: $(OUT)/tests/bench/floor_dtls.o $(foreach l,$(call ordered,transport),$(call lib,$(l)))
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(call link_ext,transport) -lm

# Its own wrappers must not become the compiler's idea of malloc.
$(OUT)/malloc_count.so: tests/bench/malloc_count.c
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(CPPFLAGS_ALL) $(WARN) $(CFLAGS_ALL) -fPIC -fno-builtin -fvisibility=default -shared -o $@ $<

## bench: foci-sfu and the floor forwarder beside each other, joins and crowds (MODE=release); writes build/bench*.json, judges nothing
bench:
	@tests/support/setup.sh build bench
	$(Q)$(MAKE) --no-print-directory -j2 MODE=release bench-programs
	$(Q)python3 tests/bench/run_bench.py $(BUILD)/release $(BUILD)/bench.json
	$(Q)python3 tests/bench/run_bench_rooms.py $(BUILD)/release $(BUILD)/bench_rooms.json
bench-programs: $(addprefix $(OUT)/,foci-sfu loadgen floor_forwarder floor_load floor_dtls malloc_count.so)
.PHONY: bench bench-programs

$(OUT)/jwt_standin $(OUT)/jwt_load: $(OUT)/%: $(OUT)/tests/bench/%.o $(OUT)/tests/support/histogram.o $(call lib,base)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(call pc,libssl libcrypto,-lssl -lcrypto)
$(OUT)/jwt_jobs: $(OUT)/tests/bench/jwt_jobs.o $(foreach l,$(call ordered,jwt),$(call lib,$(l)))
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(call link_ext,jwt) -lm

## bench-jwt: foci-jwt beside stand-ins for homeserver and SFU (MODE=release); writes build/bench_jwt.json, judges nothing
bench-jwt:
	@tests/support/setup.sh build
	$(Q)$(MAKE) --no-print-directory -j2 MODE=release bench-jwt-programs
	$(Q)python3 tests/bench/run_bench_jwt.py $(BUILD)/release $(BUILD)/bench_jwt.json
bench-jwt-programs: $(addprefix $(OUT)/,foci-jwt jwt_standin jwt_load jwt_jobs)
.PHONY: bench-jwt bench-jwt-programs

## check-jwt: foci-jwt from outside, by the sections of its specification (tests/blackbox/run_jwt.py runs parts)
check-jwt: $(OUT)/foci-jwt $(OUT)/dev_homeserver | $(OUT)/foci-sfu $(OUT)/focictl
	$(Q)tests/blackbox/run_jwt.py $^
.PHONY: check-jwt

## check-webhooks: foci-sfu's events, at receivers that check every signature
check-webhooks: $(OUT)/foci-sfu $(OUT)/test_client
	$(Q)tests/blackbox/test_sfu_webhooks.py $^
.PHONY: check-webhooks

## check-api: foci-sfu's server API from outside, against what a LiveKit server answered
check-api: $(OUT)/foci-sfu
	$(Q)tests/blackbox/test_sfu_api.py $^
.PHONY: check-api

## check-replay: recorded sessions played again, answers compared with those of a LiveKit server
check-replay: $(OUT)/room_replay $(OUT)/foci-sfu
	$(Q)tests/conformance/replay.py $< --server=$(OUT)/foci-sfu
.PHONY: check-replay

## check-resume: clients of foci-sfu that come back, and its end
check-resume: $(OUT)/foci-sfu
	$(Q)tests/blackbox/test_sfu_resume.py $^
.PHONY: check-resume

## check-hostile: bad clients at foci-sfu, and how little a call beside them notices
check-hostile: $(OUT)/foci-sfu $(OUT)/loadgen
	$(Q)tests/blackbox/test_sfu_hostile.py $^
.PHONY: check-hostile

# ---- demo ------------------------------------------------------------------------------------------------------------
DEMO_MODULES := tests/support/demo/node_modules/.package-lock.json
$(DEMO_MODULES): tests/support/demo/package-lock.json
	@echo "  NPM   $(@D)"
	$(Q)cd tests/support/demo && npm ci --silent
	@touch $@

## demo: a call to try on this machine, set-up included; ONCE=1 ends after its self-check
demo:
	@tests/support/setup.sh build demo
	$(Q)$(MAKE) --no-print-directory $(if $(V),,-s) -j2 MODE=release sfu jwt-service tools $(DEMO_MODULES)
	@exec tests/support/demo.sh $(BUILD)/release $(if $(ONCE),--once)
.PHONY: demo
