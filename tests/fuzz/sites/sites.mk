# The finder of syscall sites under libFuzzer.
#   make fuzz-sites [TIME=60]   needs Debian's clang; findings are left in $(BUILD)/fuzz/sites/
SITES_FUZZ := $(BUILD)/fuzz/sites
SITES_FUZZ_SRC := tests/fuzz/sites/target.c $(wildcard common/image/*.c)

$(SITES_FUZZ)/target: $(SITES_FUZZ_SRC) $(wildcard common/image/*.h)
	@mkdir -p $(@D)/found
	clang -D_GNU_SOURCE -Icommon -std=gnu11 -O1 -g \
		-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		$(SITES_FUZZ_SRC) -o $@

.PHONY: fuzz-sites
fuzz-sites: $(SITES_FUZZ)/target
	$< -max_total_time=$(or $(TIME),60) -max_len=4096 -timeout=10 -verbosity=1 \
		-print_final_stats=1 -artifact_prefix=$(SITES_FUZZ)/ $(SITES_FUZZ)/found \
		tests/fuzz/sites/corpus
