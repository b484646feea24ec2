/* What the compiler calls by itself. */
#include "preload/shim_inside.h"

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

HIDDEN void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
    void *to = dst;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(src), "+c"(n) : : "memory");
    return dst;
}

HIDDEN void *memmove(void *dst, const void *src, size_t n)
{
    u8 *d = dst;
    const u8 *s = src;
    if (d <= s || d >= s + n)
        return memcpy(dst, src, n);
    while (n) {
        n--;
        ((volatile u8 *)d)[n] = s[n];
    }
    return dst;
}

HIDDEN void *memset(void *dst, int byte, size_t n)
{
    void *to = dst;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
    return dst;
}

HIDDEN int memcmp(const void *a, const void *b, size_t n)
{
    const volatile u8 *p = a, *q = b;
    for (size_t i = 0; i < n; i++) {
        if (p[i] != q[i])
            return p[i] < q[i] ? -1 : 1;
    }
    return 0;
}
