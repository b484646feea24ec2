/* How a program that has just been executed gets the union's dynamic linker in the place of the host's:
 * the supervisor writes this code over the entry of the host's, which is not to run, and struct
 * loader_job LOADER_JOB bytes below the stack's top (tracer/loader.c). Where the new one has the bytes
 * for it, the old one is unmapped; the program then begins as the kernel would have begun it. */
    .set JOB, 8192

    .section .rodata
    .globl loader_code, loader_code_done, loader_code_failed, loader_code_end
    .hidden loader_code, loader_code_done, loader_code_failed, loader_code_end
loader_code:
    lea  -JOB(%rsp), %rbx
    mov  (%rbx), %rax /* open it */
    mov  $-100, %rdi
    lea  128(%rbx), %rsi
    mov  8(%rbx), %rdx
    mov  16(%rbx), %r10
    xor  %r8d, %r8d
    mov  24(%rbx), %r9
    syscall
    test %eax, %eax
    js   loader_code_failed
    mov  %eax, %r8d
    xor  %edi, %edi /* room for all of it */
    mov  32(%rbx), %rsi
    xor  %edx, %edx
    mov  $0x4022, %r10d /* private, anonymous, no reserve */
    xor  %r9d, %r9d
    mov  $9, %eax
    syscall
    test %rax, %rax
    js   loader_code_failed
    mov  %rax, %r12
    mov  112(%rbx), %rbp
again:
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
    decq 40(%rbx)
    jnz  again
    mov  %r8d, %edi
    mov  $3, %eax /* close */
    syscall
    mov  48(%rbx), %rdi /* what lies behind its data in the file is not its */
    add  %r12, %rdi
    mov  56(%rbx), %rcx
    xor  %eax, %eax
    cld
    rep stosb
    mov  64(%rbx), %rax /* AT_BASE */
    mov  %r12, (%rax)
    add  %r12, 72(%rbx) /* its entry */
    cmpq $0, 80(%rbx)
    jne  loader_code_done
    mov  72(%rbx), %rax
    mov  %rax, -8(%rsp)
    mov  %rax, %r11
    xor  %edi, %edi
    xor  %esi, %esi
    mov  88(%rbx), %rax /* syscall ; ret */
    test %rax, %rax
    jz   begin
    lea  (%rax, %r12), %r11
    mov  96(%rbx), %rdi
    mov  104(%rbx), %rsi
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
loader_code_done: /* the supervisor wants to see it before it begins */
    int3
loader_code_failed:
    int3
loader_code_end:

    .section .note.GNU-stack, "", @progbits
