# The differential fuzzer: random operations on kernel overlayfs and under fuss, compared.
#   make fuzz [SEED= OPS= TIME=] [BACKEND= STYLE= USER= LINK= PROCS= MODE= SEEDS= ONLY= SHRINK= SUBJECT=]
#     USER    root, user, or drop (a session of root whose program becomes an ordinary user)
#     MODE    rw, ro (no upper) or over (the mountpoint is the topmost lower)
#     LINK    dynamic, static (glibc) or musl
#     SUBJECT fuss, or what proves the fuzzer: kernel (no difference), fuse or copy (differences)
#   make fuzz-smoke     a short fixed run over all of these
#   make fuzz-selftest  the fuzzer finds nothing where nothing is, and something where it is
#   make differences    docs/differences.md from tests/fuzz/differences.json
FUZZBIN := $(BUILD)/fuzz
FUZZ_SRC := $(wildcard tests/fuzz/*.c)
FUZZ_ACTORS := $(FUZZBIN)/actor $(FUZZBIN)/actor-static $(FUZZBIN)/actor-musl
FUZZ_CFLAGS := -std=gnu11 -O1 -g $(WARNINGS)
FUZZ := python3 tests/fuzz/fuzz.py --build $(FUZZBIN) --fuss $(BUILD)/fuss

$(FUZZBIN)/actor: $(FUZZ_SRC) $(wildcard tests/fuzz/*.h)
	@mkdir -p $(@D)
	$(CC) $(FUZZ_CFLAGS) $(FUZZ_SRC) -o $@
$(FUZZBIN)/actor-static: $(FUZZ_SRC) $(wildcard tests/fuzz/*.h)
	@mkdir -p $(@D)
	$(CC) $(FUZZ_CFLAGS) -static $(FUZZ_SRC) -o $@
$(FUZZBIN)/actor-musl: $(FUZZ_SRC) $(wildcard tests/fuzz/*.h)
	@mkdir -p $(@D)
	musl-gcc $(FUZZ_CFLAGS) -static $(FUZZ_SRC) -o $@

# USER is also what the login shell exports: only the words that mean something here count.
FUZZ_USER := $(filter root user drop,$(if $(filter command line,$(origin USER)),$(USER)))
FUZZ_ARGS = $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) --ops $(or $(OPS),500) \
	--time $(or $(TIME),60) $(if $(BACKEND),--backend $(BACKEND)) $(if $(STYLE),--style $(STYLE)) \
	$(if $(FUZZ_USER),--user $(FUZZ_USER)) $(if $(LINK),--link $(LINK)) \
	$(if $(PROCS),--procs $(PROCS)) $(if $(MODE),--mode $(MODE)) $(if $(ONLY),--only $(ONLY)) \
	$(if $(SHRINK),--shrink $(SHRINK)) $(if $(SUBJECT),--subject $(SUBJECT)) \
	$(if $(KEEP),--keep) $(if $(VERBOSE),--verbose)

.PHONY: fuzz fuzz-smoke fuzz-selftest fuzz-actors differences differences-check
fuzz-actors: $(FUZZ_ACTORS)

fuzz: $(if $(filter-out fuss,$(SUBJECT)),,$(BUILD)/fuss) fuzz-actors
	$(FUZZ) $(FUZZ_ARGS)

# The seeds go round every user, style, linkage, number of processes and mode.
fuzz-smoke: $(BUILD)/fuss fuzz-actors
	$(FUZZ) --seed 1 --seeds 80 --ops 250 --time 60 $(if $(BACKEND),--backend $(BACKEND))

fuzz-selftest: fuzz-actors
	$(FUZZ) --subject kernel --style chardev --seed 1 --seeds 50 --time 120
	! $(FUZZ) --subject copy --style chardev --user root --seed 1 --seeds 3
	! $(FUZZ) --subject fuse --style chardev --user root --seed 1 --seeds 3

differences:
	python3 tests/fuzz/differences.py docs/differences.md

differences-check:
	python3 tests/fuzz/differences.py --check docs/differences.md
