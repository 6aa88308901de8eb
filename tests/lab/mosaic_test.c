// SPDX-License-Identifier: GPL-2.0
/*
 * mosaic_test WIDTH HEIGHT FORMAT PICTURES KBPS STREAM EXPECTED: a moving picture through mosaic.h, at 30 a second, with
 * every twentieth a key frame. STREAM gets the H.264, EXPECTED what a decoder has to show, as I420.
 */
#include "guest/board/mosaic.h"

#include <stdio.h>
#include <stdlib.h>

static u8 luma(u32 x, u32 y, u32 n) { return (u8)((x * 3 + y + n * 7) ^ (x / 40 * 31)); }
static u8 chroma(u32 x, u32 y, u32 n, int plane) { return (u8)(x / 5 + y * (plane + 1) / 3 + (n / 4) * (plane ? 5 : 250)); }

static void paint(u8 *data, const struct mosaic_input *in, u32 width, u32 height, u32 n)
{
	/* Only the left half moves, and only every other time. */
	for (u32 y = 0; y < height; y++) {
		for (u32 x = 0; x < width; x++) {
			u32 t = x < width / 2 ? n / 2 : 0;
			u8 c = chroma(x / 2, y / 2, t, in->format == MOSAIC_YUYV ? x & 1 : 0);
			u8 *plane = data + in->stride * in->lines;

			if (in->format == MOSAIC_YUYV) {
				data[y * in->stride + 2 * x] = luma(x, y, t);
				data[y * in->stride + 2 * x + 1] = c;
				continue;
			}
			data[y * in->stride + x] = luma(x, y, t);
			if (in->format == MOSAIC_NV12) {
				plane[y / 2 * in->stride + x] = chroma(x / 2, y / 2, t, x & 1);
			} else {
				plane[y / 2 * (in->stride / 2) + x / 2] = c;
				plane[in->stride / 2 * (in->lines / 2) + y / 2 * (in->stride / 2) + x / 2] = chroma(x / 2, y / 2, t, 1);
			}
		}
	}
}

static void expect(const struct mosaic *m, FILE *to)
{
	for (int plane = 0; plane < 3; plane++) {
		u32 size = plane ? 8 : 16, w = plane ? m->width / 2 : m->width, h = plane ? m->height / 2 : m->height;

		for (u32 y = 0; y < h; y++)
			for (u32 x = 0; x < w; x++)
				fputc(m->shown[y / size * m->across + x / size][plane], to);
	}
}

int main(int argc, char **argv)
{
	static struct mosaic m;
	u32 width, height, pictures, kbps, room = 1 << 20, total = 0;
	struct mosaic_input in;

	if (argc != 8)
		return 64;
	width = atoi(argv[1]);
	height = atoi(argv[2]);
	pictures = atoi(argv[4]);
	kbps = atoi(argv[5]);
	in.format = argv[3][0] == 'Y' ? MOSAIC_YUYV : argv[3][0] == 'N' ? MOSAIC_NV12 : MOSAIC_I420;
	in.stride = (width + 31) / 32 * 32 * (in.format == MOSAIC_YUYV ? 2 : 1);
	in.lines = (height + 15) / 16 * 16;

	u8 *data = calloc(in.stride * in.lines, 2), *out = malloc(room);
	FILE *stream = fopen(argv[6], "wb"), *expected = fopen(argv[7], "wb");

	if (!data || !out || !stream || !expected || !mosaic_start(&m, width, height))
		return 1;
	in.data = data;
	for (u32 n = 0; n < pictures; n++) {
		bool is_key = n % 20 == 0;

		paint(data, &in, width, height, n);
		u32 used = mosaic_encode(&m, &in, is_key, is_key, kbps * 1000 / 30, out, room);
		if (!used)
			return 2;
		total += used;
		fwrite(out, 1, used, stream);
		expect(&m, expected);
	}
	printf("%u kbit/s\n", (u32)((s64)total * 8 * 30 / pictures / 1000));
	return fclose(stream) || fclose(expected);
}
