/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An H.264 encoder that fits on a page: each macroblock becomes one flat colour, the average of what it shows
 * (ITU-T H.264; numbers in brackets are its clauses). Key frames hold all of them, the pictures between
 * only those that changed. I_PCM macroblocks of the same colours fill up to the asked bit rate, so that
 * rate control can be seen behind packetisers, which drop filler NAL units.
 *
 * Shared by the kernel module and by a test program, so it uses neither's library.
 */
#ifndef MOSAIC_H
#define MOSAIC_H

#ifdef __KERNEL__
#include <linux/kernel.h>
#include <linux/string.h>
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
typedef uint8_t u8;
typedef uint32_t u32;
typedef int64_t s64;
#endif

#define MOSAIC_MAX_BLOCKS (120 * 68) /* 1920x1088 */
#define MOSAIC_PCM_BITS (386 * 8)    /* what one I_PCM macroblock costs, alignment included */

enum mosaic_format { MOSAIC_I420, MOSAIC_NV12, MOSAIC_YUYV };

struct mosaic_input {
	const u8 *data;
	enum mosaic_format format;
	u32 stride; /* bytes of a line of luma, or of YUYV */
	u32 lines;  /* lines of the luma plane, which may be more than the picture's */
};

struct mosaic {
	u32 width, height; /* pixels that are shown */
	u32 across, down;  /* macroblocks */
	u8 profile, constraints, level;
	u32 frame_num, idr_id;
	u32 cursor; /* the macroblock at which filling goes on */
	s64 credit; /* bits that the rate allows and that were not spent */
	u8 shown[MOSAIC_MAX_BLOCKS][3]; /* what a decoder shows */
	u8 wanted[MOSAIC_MAX_BLOCKS][3];
	bool is_pcm[MOSAIC_MAX_BLOCKS]; /* in this picture */
};

/* ---- bits, with emulation prevention (7.4.1) ---- */

struct mosaic_bits {
	u8 *out;
	u32 used, room; /* bytes */
	u32 cache, cached;
	u32 zeros;
	bool is_full;
};

static void mosaic_raw(struct mosaic_bits *b, u8 byte)
{
	if (b->used >= b->room) {
		b->is_full = true;
		return;
	}
	b->out[b->used++] = byte;
}

static void mosaic_byte(struct mosaic_bits *b, u8 byte)
{
	if (b->zeros >= 2 && byte <= 3) {
		mosaic_raw(b, 3);
		b->zeros = 0;
	}
	mosaic_raw(b, byte);
	b->zeros = byte ? 0 : b->zeros + 1;
}

static void mosaic_put(struct mosaic_bits *b, u32 count, u32 value)
{
	while (count--) {
		b->cache = b->cache << 1 | (value >> count & 1);
		if (++b->cached == 8) {
			mosaic_byte(b, (u8)b->cache);
			b->cache = b->cached = 0;
		}
	}
}

static void mosaic_ue(struct mosaic_bits *b, u32 value)
{
	u32 bits = 0;

	while ((value + 1) >> (bits + 1))
		bits++;
	mosaic_put(b, bits, 0);
	mosaic_put(b, bits + 1, value + 1);
}

static void mosaic_se(struct mosaic_bits *b, int value)
{
	mosaic_ue(b, value > 0 ? 2 * value - 1 : -2 * value);
}

static void mosaic_align(struct mosaic_bits *b)
{
	while (b->cached)
		mosaic_put(b, 1, 0);
}

static void mosaic_nal(struct mosaic_bits *b, u8 header)
{
	mosaic_raw(b, 0);
	mosaic_raw(b, 0);
	mosaic_raw(b, 0);
	mosaic_raw(b, 1);
	mosaic_raw(b, header);
	b->zeros = 0;
}

static void mosaic_end_nal(struct mosaic_bits *b)
{
	mosaic_put(b, 1, 1);
	mosaic_align(b);
}

/* ---- parameter sets (7.3.2) ---- */

static void mosaic_headers(const struct mosaic *m, struct mosaic_bits *b)
{
	u32 right = m->across * 16 - m->width, bottom = m->down * 16 - m->height;

	mosaic_nal(b, 0x67);
	mosaic_put(b, 8, m->profile);
	mosaic_put(b, 8, m->constraints);
	mosaic_put(b, 8, m->level);
	mosaic_ue(b, 0);
	if (m->profile == 100) {
		mosaic_ue(b, 1);     /* 4:2:0 */
		mosaic_ue(b, 0);
		mosaic_ue(b, 0);
		mosaic_put(b, 2, 0);
	}
	mosaic_ue(b, 4);             /* frame_num has 8 bits */
	mosaic_ue(b, 2);             /* pictures are shown in the order of decoding */
	mosaic_ue(b, 1);
	mosaic_put(b, 1, 0);
	mosaic_ue(b, m->across - 1);
	mosaic_ue(b, m->down - 1);
	mosaic_put(b, 2, 3);         /* whole frames; direct_8x8_inference */
	mosaic_put(b, 1, right || bottom);
	if (right || bottom) {
		mosaic_ue(b, 0);
		mosaic_ue(b, right / 2);
		mosaic_ue(b, 0);
		mosaic_ue(b, bottom / 2);
	}
	mosaic_put(b, 1, 0);
	mosaic_end_nal(b);

	mosaic_nal(b, 0x68);
	mosaic_ue(b, 0);
	mosaic_ue(b, 0);
	mosaic_put(b, 2, 0);         /* CAVLC */
	mosaic_ue(b, 0);
	mosaic_ue(b, 0);
	mosaic_ue(b, 0);
	mosaic_put(b, 3, 0);
	mosaic_se(b, 2);             /* QP 28: a luma DC level of one is one step of luma (8.5.10) */
	mosaic_se(b, 0);
	mosaic_se(b, -6);            /* and QP 22 the same for chroma (8.5.11) */
	mosaic_put(b, 3, 4);         /* deblocking can be switched off */
	mosaic_end_nal(b);
}

