# tracer/: the supervisor, the program build/fuss. Linked statically: the one file is the whole tool.
TRACER_ARCH  ?= $(shell uname -m | sed s/aarch64/arm64/)
TRACER_SRC   := $(filter-out tracer/regs_%.c,$(wildcard tracer/*.c)) tracer/regs_$(TRACER_ARCH).c
TRACER_OBJ   := $(TRACER_SRC:%.c=$(OBJ)/%.o)
FUSS_VERSION ?= 0.1.0

$(OBJ)/tracer/%.o: tracer/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -DFUSS_VERSION='"$(FUSS_VERSION)"' $(CFLAGS) -c $< -o $@

ifeq ($(TRACER_ARCH),x86_64)
TRACER_OBJ += $(OBJ)/preload/blob.o
endif

$(BUILD)/fuss: $(TRACER_OBJ) $(COMMON_LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -static $(LDFLAGS) -o $@ $(TRACER_OBJ) $(COMMON_LIB) -lseccomp -lyaml

ARM64_OBJ += $(BUILD)/arm64/tracer/regs_arm64.o
