# make bench: what a union costs beside a plain directory, the bare trace floor and other unions.
#   make bench BENCH_QUICK=1                        under two minutes
#   make bench BENCH_WRITE=docs/performance.md      put the table into the documentation
BENCH := $(BUILD)/bench

$(BENCH)/work: tests/bench/work.c
$(BENCH)/measure: tests/bench/measure.c
$(BENCH)/work $(BENCH)/measure:
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -o $@ $<

# The floor stops at the very calls fuss stops at, so it is built from fuss's own filter.
$(BENCH)/floor: tests/bench/floor.c $(OBJ)/tracer/filter.o $(COMMON_LIB)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -o $@ $^ -lseccomp

.PHONY: bench
bench: $(BUILD)/fuss $(BENCH)/work $(BENCH)/measure $(BENCH)/floor
	tests/bench/bench.sh $(BUILD)
