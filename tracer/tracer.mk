# tracer/: the supervisor, the program build/fuss. Linked statically: the one file is the whole tool.
TRACER_ARCH  ?= $(shell uname -m | sed s/aarch64/arm64/)
TRACER_SRC   := $(filter-out tracer/regs_%.c,$(wildcard tracer/*.c)) tracer/regs_$(TRACER_ARCH).c
TRACER_OBJ   := $(TRACER_SRC:%.c=$(OBJ)/%.o)
FUSS_VERSION ?= 0.1.0

$(OBJ)/tracer/%.o: tracer/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -DFUSS_VERSION='"$(FUSS_VERSION)"' $(CFLAGS) -c $< -o $@

$(OBJ)/tracer/%.o: tracer/%.S
	@mkdir -p $(@D)
	$(CC) -c $< -o $@

ifeq ($(TRACER_ARCH),x86_64)
TRACER_OBJ += $(OBJ)/preload/blob.o $(OBJ)/tracer/loader_x86_64.o
endif

# The filters' programs, made here and now where what is built can run.
ifeq ($(TRACER_ARCH),$(shell uname -m | sed s/aarch64/arm64/))
TRACER_OBJ += $(OBJ)/tracer/generate/embedded.o
endif

$(BUILD)/filters: $(OBJ)/tracer/generate/filters.o $(OBJ)/tracer/filter.o $(COMMON_LIB)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lseccomp

$(BUILD)/filters.bin: $(BUILD)/filters
	$< >$@.part
	mv $@.part $@

$(OBJ)/tracer/generate/embedded.o: tracer/generate/filters.S $(BUILD)/filters.bin
	@mkdir -p $(@D)
	$(CC) -DFILTERS='"$(BUILD)/filters.bin"' -c $< -o $@

$(BUILD)/fuss: $(TRACER_OBJ) $(IMAGE_OBJ) $(COMMON_LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -static $(LDFLAGS) -o $@ $(TRACER_OBJ) $(IMAGE_OBJ) $(COMMON_LIB) \
		-lseccomp -lyaml $(IMAGE_LIBS)

ARM64_OBJ += $(BUILD)/arm64/tracer/regs_arm64.o