static void mosaic_slice_header(const struct mosaic *m, struct mosaic_bits *b, bool is_key)
{
	mosaic_nal(b, is_key ? 0x65 : 0x61);
	mosaic_ue(b, 0);
	mosaic_ue(b, is_key ? 7 : 5);
	mosaic_ue(b, 0);
	mosaic_put(b, 8, m->frame_num & 255);
	if (is_key)
		mosaic_ue(b, m->idr_id & 255);
	mosaic_put(b, 2, 0);         /* I: marking; P: no override, no reordering */
	if (!is_key)
		mosaic_put(b, 1, 0);
	mosaic_se(b, 0);
	mosaic_ue(b, 1);             /* no deblocking: colours stay what was sent */
}

/* ---- one coefficient by CAVLC (9.2) ---- */

enum { MOSAIC_NC_LOW, MOSAIC_NC_HIGH, MOSAIC_NC_CHROMA };

/* `level` is the only coefficient of its block, and the first: no zeros stand before it. */
static void mosaic_level(struct mosaic_bits *b, int level, int context)
{
	static const u8 none[3][2] = { { 1, 1 }, { 6, 3 }, { 2, 1 } };
	static const u8 small[3][2] = { { 2, 1 }, { 6, 1 }, { 1, 1 } };
	static const u8 big[3][2] = { { 6, 5 }, { 6, 0 }, { 6, 7 } };
	u32 code;

	if (!level) {
		mosaic_put(b, none[context][0], none[context][1]);
		return;
	}
	if (level == 1 || level == -1) {
		mosaic_put(b, small[context][0], small[context][1]);
		mosaic_put(b, 1, level < 0);
	} else {
		mosaic_put(b, big[context][0], big[context][1]);
		code = (level > 0 ? 2 * level - 2 : -2 * level - 1) - 2;
		if (code < 14) {
			mosaic_put(b, code + 1, 1);
		} else if (code < 30) {
			mosaic_put(b, 15, 1);
			mosaic_put(b, 4, code - 14);
		} else {
			mosaic_put(b, 16, 1);
			mosaic_put(b, 12, code - 30);
		}
	}
	mosaic_put(b, 1, 1);
}

/* nC of 9.2.1: an I_PCM neighbour counts as sixteen coefficients, every other one here as none. */
static int mosaic_context(const struct mosaic *m, u32 at)
{
	u32 x = at % m->across;
	bool left = x && m->is_pcm[at - 1], above = at >= m->across && m->is_pcm[at - m->across];

	return left || above ? MOSAIC_NC_HIGH : MOSAIC_NC_LOW;
}

static void mosaic_pcm(struct mosaic *m, struct mosaic_bits *b, u32 at, bool is_key)
{
	int plane, n;

	mosaic_ue(b, is_key ? 25 : 30);
	mosaic_align(b);
	for (plane = 0; plane < 3; plane++)
		for (n = 0; n < (plane ? 64 : 256); n++)
			mosaic_byte(b, m->wanted[at][plane]);
	m->is_pcm[at] = true;
	memcpy(m->shown[at], m->wanted[at], 3);
}

/* Intra_16x16, predicted from one neighbour, which is flat, so the prediction is flat too. */
static void mosaic_flat(struct mosaic *m, struct mosaic_bits *b, u32 at, bool is_key)
{
	static const u8 start[3] = { 128, 128, 128 };
	bool has_left = at % m->across, has_above = at >= m->across;
	const u8 *from = has_left ? m->shown[at - 1] : has_above ? m->shown[at - m->across] : start;
	u32 luma_mode = has_left ? 1 : has_above ? 0 : 2, chroma_mode = has_left ? 1 : has_above ? 2 : 0;
	const u8 *to = m->wanted[at];
	bool has_chroma = to[1] != from[1] || to[2] != from[2];

	mosaic_ue(b, (is_key ? 1 : 6) + luma_mode + (has_chroma ? 4 : 0));
	mosaic_ue(b, chroma_mode);
	mosaic_se(b, 0);
	mosaic_level(b, to[0] - from[0], mosaic_context(m, at));
	if (has_chroma) {
		mosaic_level(b, to[1] - from[1], MOSAIC_NC_CHROMA);
		mosaic_level(b, to[2] - from[2], MOSAIC_NC_CHROMA);
	}
	memcpy(m->shown[at], to, 3);
}

