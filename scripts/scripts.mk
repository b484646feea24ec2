# Checks, setup, demo.
.PHONY: check tidy setup demo format
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

format:
	find common image tracer preload tests -name '*.[ch]' 2>/dev/null | xargs clang-format -i
