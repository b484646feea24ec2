#include "image/decode.h"

/* What follows an opcode; letters, so that tables are text. */
enum form {
    BAD = '.',
    NONE = '-',
    MODRM = 'm',
    IMM8 = 'b',
    IMM16 = 'w',
    IMMZ = 'z', /* 4 bytes, 2 after an operand size prefix */
    REL8 = 'j',
    REL32 = 'J',
    MODRM_IMM8 = 'B',
    MODRM_IMMZ = 'Z',
    SPECIAL = '*', /* one of its kind, see take_form() */
};

static int form_of_one(u8 op)
{
    static const char alu[] = "mmmmbz.."; /* 00 to 3f: eight operations, six forms each */
    static const char from_60[] = "...m....zZbB----"; /* 60 to 6f */
    static const char from_80[] = "BZ.Bmmmm"
                                  "mmmmmmmm"
                                  "--------" /* 90 */
                                  "--.-----"
                                  "****----" /* a0 */
                                  "bz------"
                                  "bbbbbbbb" /* b0 */
                                  "********"
                                  "BBw-..BZ" /* c0 */
                                  "*-w--b.-"
                                  "mmmm...-" /* d0 */
                                  "mmmmmmmm"
                                  "jjjjbbbb" /* e0 */
                                  "JJ.j----"
                                  ".-..--**" /* f0 */
                                  "------mm";
    if (op < 0x40)
        return alu[op & 7];
    if (op < 0x50)
        return BAD; /* REX: a prefix */
    if (op < 0x60)
        return NONE;
    if (op < 0x70)
        return from_60[op & 15];
    return op < 0x80 ? REL8 : from_80[op - 0x80];
}

static int form_of_0f(u8 op)
{
    switch (op) {
    case 0x04:
    case 0x0a:
    case 0x0c:
    case 0x24 ... 0x27:
    case 0x36:
    case 0x39:
    case 0x3b ... 0x3f:
    case 0x7a:
    case 0x7b:
        return BAD;
    case 0x05 ... 0x09:
    case 0x0b:
    case 0x0e:
    case 0x30 ... 0x35:
    case 0x37:
    case 0x77:
    case 0xa0 ... 0xa2:
    case 0xa8 ... 0xaa:
    case 0xc8 ... 0xcf:
        return NONE;
    case 0x0f:
    case 0x70 ... 0x73:
    case 0xa4:
    case 0xac:
    case 0xba:
    case 0xc2:
    case 0xc4 ... 0xc6:
        return MODRM_IMM8;
    case 0x80 ... 0x8f:
        return REL32;
    default:
        return MODRM;
    }
}

struct reader {
    const u8 *p;
    size_t n, at;
};

static bool take(struct reader *r, u8 *byte)
{
    if (r->at >= r->n)
        return false;
    *byte = r->p[r->at++];
    return true;
}

/* An immediate or displacement of `size` bytes, sign-extended; of eight the low half. */
static bool take_value(struct reader *r, unsigned size, int32_t *v)
{
    if (r->n - r->at < size)
        return false;
    const u8 *p = r->p + r->at;
    r->at += size;
    if (size == 1)
        *v = (p[0] ^ 0x80) - 0x80;
    else if (size == 2)
        *v = (int16_t)(p[0] | p[1] << 8);
    else
        *v = (int32_t)((u32)p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24);
    return true;
}

/* The ModRM byte and what it brings: a SIB byte, a displacement. */
static bool take_modrm(struct reader *r, struct insn *i)
{
    u8 sib = 0;
    int32_t skipped;
    if (!take(r, &i->modrm))
        return false;
    i->is |= INSN_HAS_MORM;
    unsigned mod = i->modrm >> 6, rm = i->modrm & 7;
    if (mod == 3 || (i->map == MAP_0F && i->op >= 0x20 && i->op <= 0x23))
        return true; /* moves of control registers have no memory form */
    if (rm == 4 && !take(r, &sib))
        return false;
    if (mod == 0 && rm == 5)
        i->is |= INSN_RIP;
    if (mod == 2 || (mod == 0 && (rm == 5 || (rm == 4 && (sib & 7) == 5))))
        return take_value(r, 4, &skipped);
    return mod == 0 || take_value(r, 1, &skipped);
}

