/* The way into the shim and out of it (common/shim_image.h).
 *
 * On arrival: rax = number, rcx = where the program goes on, arguments as for a system call, rsp the
 * program's, which is neither used nor trusted. Only rcx and r11 may differ afterwards, as after a
 * system call. The labels in the head tell the supervisor, at a signal's stop, how far a thread has
 * come: it undoes the call, and the program says it again by the site's own `syscall`. */
    .set SLOT, 0x20000
    .set SAVE, 0x20000 - 256
    .set SLOT_SHIFT, 17
    .set SLOTS_SHIFT, 28 /* 16 slots */

/* The program's registers, but for rax and rsp, out of the slot. */
    .macro put_back
    mov  24(%r11), %rdi
    mov  32(%r11), %rsi
    mov  40(%r11), %rdx
    mov  48(%r11), %r10
    mov  56(%r11), %r8
    mov  64(%r11), %r9
    mov  72(%r11), %rcx
    mov  80(%r11), %rbx
    mov  88(%r11), %rbp
    mov  96(%r11), %r12
    mov  104(%r11), %r13
    mov  112(%r11), %r14
    mov  120(%r11), %r15
    .endm

    .section .head, "ax"
    .globl shim_head
    .hidden shim_head
shim_head:
    .quad 0x6d68732d73737566
shim_cookie:
    .quad 0xc00c1ec00c1ec00c
    .long shim_text_end - shim_head
    .long shim_stubs - shim_head, shim_entry - shim_head
    .long at_tested - shim_head, at_claimed - shim_head, at_saved - shim_head
    .long at_last - shim_head, at_last_end - shim_head, at_finish - shim_head, at_finish_r11 - shim_head, at_freed - shim_head
    .long at_leave - shim_head, at_leave_r11 - shim_head, at_left - shim_head
    .long at_full - shim_head, at_end - shim_head
    .long shim_shared - shim_head, shim_own - shim_head, shim_all_end - shim_head
    .long shim_early - shim_head, shim_early_end - shim_head, shim_unload - shim_head
    .long shim_scratch - shim_head

    .text
    .globl shim_entry
    .hidden shim_entry
    .p2align 6
shim_entry:
    mov  %rsp, %r11 /* threads have stacks of their own, of equal sizes mostly */
    shr  $16, %r11
    imul $0x9e3779b1, %r11d, %r11d
    shr  $SLOTS_SHIFT, %r11d
    shl  $SLOT_SHIFT, %r11
    add  shim_own(%rip), %r11
    lock btsq $0, SAVE(%r11)
at_tested: /* held where the carry is clear */
    jc   at_full
at_claimed:
    mov  %rsp, SAVE+8(%r11)
    mov  %rax, SAVE+16(%r11)
    mov  %rdi, SAVE+24(%r11)
    mov  %rsi, SAVE+32(%r11)
    mov  %rdx, SAVE+40(%r11)
    mov  %r10, SAVE+48(%r11)
    mov  %r8, SAVE+56(%r11)
    mov  %r9, SAVE+64(%r11)
    mov  %rcx, SAVE+72(%r11)
    mov  %rbx, SAVE+80(%r11)
    mov  %rbp, SAVE+88(%r11)
    mov  %r12, SAVE+96(%r11)
    mov  %r13, SAVE+104(%r11)
    mov  %r14, SAVE+112(%r11)
    mov  %r15, SAVE+120(%r11)
    movq $0, SAVE+184(%r11)
    movq $0, SAVE+192(%r11)
    lea  SAVE(%r11), %rsp
at_saved: /* from here on rsp is in the slot */
    mov  %rsp, %rbx
    mov  %rsp, %rdi
    cld
    call shim_handle
    cmp  $1, %eax
    je   at_leave
    cmp  $2, %eax
    je   pass
    ja   last
    mov  128(%rbx), %rax
    jmp  at_finish
missing:
    cmp  $-2, %rax /* ENOENT */
    jne  at_leave
    cmpq $0, 208(%rbx)
    je   at_leave
    jmp  at_finish
last: /* the one thing that stays: only its failure may be made undone */
    mov  136(%rbx), %rax
    mov  144(%rbx), %rdi
    mov  152(%rbx), %rsi
    mov  160(%rbx), %rdx
    mov  168(%rbx), %r10
    xor  %r8d, %r8d
    mov  shim_cookie(%rip), %r9
    syscall
at_last: /* rax is the result, or an error */
    test %rax, %rax
    js   missing
    mov  %rax, 128(%rbx)
    movq $1, 184(%rbx)
at_last_end: /* the result is in the slot */
    mov  %rbx, %rdi
    call shim_done
    mov  128(%rbx), %rax
    jmp  at_finish
pass: /* the kernel makes the call as said */
    mov  16(%rbx), %rax
    mov  24(%rbx), %rdi
    mov  32(%rbx), %rsi
    mov  40(%rbx), %rdx
    mov  48(%rbx), %r10
    mov  56(%rbx), %r8
    mov  shim_cookie(%rip), %r9
    syscall
    xor  %r9d, %r9d
at_finish: /* rax is the result */
    mov  %rbx, %r11
at_finish_r11:
    put_back
    mov  8(%r11), %rsp
    movq $0, (%r11)
at_freed:
    jmp  *%rcx

at_leave: /* the supervisor is to do it */
    mov  %rbx, %r11
at_leave_r11:
    mov  16(%r11), %rax
    put_back
    sub  $2, %rcx
    mov  8(%r11), %rsp
    movq $0, (%r11)
at_left:
    jmp  *%rcx

at_full: /* no slot: nothing was touched */
    sub  $2, %rcx
    jmp  at_left
at_end:

/* Does not return: this call is the supervisor's. A directory goes back to where it was. */
    .globl shim_unable
    .hidden shim_unable
shim_unable:
    mov  %rsp, %rbx
    or   $SLOT-1, %rbx
    sub  $255, %rbx
    mov  %rbx, %rsp
    mov  192(%rbx), %rdi
    test %rdi, %rdi
    jz   at_leave
    dec  %rdi
    mov  200(%rbx), %rsi
    xor  %edx, %edx
    mov  $8, %eax /* lseek */
    syscall
    jmp  at_leave

/* long shim_gate(long nr, long a, long b, long c, long d, long e): past the filter. */
    .globl shim_gate
    .hidden shim_gate
shim_gate:
    mov  %rdi, %rax
    mov  %rsi, %rdi
    mov  %rdx, %rsi
    mov  %rcx, %rdx
    mov  %r8, %r10
    mov  %r9, %r8
    mov  shim_cookie(%rip), %r9
    syscall
    xor  %r9d, %r9d
    ret

    .section .stubs, "ax"
    .p2align 12
    .globl shim_stubs
    .hidden shim_stubs
shim_stubs:
    .fill 4 * 4096, 1, 0xcc

/* The supervisor's: arguments that it has rewritten. */
    .section .scratch, "a"
    .p2align 12
    .globl shim_scratch
    .hidden shim_scratch
shim_scratch:
    .fill 16384, 1, 0

    .section .note.GNU-stack, "", @progbits
