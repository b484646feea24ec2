# fuss: run any program and show it a union of directories.
#   make         build/fuss
#   make demo    build, then run the main job on real input
#   make test    everything that must pass
BUILD  ?= build
OBJ    := $(BUILD)/obj
CC     ?= cc
PREFIX ?= /usr/local

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wundef -Wvla -Wimplicit-fallthrough -Werror
CPPFLAGS += -D_GNU_SOURCE -Icommon -I. -MMD -MP
CFLAGS   ?= -O2 -g
CFLAGS   += -std=gnu11 $(WARNINGS)
GENERAL_REGS := -mgeneral-regs-only

.PHONY: all
all: $(BUILD)/fuss

include common/common.mk
-include preload/preload.mk
-include image/image.mk
-include tracer/tracer.mk
-include tests/tests.mk
-include scripts/scripts.mk

.PHONY: install clean
install: $(BUILD)/fuss
	install -D -m 0755 $(BUILD)/fuss $(DESTDIR)$(PREFIX)/bin/fuss

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
