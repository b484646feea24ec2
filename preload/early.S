/* How a program that has just been executed maps the shim itself, before its first instruction: the
 * supervisor writes this code into unused bytes behind the image's text, struct shim_early below the
 * stack's top, and points the program here. Everything it starts with is as the kernel left it
 * when `entry` is reached. What fails ends at the breakpoint, where the supervisor takes the shim's
 * traces away again (tracer/shimexec.c). */
    .set SLOT, 0x20000
    .set SLOTS_BYTES, 17 * 0x20000

    .section .head, "ax"
    .globl shim_early, shim_early_end
    .hidden shim_early, shim_early_end
shim_early:
    lea  -4096(%rsp), %rbx
    mov  $437, %eax /* openat2 */
    mov  $-100, %rdi
    lea  64(%rbx), %rsi
    lea  40(%rbx), %rdx
    mov  $24, %r10d
    xor  %r8d, %r8d
    mov  32(%rbx), %r9
    syscall
    test %eax, %eax
    js   failed
    mov  %eax, %r8d
    lea  104(%rbx), %rbp
again:
    mov  (%rbp), %rdi
    mov  8(%rbp), %rsi
    mov  16(%rbp), %edx
    mov  20(%rbp), %r10d
    mov  24(%rbp), %r9
    mov  $9, %eax /* mmap */
    syscall
    cmp  %rdi, %rax
    jne  opened
    add  $32, %rbp
    decl 24(%rbx)
    jnz  again
    xor  %edi, %edi
    mov  $SLOTS_BYTES, %esi
    mov  $3, %edx
    mov  $0x4022, %r10d /* private, anonymous, no reserve */
    xor  %r9d, %r9d
    mov  $9, %eax
    syscall
    test %rax, %rax
    js   opened
    mov  8(%rbx), %rbp
    add  $SLOT - 1, %rax
    and  $-SLOT, %rax
    mov  %rax, (%rbp)
    mov  16(%rbx), %rax
    mov  %rax, 16(%rbp)
    xor  %ebp, %ebp
opened:
    mov  %r8d, %edi
    mov  $3, %eax /* close */
    syscall
    test %rbp, %rbp
    jnz  failed
    mov  (%rbx), %rax
    mov  %rax, -8(%rsp)
    xor  %eax, %eax
    xor  %ebx, %ebx
    xor  %ecx, %ecx
    xor  %edx, %edx
    xor  %esi, %esi
    xor  %edi, %edi
    xor  %r8d, %r8d
    xor  %r9d, %r9d
    xor  %r10d, %r10d
    xor  %r11d, %r11d
    jmp  *-8(%rsp)
failed:
    int3
shim_early_end:

    .text
    .globl shim_unload
    .hidden shim_unload
shim_unload: /* by the same struct; the code above may be a part of what is unmapped */
    lea  -4096(%rsp), %rbx
    mov  296(%rbx), %rdi
    mov  304(%rbx), %rsi
    mov  $11, %eax /* munmap */
    syscall
    mov  312(%rbx), %rax
    mov  %rax, -8(%rsp)
    xor  %eax, %eax
    xor  %ebx, %ebx
    xor  %ecx, %ecx
    xor  %esi, %esi
    xor  %edi, %edi
    xor  %r11d, %r11d
    jmp  *-8(%rsp)

    .section .note.GNU-stack, "", @progbits