/* ---- what the picture shows ---- */

/* Every fourth line of a macroblock is enough for an average. */
static void mosaic_average(const struct mosaic *m, const struct mosaic_input *in, u32 at, u8 to[3])
{
	u32 left = at % m->across * 16, top = at / m->across * 16;
	u32 right = left + 16 < m->width ? left + 16 : m->width;
	u32 bottom = top + 16 < m->height ? top + 16 : m->height;
	const u8 *chroma = in->data + in->stride * in->lines;
	u32 sum[3] = { 0, 0, 0 }, count = 0, x, y;

	for (y = top; y < bottom; y += 4) {
		const u8 *line = in->data + y * in->stride;
		const u8 *u, *v;

		for (x = left; x + 1 < right; x += 2, count++) {
			if (in->format == MOSAIC_YUYV) {
				sum[0] += line[2 * x] + line[2 * x + 2];
				u = line + 2 * x + 1;
				v = u + 2;
			} else {
				sum[0] += line[x] + line[x + 1];
				u = chroma + y / 2 * in->stride + x;
				v = u + 1;
				if (in->format == MOSAIC_I420) {
					u = chroma + y / 2 * (in->stride / 2) + x / 2;
					v = u + in->stride / 2 * (in->lines / 2);
				}
			}
			sum[1] += *u;
			sum[2] += *v;
		}
	}
	to[0] = (u8)((sum[0] + count) / (2 * count));
	to[1] = (u8)((sum[1] + count / 2) / count);
	to[2] = (u8)((sum[2] + count / 2) / count);
}

static bool mosaic_differs(const u8 a[3], const u8 b[3], int by)
{
	int plane;

	for (plane = 0; plane < 3; plane++)
		if (a[plane] - b[plane] >= by || b[plane] - a[plane] >= by)
			return true;
	return false;
}

/* ---- a stream ---- */

/* Whether the size can be encoded. Sizes are even, as 4:2:0 wants. */
static bool mosaic_start(struct mosaic *m, u32 width, u32 height)
{
	u32 across = (width + 15) / 16, down = (height + 15) / 16;

	if (width < 16 || height < 16 || (width | height) & 1 || across * down > MOSAIC_MAX_BLOCKS)
		return false;
	memset(m, 0, sizeof(*m));
	m->width = width;
	m->height = height;
	m->across = across;
	m->down = down;
	m->profile = 66;
	m->constraints = 0xc0;
	m->level = 40;
	return true;
}

static void mosaic_slice(struct mosaic *m, struct mosaic_bits *b, const struct mosaic_input *in, bool is_key, u32 fill)
{
	u32 blocks = m->across * m->down, skipped = 0, at;
	int threshold = m->credit < 0 ? 8 : 2;

	mosaic_slice_header(m, b, is_key);
	for (at = 0; at < blocks; at++) {
		bool is_filler = (at + blocks - m->cursor) % blocks < fill;

		m->is_pcm[at] = false;
		mosaic_average(m, in, at, m->wanted[at]);
		if (!is_key && !is_filler && !mosaic_differs(m->wanted[at], m->shown[at], threshold)) {
			skipped++;
			continue;
		}
		if (!is_key)
			mosaic_ue(b, skipped);
		skipped = 0;
		if (is_filler)
			mosaic_pcm(m, b, at, is_key);
		else
			mosaic_flat(m, b, at, is_key);
	}
	if (skipped)
		mosaic_ue(b, skipped);
	mosaic_end_nal(b);
	m->cursor = (m->cursor + fill) % blocks;
}

/* One picture into `out`; `share` is its share of the bit rate, in bits. The bytes written, 0 if there is no room. */
static u32 mosaic_encode(struct mosaic *m, const struct mosaic_input *in, bool is_key, bool with_headers, u32 share,
			 u8 *out, u32 room)
{
	struct mosaic_bits b = { .out = out, .room = room };
	u32 fill = 0;
	s64 most = (s64)share * 30;

	m->credit += share;
	if (m->credit > most)
		m->credit = most;
	/* A sixteenth of the room is left for what is no filler. */
	while (m->credit > (s64)(fill + 1) * MOSAIC_PCM_BITS && fill < m->across * m->down &&
	       (fill + 1) * 400 + room / 16 + m->across * m->down * 12 < room)
		fill++;
	if (is_key) {
		m->frame_num = 0;
		m->idr_id++;
		fill = 0; /* it is big enough as it is */
	} else {
		m->frame_num++;
	}
	if (with_headers)
		mosaic_headers(m, &b);
	mosaic_slice(m, &b, in, is_key, fill);
	m->credit -= (s64)b.used * 8;
	if (m->credit < -most)
		m->credit = -most;
	return b.is_full ? 0 : b.used;
}

#endif
