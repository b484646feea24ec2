# Checks, setup, demo.
.PHONY: check tidy setup demo format conformance
check: $(COMMON_LIB)
	scripts/run-tests.sh --build $(BUILD) --checks

tidy:
	scripts/check-tidy.sh

setup:
	scripts/setup.sh test

demo:
	scripts/setup.sh demo
	$(MAKE) $(BUILD)/fuss
	scripts/demo.sh $(BUILD)/fuss

# Suites of others, in checkouts that lie outside: PJDFSTEST=DIR (built), UNIONMOUNT=DIR; KERNEL=1 with
# kernel overlayfs beside them.
conformance: $(BUILD)/fuss
	scripts/conformance.sh --fuss $(BUILD)/fuss $(if $(PJDFSTEST),--pjdfstest $(PJDFSTEST)) \
		$(if $(UNIONMOUNT),--unionmount $(UNIONMOUNT)) $(if $(KERNEL),--kernel)

format:
	find common image tracer preload tests -name '*.[ch]' 2>/dev/null | xargs clang-format -i
