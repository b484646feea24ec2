/* What the compiler calls by itself. `rep` starts too slowly for what is short here. */
#include "preload/shim_inside.h"

#define SHORT 256

typedef u64 __attribute__((may_alias, aligned(1))) word;

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* Keeps the compiler from making a call of the loop, to the function that it is in. */
static inline void apart(void)
{
    __asm__ volatile("" : : : "memory");
}

HIDDEN void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
    u8 *d = dst;
    const u8 *s = src;
    if (n > SHORT) {
        void *to = dst;
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(src), "+c"(n) : : "memory");
        return dst;
    }
    for (; n >= sizeof(word); n -= sizeof(word), d += sizeof(word), s += sizeof(word)) {
        *(word *)d = *(const word *)s;
        apart();
    }
    for (; n; n--) {
        *d++ = *s++;
        apart();
    }
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
        d[n] = s[n];
        apart();
    }
    return dst;
}

HIDDEN void *memset(void *dst, int byte, size_t n)
{
    u8 *d = dst;
    const u64 all = (u8)byte * 0x0101010101010101u;
    if (n > SHORT) {
        void *to = dst;
        __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
        return dst;
    }
    for (; n >= sizeof(word); n -= sizeof(word), d += sizeof(word)) {
        *(word *)d = all;
        apart();
    }
    for (; n; n--) {
        *d++ = (u8)byte;
        apart();
    }
    return dst;
}

HIDDEN int memcmp(const void *a, const void *b, size_t n)
{
    const u8 *p = a, *q = b;
    size_t i = 0;
    for (; n - i >= sizeof(word) && *(const word *)(p + i) == *(const word *)(q + i);
         i += sizeof(word))
        apart();
    for (; i < n; i++) {
        if (p[i] != q[i])
            return p[i] < q[i] ? -1 : 1;
        apart();
    }
    return 0;
}
