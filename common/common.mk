# common/: freestanding engine, built for the supervisor and (later) for the in-process shim.
COMMON_SRC := $(wildcard common/*.c common/*/*.c)
COMMON_OBJ := $(COMMON_SRC:%.c=$(OBJ)/%.o)
COMMON_LIB := $(OBJ)/common.a

COMMON_CFLAGS := -ffreestanding -fno-stack-protector -fno-builtin -fPIC -fvisibility=hidden \
	-fno-asynchronous-unwind-tables

$(OBJ)/common/%.o: common/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(COMMON_CFLAGS) $(GENERAL_REGS) -c $< -o $@

$(COMMON_LIB): $(COMMON_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

# arm64 compiles everywhere with Debian's cross compiler, so that it cannot rot.
ARM64_OBJ := $(COMMON_SRC:%.c=$(BUILD)/arm64/%.o)
$(BUILD)/arm64/%.o: %.c
	@mkdir -p $(@D)
	aarch64-linux-gnu-gcc $(CPPFLAGS) $(WARNINGS) -O2 -std=gnu11 $(COMMON_CFLAGS) \
		-mgeneral-regs-only -c $< -o $@

.PHONY: arm64
arm64: $(ARM64_OBJ)