static bool take_form(struct reader *r, struct insn *i, int form, bool word)
{
    int32_t skipped;
    switch (form) {
    case NONE:
        return true;
    case MODRM:
        return take_modrm(r, i);
    case IMM8:
        return take_value(r, 1, &i->imm);
    case IMM16:
        return take_value(r, 2, &i->imm);
    case IMMZ:
        return take_value(r, word ? 2 : 4, &i->imm);
    case REL8:
    case REL32:
        i->is |= INSN_BRANCH;
        return take_value(r, form == REL8 ? 1 : 4, &i->rel);
    case MODRM_IMM8:
        return take_modrm(r, i) && take_value(r, 1, &i->imm);
    case MODRM_IMMZ:
        return take_modrm(r, i) && take_value(r, word ? 2 : 4, &i->imm);
    default:
        break;
    }
    /* SPECIAL */
    switch (i->op) {
    case 0xa0 ... 0xa3: /* an address of eight bytes */
        return take_value(r, 8, &skipped);
    case 0xb8 ... 0xbf:
        return take_value(r, i->rex & 8 ? 8 : word ? 2 : 4, &i->imm);
    case 0xc8:
        return take_value(r, 2, &skipped) && take_value(r, 1, &i->imm);
    case 0xf6:
    case 0xf7: /* test has an immediate, its siblings not */
        if (!take_modrm(r, i))
            return false;
        if (i->modrm >> 3 & 6)
            return true;
        return take_value(r, i->op == 0xf6 ? 1 : word ? 2 : 4, &i->imm);
    default:
        return false;
    }
}

/* VEX (c4, c5), EVEX (62) and XOP (8f): vector instructions and a few for general registers. */
static bool take_vex(struct reader *r, struct insn *i, u8 first)
{
    u8 b[3] = {0};
    unsigned payload = first == 0xc5 ? 1 : first == 0x62 ? 3 : 2;
    for (unsigned k = 0; k < payload; k++)
        if (!take(r, &b[k]))
            return false;
    unsigned map = first == 0xc5 ? 1 : first == 0x62 ? b[0] & 7 : b[0] & 31;
    if (!take(r, &i->op))
        return false;
    i->map = MAP_VEX;
    if (first == 0x8f) {
        if (map < 8 || map > 10)
            return false;
        return take_modrm(r, i) && (map == 9 || take_value(r, map == 8 ? 1 : 4, &i->imm));
    }
    switch (map) {
    case 1:
        if (first != 0x62 && i->op == 0x77) /* vzeroupper */
            return true;
        return take_form(r, i, form_of_0f(i->op) == MODRM_IMM8 ? MODRM_IMM8 : MODRM, false);
    case 2:
        return take_modrm(r, i);
    case 3:
        return take_form(r, i, MODRM_IMM8, false);
    case 5:
    case 6:
        return first == 0x62 && take_modrm(r, i);
    default:
        return false;
    }
}

static bool take_0f(struct reader *r, struct insn *i)
{
    if (!take(r, &i->op))
        return false;
    if (i->op == 0x38 || i->op == 0x3a) {
        i->map = i->op == 0x38 ? MAP_0F38 : MAP_0F3A;
        if (!take(r, &i->op))
            return false;
        return take_form(r, i, i->map == MAP_0F38 ? MODRM : MODRM_IMM8, false);
    }
    i->map = MAP_0F;
    return take_form(r, i, form_of_0f(i->op), false);
}

static u8 nature_of_one(const struct insn *i)
{
    unsigned ext = i->modrm >> 3 & 7;
    switch (i->op) {
    case 0x90:
        return i->rex & 1 ? 0 : INSN_NOP;
    case 0xcc:
        return INSN_NOP | INSN_CONTROL;
    case 0xc3:
        return INSN_RET | INSN_NO_NEXT;
    case 0xe9:
    case 0xeb:
        return INSN_NO_NEXT;
    case 0xc2:
    case 0xca:
    case 0xcb:
    case 0xcf:
    case 0xf4:
        return INSN_CONTROL | INSN_NO_NEXT;
    case 0x9a:
    case 0xcd:
    case 0xf1:
    case 0x6c ... 0x6f: /* ports */
    case 0xe4 ... 0xe7:
    case 0xec ... 0xef:
    case 0xfa:
    case 0xfb:
        return INSN_CONTROL;
    case 0xc6:
    case 0xc7: /* transactions: their operand is a way out */
        return ext == 7 ? INSN_CONTROL : 0;
    case 0xff:
        return ext == 2 || ext == 3   ? INSN_CONTROL
               : ext == 4 || ext == 5 ? INSN_CONTROL | INSN_NO_NEXT
                                      : 0;
    default:
        return 0;
    }
}

