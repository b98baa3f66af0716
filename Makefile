# SPDX-License-Identifier: Apache-2.0
# One non-recursive Makefile. Folder = layer = static library; a source file is found by being there.
#   make help      what there is to do
#   MODE=debug|release|asan|tsan|cov     objects of each mode live beside each other in build/
#   BUILD=dir      another place for everything that is built     V=1  show the commands

MODE ?= debug
BUILD ?= build
CC ?= gcc
OUT := $(BUILD)/$(MODE)
GEN := $(OUT)/gen
Q := $(if $(V),,@)
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:

CC_IS_CLANG := $(findstring clang,$(shell $(CC) --version 2>/dev/null | head -1))

# ---- flags ------------------------------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes \
        -Wold-style-definition -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wnull-dereference \
        -Wdouble-promotion -Wframe-larger-than=8192
ifeq ($(CC_IS_CLANG),)
WARN += -Warith-conversion -Wcast-align=strict -Walloca -Wduplicated-cond -Wduplicated-branches -Wlogical-op \
        -Wimplicit-fallthrough=5
else
WARN += -Wno-unknown-warning-option -Wno-gnu -Wimplicit-fallthrough
endif
WARN += $(if $(WERROR),-Werror)

HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero \
          -fno-delete-null-pointer-checks
# Control-flow protection exists on x86 only.
ifneq ($(shell uname -m),x86_64)
HARDEN := $(filter-out -fcf-protection=full,$(HARDEN))
endif
LINK_HARDEN := -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code -Wl,--as-needed

MODE_FLAGS_debug := -O1 -g
MODE_FLAGS_release := -O2 -g -D_FORTIFY_SOURCE=3
# The null-dereference and frame-size guesses of gcc are wrong on instrumented code.
MODE_FLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
                   -Wno-null-dereference -Wno-frame-larger-than -Wno-stringop-overflow
MODE_FLAGS_tsan := -O1 -g -fsanitize=thread -fno-omit-frame-pointer -Wno-null-dereference -Wno-frame-larger-than
MODE_FLAGS_cov := -O0 -g --coverage
MODE_FLAGS_fuzz := -O1 -g -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
MODE_FLAGS := $(MODE_FLAGS_$(MODE))
$(if $(MODE_FLAGS),,$(error MODE=$(MODE) is not one of debug release asan tsan cov fuzz))
MODE_LINK := $(filter -fsanitize=% --coverage,$(MODE_FLAGS))

CPPFLAGS_ALL = -I. -isystem $(GEN) -D_GNU_SOURCE $(CPPFLAGS)
CFLAGS_ALL = -std=gnu17 $(MODE_FLAGS) $(if $(filter asan tsan fuzz,$(MODE)),,$(HARDEN)) -fPIE -fvisibility=hidden \
             -MMD -MP $(CFLAGS)
LDFLAGS_ALL = $(MODE_LINK) $(LINK_HARDEN) $(LDFLAGS)

# ---- third-party libraries (mbedTLS, wslay, usrsctp and IPSec_MB ship no pkg-config file) ----------------------------
# Expanded once: each is a process.
pc = $(shell pkg-config --libs $(1) 2>/dev/null || echo $(2))
LIBS_base :=
LIBS_sys := $(call pc,libuv,-luv) -pthread
LIBS_svc := $(call pc,libmicrohttpd,-lmicrohttpd) $(call pc,libcurl,-lcurl) $(call pc,libcares,-lcares) \
           $(call pc,jansson,-ljansson) $(call pc,libconfig,-lconfig) $(call pc,libprotobuf-c,-lprotobuf-c) \
           -lwslay -lmbedcrypto $(call pc,zlib,-lz) $(call pc,yaml-0.1,-lyaml) $(call pc,hiredis,-lhiredis) \
           $(call pc,libssl libcrypto,-lssl -lcrypto)
LIBS_lk := $(call pc,libjwt,-ljwt)
LIBS_app :=
LIBS_wire :=
LIBS_transport := -lmbedtls -lmbedx509 -lmbedcrypto $(call pc,libsrtp2,-lsrtp2) -lusrsctp $(call pc,libcrypto,-lcrypto) \
                 $(if $(wildcard /usr/include/intel-ipsec-mb.h),-lIPSec_MB) -pthread
