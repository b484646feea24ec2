/* How a program that has just been executed gets the union's dynamic linker in the place of the host's:
 * the supervisor writes this code over the entry of the host's, which is not to run, and struct
 * loader_job LOADER_JOB bytes below the stack's top (tracer/loader.c). The program then begins as the
 * kernel would have begun it, or by way of the code that maps the shim (preload/early.S). The old one
 * is unmapped by the shim, or where the new one has the bytes for it. */
    .set JOB, 16384

    .section .rodata
    .globl loader_code, loader_code_room, loader_code_failed, loader_code_end
    .hidden loader_code, loader_code_room, loader_code_failed, loader_code_end
loader_code:
    lea  -JOB(%rsp), %rbx
    mov  (%rbx), %rdi /* room for all of it */
    mov  8(%rbx), %rsi
    xor  %edx, %edx
    mov  16(%rbx), %r10
    mov  $-1, %r8
    xor  %r9d, %r9d
    mov  $9, %eax /* mmap */
    syscall
    test %rdi, %rdi
    jz   anywhere
    cmp  %rdi, %rax
    jne  loader_code_room
anywhere:
    test %rax, %rax
    js   loader_code_failed
    mov  %rax, %r12
    mov  24(%rbx), %rax /* it is opened */
    mov  $-100, %rdi
    lea  192(%rbx), %rsi
    mov  32(%rbx), %rdx
    mov  40(%rbx), %r10
    xor  %r8d, %r8d
    mov  48(%rbx), %r9
    syscall
    test %eax, %eax
    js   loader_code_failed
    mov  %eax, %r8d
    mov  64(%rbx), %rbp
next_map:
    mov  (%rbp), %rdi
    add  %r12, %rdi
    mov  8(%rbp), %rsi
    mov  16(%rbp), %edx
    mov  20(%rbp), %r10d
    mov  24(%rbp), %r9
    mov  $9, %eax
    syscall
    cmp  %rdi, %rax
    jne  loader_code_failed
    add  $32, %rbp
    decq 56(%rbx)
    jnz  next_map
    mov  %r8d, %edi
    mov  $3, %eax /* close */
    syscall
    cmpb $0, 168(%rbx)
    je   named
    mov  $15, %edi /* the name by which it was started */
    lea  168(%rbx), %rsi
    mov  $157, %eax /* prctl */
    syscall
named:
    cld
    mov  80(%rbx), %rbp
    cmpq $0, 72(%rbx)
    je   whole
next_patch:
    mov  (%rbp), %edi
    add  %r12, %rdi
    mov  4(%rbp), %ecx
    lea  8(%rbp), %rsi
    rep movsb
    add  $24, %rbp
    decq 72(%rbx)
    jnz  next_patch
    mov  88(%rbx), %rdi
    add  %r12, %rdi
    mov  96(%rbx), %rsi
    mov  $5, %edx /* to be read and executed */
    mov  $10, %eax /* mprotect */
    syscall
    test %rax, %rax
    js   loader_code_failed
whole:
    mov  104(%rbx), %rdi /* what lies behind its data in the file is not its */
    add  %r12, %rdi
    mov  112(%rbx), %rcx
    xor  %eax, %eax
    rep stosb
    mov  120(%rbx), %rax /* AT_BASE */
    mov  %r12, (%rax)
    cmpq $0, 136(%rbx)
    jne  with_shim
    mov  128(%rbx), %r11 /* its entry */
    add  %r12, %r11
    mov  %r11, -8(%rsp)
    xor  %edi, %edi
    xor  %esi, %esi
    mov  144(%rbx), %rax /* syscall ; ret */
    test %rax, %rax
    jz   begin
    lea  (%rax, %r12), %r11
    mov  152(%rbx), %rdi
    mov  160(%rbx), %rsi
    mov  $11, %eax /* munmap */
    lea  -8(%rsp), %rsp
begin:
    xor  %ebx, %ebx
    xor  %ecx, %ecx
    xor  %edx, %edx
    xor  %ebp, %ebp
    xor  %r8d, %r8d
    xor  %r9d, %r9d
    xor  %r10d, %r10d
    xor  %r12d, %r12d
    jmp  *%r11
with_shim:
    jmp  *136(%rbx)
loader_code_room: /* the place that was thought of is taken */
    int3
loader_code_failed:
    int3
loader_code_end:

    .section .note.GNU-stack, "", @progbits
