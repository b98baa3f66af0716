# SPDX-License-Identifier: Apache-2.0
# What `make check` is made of. Each target runs alone as well; red output names the command that reproduces it.

## test-programs: build all unit and simulation test programs
test-programs: $(UNIT) $(SIM)

## check-unit: unit tests and simulations (MODE=debug)
check-unit: $(UNIT) $(SIM)
	$(Q)tests/support/run_tests.sh "$(MODE)" $^

## fuzz-smoke: every fuzz target over its corpus
fuzz-smoke: $(FUZZ)
	$(Q)tests/support/run_fuzz_corpus.sh "$(MODE)" $^

## lint: the rules of the house (layers, symbols, banned calls, sizes, headers)
lint:
	$(Q)tests/lint/run.sh $(BUILD)

.PHONY: test-programs check-unit fuzz-smoke lint

## e2e: real browsers, Element Call and Synapse against both services (MODE=release); writes build/e2e.json
e2e:
	$(Q)$(MAKE) --no-print-directory MODE=release sfu jwt-service
	$(Q)tests/e2e/run.sh --build-dir $(BUILD)/release
.PHONY: e2e

# ---- benchmark -------------------------------------------------------------------------------------------------------
FLOOR_LIBS := $(call pc,libcrypto,-lcrypto) $(if $(wildcard /usr/include/intel-ipsec-mb.h),-lIPSec_MB)
$(OUT)/floor_forwarder $(OUT)/floor_load: $(OUT)/%: $(OUT)/tests/bench/%.o $(OUT)/tests/bench/floor_gcm.o
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(FLOOR_LIBS)

# Its own wrappers must not become the compiler's idea of malloc.
$(OUT)/malloc_count.so: tests/bench/malloc_count.c
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(CPPFLAGS_ALL) $(WARN) $(CFLAGS_ALL) -fPIC -fno-builtin -fvisibility=default -shared -o $@ $<

## bench: foci-sfu and the floor forwarder beside each other (MODE=release); writes build/bench.json, judges nothing
bench:
	@tests/support/setup.sh build bench
	$(Q)$(MAKE) --no-print-directory -j2 MODE=release bench-programs
	$(Q)python3 tests/bench/run_bench.py $(BUILD)/release $(BUILD)/bench.json
bench-programs: $(addprefix $(OUT)/,foci-sfu loadgen floor_forwarder floor_load malloc_count.so)
.PHONY: bench bench-programs

## check-jwt: foci-jwt from outside, against stand-ins for homeserver, SFU and name server
check-jwt: $(OUT)/foci-jwt $(OUT)/dev_homeserver
	$(Q)tests/blackbox/test_jwt.py $^
.PHONY: check-jwt

# ---- demo ------------------------------------------------------------------------------------------------------------
DEMO_MODULES := tests/support/demo/node_modules/.package-lock.json
$(DEMO_MODULES): tests/support/demo/package-lock.json
	@echo "  NPM   $(@D)"
	$(Q)cd tests/support/demo && npm ci --silent
	@touch $@

## demo: a call to try on this machine, set-up included; ONCE=1 ends after its self-check
demo:
	@tests/support/setup.sh build demo
	$(Q)$(MAKE) --no-print-directory -j2 MODE=release sfu jwt-service tools $(DEMO_MODULES)
	@exec tests/support/demo.sh $(BUILD)/release $(if $(ONCE),--once)
.PHONY: demo
