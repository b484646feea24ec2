/* x86_64 instructions, as far as finding syscall sites needs it: how long they are, where they may
 * lead, and which of them load a register with a constant. */
#ifndef FUSS_IMAGE_DECODE_H
#define FUSS_IMAGE_DECODE_H

#include "base/base.h"

#define INSN_MAX 15

/* struct insn.is */
#define INSN_BRANCH   0x01 /* jumps, calls or loops by `rel` */
#define INSN_NO_NEXT  0x02 /* never goes on to the next instruction */
#define INSN_RIP      0x04 /* its operand is addressed by its own address */
#define INSN_CONTROL  0x08 /* any other change of control: calls, returns, traps */
#define INSN_SYSCALL  0x10
#define INSN_NOP      0x20 /* does nothing, an int3 as padding included */
#define INSN_RET      0x40 /* plain near return */
#define INSN_HAS_MORM 0x80

enum insn_map { MAP_ONE, MAP_0F, MAP_0F38, MAP_0F3A, MAP_VEX };

struct insn {
    u8 length;
    u8 map; /* enum insn_map */
    u8 op;
    u8 modrm;
    u8 rex;
    u8 is;
    int32_t rel; /* of INSN_BRANCH, counted from the end of the instruction */
    int32_t imm; /* the immediate operand (its low 32 bits), 0 without one */
};

/* Decodes the instruction at p, of which no more than n bytes may be read. False where these bytes
 * are no instruction of 64-bit mode, or not all of one. */
bool insn_decode(const u8 *p, size_t n, struct insn *out);

/* What an instruction does to a general register (0 rax ... 15 r15). */
enum insn_effect {
    EFFECT_NONE,
    EFFECT_CONSTANT, /* *value */
    EFFECT_COPY,     /* of register *value */
    EFFECT_POP,
    EFFECT_OTHER,
};
enum insn_effect insn_effect(const struct insn *i, unsigned reg, int32_t *value);

#endif
