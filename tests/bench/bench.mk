# make bench: what a union costs beside a plain directory, the bare trace floor and other unions.
#   make bench BENCH_QUICK=1                        a few minutes
#   make bench BENCH_ROWS='stat find'               only these rows
#   make bench BENCH_WRITE=docs/performance.md      put the table into the documentation
BENCH := $(BUILD)/bench
BENCH_TOOLS := $(addprefix $(BENCH)/,work work-static work-musl measure floor statloop)

$(BENCH)/work $(BENCH)/work-static $(BENCH)/work-musl: tests/bench/work.c
$(BENCH)/measure: tests/bench/measure.c
$(BENCH)/work-static: LDFLAGS += -static
$(BENCH)/work $(BENCH)/measure $(BENCH)/work-static:
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

$(BENCH)/work-musl:
	@mkdir -p $(@D)
	$(MUSL_CC) -D_GNU_SOURCE $(CFLAGS) -static -o $@ $<

$(BENCH)/statloop: tests/bench/statloop.go
	@mkdir -p $(@D)
	cd tests/bench && GO111MODULE=off GOFLAGS= CGO_ENABLED=0 \
		GOCACHE=$(abspath $(BUILD))/gocache go build -o $(abspath $@) statloop.go

# The floor stops at the very calls fuss stops at, so it is built from fuss's own filter.
$(BENCH)/floor: tests/bench/floor.c $(OBJ)/tracer/filter.o $(COMMON_LIB)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -o $@ $^ -lseccomp

# Packages first: some tools cannot be built before they are there.
.PHONY: bench bench-tools
bench-tools: $(BUILD)/fuss $(BENCH_TOOLS)
bench:
	scripts/setup.sh bench
	$(MAKE) bench-tools
	tests/bench/bench.sh $(BUILD)
