/* The tar format (POSIX.1-2017, pax: "ustar Interchange Format" and "pax Header Block"). Nothing of
 * the time, the place or the version of a library goes into it: the same tree gives the same bytes.
 */
#include "image/tar.h"
#include "image/image.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512, NAME = 100, ID_MAX = 07777777 };
static const uint64_t octal11 = 077777777777; /* the largest number in eleven octal digits */

struct ustar {
    char name[NAME], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[NAME];
    char magic[6], version[2], uname[32], gname[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct ustar) == BLOCK, "a header is a block");

void tar_pax_add(struct tar_pax *p, const char *key, const void *value, size_t len)
{
    size_t body = 1 + strlen(key) + 1 + len + 1, total = body, was;
    char digits[24];
    do { /* the length counts its own digits */
        was = total;
        total = body + (size_t)snprintf(digits, sizeof(digits), "%zu", was);
    } while (total != was);
    if (!p->text || p->len + total + 1 > p->size) {
        p->size = 2 * (p->len + total) + 256;
        p->text = realloc(p->text, p->size);
        if (!p->text)
            image_fail("out of memory");
    }
    p->len += (size_t)snprintf(p->text + p->len, total, "%zu %s=", total, key);
    memcpy(p->text + p->len, value, len);
    p->len += len;
    p->text[p->len++] = '\n';
}

void tar_pax_free(struct tar_pax *p)
{
    free(p->text);
    memset(p, 0, sizeof(*p));
}

static void octal(char *field, size_t size, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof(text), "%0*llo", (int)size - 1, (unsigned long long)value);
    memcpy(field, text, size - 1);
}

static bool plain(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s >= 127 || (unsigned char)*s < ' ')
            return false;
    return true;
}

/* A field of NAME bytes, which may be full; what does not fit is said by a record. */
static void text_field(char *field, const char *key, const char *value, struct tar_pax *pax)
{
    size_t len = strlen(value);
    if (len > NAME || !plain(value))
        tar_pax_add(pax, key, value, len);
    memcpy(field, value, len > NAME ? NAME : len);
}

static void number_field(char *field, size_t size, const char *key, uint64_t value, uint64_t max,
                         struct tar_pax *pax)
{
    char text[24];
    if (value > max) {
        int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
        tar_pax_add(pax, key, text, (size_t)n);
        value = 0;
    }
    octal(field, size, value);
}

static void time_field(char *field, const struct timespec *t, struct tar_pax *pax)
{
    char text[48];
    long long seconds = t->tv_sec;
    unsigned long nanos = (unsigned long)t->tv_nsec;
    bool fits = seconds >= 0 && (uint64_t)seconds <= octal11;
    octal(field, 12, fits ? (uint64_t)seconds : 0);
    if (fits && !nanos)
        return;
    /* Before 1970 the fraction counts the other way: -1.5 is -2 s and 500,000,000 ns. */
    bool below = seconds < 0 && nanos;
    if (below) {
        seconds++;
        nanos = 1000000000 - nanos;
    }
    int n = snprintf(text, sizeof(text), "%s%lld", below && !seconds ? "-" : "", seconds);
    if (nanos) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, ".%09lu", nanos);
        while (text[n - 1] == '0')
            n--;
    }
    tar_pax_add(pax, "mtime", text, (size_t)n);
}

static void put_block(const struct tar_sink *to, struct ustar *h)
{
    unsigned sum = 0;
    memcpy(h->magic, "ustar", 6);
    memcpy(h->version, "00", 2);
    memset(h->sum, ' ', sizeof(h->sum));
    for (size_t i = 0; i < BLOCK; i++)
        sum += ((const unsigned char *)h)[i];
    octal(h->sum, 7, sum);
    h->sum[6] = 0;
    to->put(to->ctx, h, BLOCK);
}

void tar_fill(const struct tar_sink *to, uint64_t size)
{
    static const char zeros[BLOCK];
    if (size % BLOCK)
        to->put(to->ctx, zeros, BLOCK - size % BLOCK);
}

static void put_pax(const struct tar_sink *to, const struct tar_pax *pax)
{
    struct ustar h = {.name = "PaxHeaders/entry", .type = 'x'};
    octal(h.mode, 8, 0644);
    octal(h.uid, 8, 0);
    octal(h.gid, 8, 0);
    octal(h.size, 12, pax->len);
    octal(h.mtime, 12, 0);
    octal(h.major, 8, 0);
    octal(h.minor, 8, 0);
    put_block(to, &h);
    to->put(to->ctx, pax->text, pax->len);
    tar_fill(to, pax->len);
}

void tar_header(const struct tar_sink *to, const struct tar_entry *e)
{
    struct ustar h = {.type = e->type};
    struct tar_pax pax = {0};
    text_field(h.name, "path", e->name, &pax);
    if (e->link)
        text_field(h.link, "linkpath", e->link, &pax);
    octal(h.mode, 8, e->mode & 07777);
    number_field(h.uid, 8, "uid", e->uid, ID_MAX, &pax);
    number_field(h.gid, 8, "gid", e->gid, ID_MAX, &pax);
    number_field(h.size, 12, "size", e->size, octal11, &pax);
    time_field(h.mtime, &e->mtime, &pax);
    if (e->major > ID_MAX || e->minor > ID_MAX)
        image_fail("%.300s: a device number is too large for a layer", e->name);
    octal(h.major, 8, e->major);
    octal(h.minor, 8, e->minor);
    if (e->pax && e->pax->len) {
        size_t own = pax.len, all = own + e->pax->len;
        pax.text = realloc(pax.text, all + 1);
        if (!pax.text)
            image_fail("out of memory");
        memcpy(pax.text + own, e->pax->text, e->pax->len);
        pax.len = all;
    }
    if (pax.len)
        put_pax(to, &pax);
    tar_pax_free(&pax);
    put_block(to, &h);
}

void tar_end(const struct tar_sink *to)
{
    static const char zeros[2 * BLOCK];
    to->put(to->ctx, zeros, sizeof(zeros));
}