LIBS_media :=
LIBS_room :=
LIBS_worker :=
LIBS_signal :=
LIBS_sfu :=
LIBS_jwt :=
LIBS_ctl :=
LIBS_support :=

# ---- layers: name, folder, what it is built on -----------------------------------------------------------------------
LAYERS := base sys svc lk app wire transport media room worker signal sfu jwt ctl support
DIR_base := common/base
DIR_sys := common/sys
DIR_svc := common/svc
DIR_lk := common/lk
DIR_app := common/app
DIR_wire := sfu/wire
DIR_transport := sfu/transport
DIR_media := sfu/media
DIR_room := sfu/room sfu/base
DIR_worker := sfu/worker
DIR_signal := sfu/signal
DIR_sfu := sfu
DIR_jwt := jwt-service jwt-service/base jwt-service/openid jwt-service/leave jwt-service/appservice
DIR_ctl := deploy/focictl
DIR_support := tests/support

# Link order: each layer with everything below it, top first.
NEEDS_base := base
NEEDS_sys := sys base
NEEDS_svc := svc sys base
NEEDS_lk := lk svc sys base
NEEDS_app := app lk svc sys base
NEEDS_wire := wire base
NEEDS_transport := transport wire base
NEEDS_media := media wire base
NEEDS_room := room transport media wire lk svc sys base
NEEDS_worker := worker $(NEEDS_room)
NEEDS_signal := signal room $(NEEDS_lk)
NEEDS_sfu := sfu signal worker app $(NEEDS_room)
NEEDS_jwt := jwt app $(NEEDS_lk)
NEEDS_ctl := ctl $(NEEDS_app)
NEEDS_support := support $(NEEDS_room)