static u8 nature_of_0f(const struct insn *i)
{
    switch (i->op) {
    case 0x05:
        return INSN_SYSCALL | INSN_CONTROL;
    case 0x07:
    case 0x0b:
    case 0x35:
    case 0xb9:
    case 0xff:
        return INSN_CONTROL | INSN_NO_NEXT;
    case 0x34:
    case 0x01: /* system instructions, rdpkru and xgetbv among them */
        return INSN_CONTROL;
    case 0x1f:
        return INSN_NOP;
    default:
        return 0;
    }
}

bool insn_decode(const u8 *p, size_t n, struct insn *out)
{
    struct reader r = {p, min_size(n, INSN_MAX), 0};
    struct insn *i = out;
    bool word = false, known;
    u8 b;
    memset(i, 0, sizeof(*i));
    for (;;) {
        if (!take(&r, &b))
            return false;
        if (b == 0x66)
            word = true;
        else if (b != 0x26 && b != 0x2e && b != 0x36 && b != 0x3e && b != 0x64 && b != 0x65 &&
                 b != 0x67 && b != 0xf0 && b != 0xf2 && b != 0xf3)
            break;
    }
    if ((b & 0xf0) == 0x40) { /* counts only directly before the opcode */
        i->rex = b;
        if (i->rex & 8)
            word = false;
        if (!take(&r, &b))
            return false;
    }
    bool vex = b == 0xc4 || b == 0xc5 || b == 0x62 ||
               (b == 0x8f && r.at < r.n && (p[r.at] & 0x38) != 0 && (p[r.at] & 0x1f) >= 8);
    i->op = b;
    if (vex)
        known = i->rex == 0 && take_vex(&r, i, b);
    else if (b == 0x0f)
        known = take_0f(&r, i);
    else
        known = take_form(&r, i, form_of_one(b), word);
    if (!known)
        return false;
    i->length = (u8)r.at;
    if (i->map == MAP_ONE)
        i->is |= nature_of_one(i);
    else if (i->map == MAP_0F)
        i->is |= nature_of_0f(i);
    return true;
}

static unsigned reg_field(const struct insn *i)
{
    return (i->modrm >> 3 & 7) | (i->rex & 4) << 1;
}

static unsigned rm_field(const struct insn *i)
{
    return (i->modrm & 7) | (i->rex & 1) << 3;
}

/* The register in the low bits of the opcode. */
static unsigned op_field(const struct insn *i)
{
    return (i->op & 7) | (i->rex & 1) << 3;
}

/* Operand forms in which the reg field is written. */
static bool writes_reg_field(const struct insn *i)
{
    if (i->map == MAP_ONE) {
        if (i->op < 0x38)
            return (i->op & 2) != 0;
        return i->op == 0x63 || i->op == 0x69 || i->op == 0x6b || i->op == 0x86 || i->op == 0x87 ||
               i->op == 0x8a || i->op == 0x8b || i->op == 0x8d;
    }
    if (i->map == MAP_0F)
        return (i->op >= 0x40 && i->op < 0x50) || i->op == 0xaf || i->op == 0xb6 || i->op == 0xb7 ||
               i->op == 0xb8 || i->op == 0xbc || i->op == 0xbd || i->op == 0xbe || i->op == 0xbf ||
               i->op == 0xc0 || i->op == 0xc1 || i->op == 0x2c || i->op == 0x2d || i->op == 0x50 ||
               i->op == 0xd7;
    return true;
}

