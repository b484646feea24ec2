/* The shim's image, carried by build/fuss. */
    .section .rodata
    .globl shim_image, shim_image_end
    .p2align 12
shim_image:
    .incbin SHIM_IMAGE
shim_image_end:
    .section .note.GNU-stack, "", @progbits