src = $(sort $(wildcard $(addsuffix /*.c,$(DIR_$(1)))))
# Files with a main function are not part of a library.
MAINS := sfu/main.c jwt-service/main.c deploy/focictl/main.c tests/support/dev_homeserver.c tests/support/demo_server.c tests/support/fuzz_driver.c \
         $(wildcard tests/support/*_main.c)
obj = $(patsubst %.c,$(OUT)/%.o,$(filter-out $(MAINS),$(call src,$(1))))
GEN_OBJ := $(GEN)/livekit.pb-c.o
lib = $(OUT)/lib/lib$(1).a

# Project libraries in link order, each once (the last mention wins), then their third-party libraries.
uniq_last = $(if $(1),$(call uniq_last,$(filter-out $(lastword $(1)),$(1))) $(lastword $(1)))
ORDER := support sfu signal worker room transport media wire jwt ctl app lk svc sys base
closure = $(filter $(sort $(foreach l,$(1),$(NEEDS_$(l)))),$(ORDER))
ordered = $(foreach o,$(ORDER),$(filter $(o),$(call closure,$(1))))
link_libs = $(foreach l,$(call ordered,$(1)),$(call lib,$(l)))
link_ext = $(foreach l,$(call ordered,$(1)),$(LIBS_$(l)))
# Which layers a program asks for: the comment "// LINK: a b" in its source.
wants = $(or $(shell sed -n 's,^// LINK: *,,p' $(1) | head -1),base)

# ---- targets ---------------------------------------------------------------------------------------------------------
## all: both services and focictl, in build/$(MODE)/
all: sfu jwt-service focictl

## sfu: foci-sfu
sfu: $(OUT)/foci-sfu
## jwt-service: foci-jwt
jwt-service: $(OUT)/foci-jwt
## focictl: what an operator does beside them, such as changing API keys
focictl: $(OUT)/focictl
.PHONY: all sfu jwt-service focictl

$(OUT)/foci-sfu: $(OUT)/sfu/main.o $(foreach l,$(call ordered,sfu),$(call lib,$(l)))
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(call link_ext,sfu) -lm

$(OUT)/foci-jwt: $(OUT)/jwt-service/main.o $(foreach l,$(call ordered,jwt),$(call lib,$(l)))
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(call link_ext,jwt) -lm

$(OUT)/focictl: $(OUT)/deploy/focictl/main.o $(foreach l,$(call ordered,ctl),$(call lib,$(l)))
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(call link_ext,ctl) -lm

# Generated protocol code: its own flags, since protoc-c's output is not held to our warnings.
$(GEN)/livekit.pb-c.c $(GEN)/livekit.pb-c.h &: common/lk/proto/livekit.proto
	@command -v protoc-c >/dev/null || { echo 'what builds need is not installed; "make setup" does it' >&2; exit 1; }
	@mkdir -p $(GEN)
	@echo "  GEN   $(GEN)/livekit.pb-c.c"
	$(Q)protoc-c --proto_path=common/lk/proto --c_out=$(GEN) common/lk/proto/livekit.proto
$(GEN_OBJ): $(GEN)/livekit.pb-c.c
	$(Q)$(CC) -std=gnu17 $(MODE_FLAGS) -w -fPIE -I$(GEN) -c -o $@ $<

define LIB_RULE
$(call lib,$(1)): $(call obj,$(1)) $(if $(filter lk,$(1)),$(GEN_OBJ))
	@mkdir -p $$(@D)
	$$(Q)rm -f $$@ && ar rcsD $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call LIB_RULE,$(l))))

# The generated header is there before anything is compiled.
$(OUT)/%.o: %.c | $(GEN)/livekit.pb-c.h
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CPPFLAGS_ALL) $(WARN) $(CFLAGS_ALL) -c -o $@ $<

# ---- tests -----------------------------------------------------------------------------------------------------------
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
SIM_SRC := $(sort $(wildcard tests/sim/sim_*.c))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
BENCH_SRC := $(sort $(wildcard tests/bench/bench_*.c))
UNIT := $(patsubst %.c,$(OUT)/%,$(UNIT_SRC))
SIM := $(patsubst %.c,$(OUT)/%,$(SIM_SRC))
FUZZ := $(patsubst %.c,$(OUT)/%,$(FUZZ_SRC))
BENCH := $(patsubst %.c,$(OUT)/%,$(BENCH_SRC))

# One program per test file; $(eval) because the libraries depend on the file's LINK comment. A test may name helper
# objects of tests/support with "// SUPPORT: pcap vnet", in as many such lines as it likes.
# What one of them needs itself, it says in the same way.
support_names = $(shell sed -n 's,^// SUPPORT: *,,p' $(1))
support_closure = $(sort $(1) $(call support_names,$(patsubst %,tests/support/%.c,$(1)) /dev/null))
supports = $(patsubst %,$(OUT)/tests/support/%.o,$(call support_closure,$(call support_names,$(1))))
# Tests are small programs on large stacks.
$(OUT)/tests/%.o: WARN += -Wno-frame-larger-than
define TEST_RULE
$(OUT)/$(1:.c=): $(OUT)/$(1:.c=.o) $(call supports,$(1)) $(2) $(call link_libs,$(call wants,$(1)))
	@echo "  LINK  $$@"
	$$(Q)$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $(call link_ext,$(call wants,$(1))) $(3) -lm
endef
$(foreach t,$(UNIT_SRC) $(SIM_SRC),$(eval $(call TEST_RULE,$(t),,-lcmocka)))
$(foreach t,$(BENCH_SRC),$(eval $(call TEST_RULE,$(t))))
ifeq ($(MODE),fuzz)
$(foreach t,$(FUZZ_SRC),$(eval $(call TEST_RULE,$(t),,-fsanitize=fuzzer)))
else
$(foreach t,$(FUZZ_SRC),$(eval $(call TEST_RULE,$(t),$(OUT)/tests/support/fuzz_driver.o)))
endif
# The program of x_main.c is called x.
define TOOL_RULE
$(OUT)/$(1:_main=): $(OUT)/tests/support/$(1).o $(call link_libs,$(call wants,tests/support/$(1).c)) $(call supports,tests/support/$(1).c)
	@echo "  LINK  $$@"
	$$(Q)$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $(call link_libs,$(call wants,tests/support/$(1).c)) $(call link_ext,$(call wants,tests/support/$(1).c)) -lm
endef
TOOLS := $(basename $(notdir $(wildcard $(filter tests/support/%,$(filter-out %fuzz_driver.c,$(MAINS))))))
$(foreach t,$(TOOLS),$(eval $(call TOOL_RULE,$(t))))
tools: $(addprefix $(OUT)/,$(TOOLS:_main=))
.PHONY: tools

-include tests/tests.mk

## clean: remove everything that was built
clean:
	rm -rf $(BUILD)

## help: this list
help:
	@sed -n 's,^## ,  make ,p' $(MAKEFILE_LIST) | sort
.PHONY: clean help

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
