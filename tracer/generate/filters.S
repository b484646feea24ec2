/* The filters' programs, carried by build/fuss. */
    .section .rodata
    .globl filter_ready
    .p2align 3
filter_ready:
    .incbin FILTERS
    .section .note.GNU-stack, "", @progbits
