# preload/: the in-process shim, one flat image that build/fuss carries. Its common/ is compiled once
# more: system calls go through the gate.
SHIM_SRC    := $(filter-out common/image/%,$(COMMON_SRC)) $(wildcard preload/*.c)
SHIM_OBJ    := $(SHIM_SRC:%.c=$(OBJ)/shim/%.o) $(patsubst %.S,$(OBJ)/shim/%.o,preload/entry.S preload/early.S)
SHIM_CFLAGS := -DFUSS_SHIM -fcf-protection=none -fno-jump-tables -ffunction-sections -fno-plt -fbuiltin \
	-fno-tree-loop-distribute-patterns

$(OBJ)/shim/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(COMMON_CFLAGS) $(SHIM_CFLAGS) $(GENERAL_REGS) -c $< -o $@

$(OBJ)/shim/preload/%.o: preload/%.S
	@mkdir -p $(@D)
	$(CC) -c $< -o $@

$(BUILD)/shim.elf: $(SHIM_OBJ) preload/shim.ld
	$(LD) -static -pie --no-dynamic-linker --gc-sections -e shim_entry -u shim_head -T preload/shim.ld -o $@ $(SHIM_OBJ)

$(BUILD)/shim.bin: $(BUILD)/shim.elf
	objcopy -O binary -j .text $< $@

$(OBJ)/preload/blob.o: preload/blob.S $(BUILD)/shim.bin
	@mkdir -p $(@D)
	$(CC) -DSHIM_IMAGE='"$(BUILD)/shim.bin"' -c $< -o $@