/* Operand forms in which a register in the rm field is written. */
static bool writes_rm_field(const struct insn *i)
{
    unsigned ext = i->modrm >> 3 & 7;
    if (i->map == MAP_ONE) {
        if (i->op < 0x38)
            return (i->op & 2) == 0;
        switch (i->op) {
        case 0x38 ... 0x3b:
        case 0x63:
        case 0x69:
        case 0x6b:
        case 0x84:
        case 0x85:
        case 0x8a:
        case 0x8b:
        case 0x8d:
        case 0x8e:
            return false;
        case 0x80 ... 0x83:
            return ext != 7;
        case 0xf6:
        case 0xf7:
            return ext > 1 && ext < 4;
        default:
            return true;
        }
    }
    if (i->map == MAP_0F)
        return (i->op >= 0x90 && i->op < 0xa0) || i->op == 0x7e || i->op == 0xa4 || i->op == 0xa5 ||
               i->op == 0xab || i->op == 0xac || i->op == 0xad || i->op == 0xae || i->op == 0xb0 ||
               i->op == 0xb1 || i->op == 0xb3 || i->op == 0xba || i->op == 0xbb || i->op == 0xc0 ||
               i->op == 0xc1 || i->op == 0xc7;
    return true;
}

/* Registers that an instruction changes without naming them. */
static bool writes_unnamed(const struct insn *i, unsigned reg)
{
    unsigned ext = i->modrm >> 3 & 7;
    bool low = reg < 4, string = reg == 1 || reg == 6 || reg == 7;
    if (i->map == MAP_0F) {
        if (i->op == 0x05)
            return reg == 0 || reg == 1 || reg == 11;
        return low && (i->op == 0x01 || i->op == 0x31 || i->op == 0x33 || i->op == 0xa2 ||
                       i->op == 0xb0 || i->op == 0xb1 || i->op == 0xc7);
    }
    if (i->map != MAP_ONE)
        return false;
    if (i->op < 0x38 && (i->op & 6) == 4)
        return reg == 0;
    switch (i->op) {
    case 0x91 ... 0x97:
        return reg == 0 || reg == op_field(i);
    case 0x98:
    case 0x99:
    case 0x9f:
    case 0xd7:
    case 0xe4:
    case 0xe5:
    case 0xec:
    case 0xed:
        return reg == 0 || reg == 2;
    case 0xa4 ... 0xa7:
    case 0xaa ... 0xaf:
    case 0x6c ... 0x6f:
        return string || reg == 0;
    case 0xf6:
    case 0xf7:
        return ext >= 4 && (reg == 0 || reg == 2);
    case 0xc8:
    case 0xc9:
        return reg == 5;
    default:
        return false;
    }
}

enum insn_effect insn_effect(const struct insn *i, unsigned reg, int32_t *value)
{
    bool direct = (i->is & INSN_HAS_MORM) && i->modrm >> 6 == 3;
    if (i->map == MAP_ONE) {
        if (i->op >= 0xb0 && i->op <= 0xbf && reg == op_field(i)) {
            *value = i->op < 0xb8 ? (u8)i->imm : i->imm;
            return EFFECT_CONSTANT;
        }
        if (i->op == 0xc7 && direct && reg == rm_field(i)) {
            *value = i->imm;
            return EFFECT_CONSTANT;
        }
        if ((i->op & ~2) == 0x31 && direct && reg_field(i) == reg && rm_field(i) == reg) {
            *value = 0;
            return EFFECT_CONSTANT;
        }
        if ((i->op == 0x89 && direct && reg == rm_field(i)) ||
            (i->op == 0x8b && direct && reg == reg_field(i))) {
            *value = (int32_t)(i->op == 0x89 ? reg_field(i) : rm_field(i));
            return EFFECT_COPY;
        }
        if (i->op >= 0x58 && i->op <= 0x5f && reg == op_field(i))
            return EFFECT_POP;
        /* A call may change what it likes, what saves registers aside. */
        if (i->op == 0xe8 || (i->op == 0xff && (i->is & INSN_CONTROL)))
            return EFFECT_OTHER;
    }
    if (i->is & INSN_HAS_MORM) {
        if (reg == reg_field(i) && writes_reg_field(i))
            return EFFECT_OTHER;
        if (direct && reg == rm_field(i) && writes_rm_field(i))
            return EFFECT_OTHER;
    }
    return writes_unnamed(i, reg) ? EFFECT_OTHER : EFFECT_NONE;
}
