# image/: `fuss image`, a part of build/fuss. Linked statically, and never touched by a session's start.
IMAGE_SRC  := $(wildcard image/*.c)
IMAGE_OBJ  := $(IMAGE_SRC:%.c=$(OBJ)/%.o)
IMAGE_LIBS := -larchive -lzstd -lz -ljansson -lnettle

$(OBJ)/image/%.o: image/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

# The same with the sanitizers, for the hostile archives.
$(BUILD)/tests/image-asan: $(IMAGE_SRC) tests/programs/image/main.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -I. -std=gnu11 $(WARNINGS) -O1 -g $(SANITIZE) $^ $(IMAGE_LIBS) -o $@

# Its unit program is of these files too.
UNIT_OCI := tests/unit/test_oci.c
$(BUILD)/unit/test_oci: $(UNIT_OCI) $(IMAGE_OBJ)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $^ -lcmocka $(IMAGE_LIBS) -o $@

$(BUILD)/unit-asan/test_oci: $(UNIT_OCI) $(IMAGE_SRC)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -std=gnu11 $(WARNINGS) -O1 -g $(SANITIZE) $^ -lcmocka $(IMAGE_LIBS) -o $@
