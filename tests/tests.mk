# Tests: probes, unit programs, the end-to-end matrix, checks.
#   make test         unit programs, checks, the pairwise matrix; ends with "N passed, N failed"
#   make test-full    the same with the whole product of backend, style, user and linkage
#   make unit         only the unit programs
#   make index-storm TIME=60  the upper index among processes that are killed
#   make torture TIME=300     kills at random instants, and what is left then
#   make e2e FILE=... only the end-to-end files whose name matches (COMBO=... one combination)
TESTBIN := $(BUILD)/tests
MUSL_CC ?= musl-gcc
PROBE_CFLAGS := -std=gnu11 -O1 -g -Wall -Wextra -Wshadow -Wstrict-prototypes -Wpointer-arith -Wundef \
	-Wvla -Werror -pthread -Itests/programs

PROBE_MULTI := ops_calls ops_query
PROBES := $(filter-out $(PROBE_MULTI),$(patsubst tests/programs/%.c,%,$(wildcard tests/programs/*.c)))
PROBE_H := $(wildcard tests/programs/*.h)

PROBE_BINS := $(PROBES:%=$(TESTBIN)/dynamic/%) $(PROBES:%=$(TESTBIN)/static/%) \
	$(PROBES:%=$(TESTBIN)/musl/%)

# $(1) linkage, $(2) compiler with its flags
define probe_rules
$(TESTBIN)/$(1)/ops: tests/programs/ops.c $(PROBE_MULTI:%=tests/programs/%.c) $(PROBE_H)
	@mkdir -p $$(@D)
	$(2) $(PROBE_CFLAGS) $$(filter %.c,$$^) -o $$@
$(TESTBIN)/$(1)/%: tests/programs/%.c $(PROBE_H)
	@mkdir -p $$(@D)
	$(2) $(PROBE_CFLAGS) $$< -o $$@
endef
$(eval $(call probe_rules,dynamic,$(CC)))
$(eval $(call probe_rules,static,$(CC) -static))
$(eval $(call probe_rules,musl,$(MUSL_CC) -static))

$(TESTBIN)/go/goprobe: tests/programs/go/main.go
	@mkdir -p $(@D)
	cd tests/programs/go && GO111MODULE=off GOFLAGS= CGO_ENABLED=0 \
		GOCACHE=$(abspath $(BUILD))/gocache go build -o $(abspath $@) main.go

# The shell and tools for static linkage: one busybox under the names of all its applets.
$(TESTBIN)/bbin/busybox: /bin/busybox
	@mkdir -p $(@D)
	cp /bin/busybox $@
	$@ --install -s $(abspath $(@D)) 2>/dev/null || $@ --install $(@D)

.PHONY: test-programs
test-programs: $(PROBE_BINS) $(TESTBIN)/image-asan $(TESTBIN)/go/goprobe $(TESTBIN)/bbin/busybox

# ---- unit programs: plain, and once more with the address and undefined-behaviour sanitizers -----
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_BIN := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/unit/%)
UNIT_ASAN := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/unit-asan/%)
SANITIZE := -Wno-format-truncation -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer

$(BUILD)/unit/%: tests/unit/%.c $(wildcard tests/unit/*.h) $(COMMON_LIB)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests/unit $(CFLAGS) $< $(COMMON_LIB) -lcmocka -lseccomp -o $@

COMMON_ASAN := $(COMMON_SRC:%.c=$(BUILD)/asan/%.o)
$(BUILD)/asan/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -std=gnu11 $(WARNINGS) -O1 -g $(SANITIZE) -c $< -o $@

$(BUILD)/asan/common.a: $(COMMON_ASAN)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/unit-asan/%: tests/unit/%.c $(wildcard tests/unit/*.h) $(BUILD)/asan/common.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests/unit -std=gnu11 $(WARNINGS) -O1 -g $(SANITIZE) $< $(BUILD)/asan/common.a \
		-lcmocka -lseccomp -o $@

.PRECIOUS: $(BUILD)/asan/%.o
.PHONY: unit test test-full e2e
unit: $(UNIT_BIN) $(UNIT_ASAN)
	scripts/run-tests.sh --build $(BUILD) --unit

# Packages first, in a make of its own: nothing else can be built before they are there.
test:
	scripts/setup.sh test
	$(MAKE) $(BUILD)/fuss test-programs $(UNIT_BIN) $(UNIT_ASAN)
	scripts/run-tests.sh --build $(BUILD) --unit --checks --e2e

test-full:
	scripts/setup.sh test
	$(MAKE) $(BUILD)/fuss test-programs $(UNIT_BIN) $(UNIT_ASAN)
	scripts/run-tests.sh --build $(BUILD) --unit --checks --e2e --full

# The shared upper index among processes that are killed, for longer than `make test` does.
.PHONY: index-storm
index-storm: $(BUILD)/unit/test_index_storm
	STORM_SECONDS=$(or $(TIME),60) $<

e2e: test-programs
	scripts/run-tests.sh --build $(BUILD) --e2e $(if $(FILE),--file '$(FILE)') \
		$(if $(COMBO),--combo $(COMBO))

-include tests/fuzz/fuzz.mk
-include tests/fuzz/sites/sites.mk
-include tests/torture/torture.mk
-include tests/bench/bench.mk
