// Video: probe and commit (UVC 4.3.1.1), pictures at their rate, and payloads with their headers (UVC 2.4.3.3).
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/usb/video.h>

#include "webcam.h"

enum { PROBE = 34, PAYLOAD_HEADER = 12 }; // of UVC 1.1
// One bulk transfer of uvcvideo: 32 packets of 512 bytes. Each carries one payload.
enum { BULK_PAYLOAD = 16384 };

struct recording {
	char name[64];
	const uint8_t *data;
	size_t size;
};

static const char *folder = ".";
static struct { // what was agreed on last
	int format, frame;
	uint32_t interval; // of 100 ns
} chosen = {YUYV, 1, 333333};
static struct {
	bool on, sending;
	double due;
	const struct recording *recording;
	size_t next; // where the recording's next picture starts
	const uint8_t *picture;
	size_t size, sent;
	unsigned pictures, total, streams;
	double key_frame_at; // when the recording began again
	bool odd; // the frame identifier bit
	uint32_t stamp;
} stream;
static uint8_t *canvas;

void load_recordings(const char *name) { folder = name; }

static const struct size *chosen_size(void) { return &formats[chosen.format].size[chosen.frame - 1]; }

static const struct recording *recording(void) {
	static struct recording known[16];
	char name[64];
	struct stat info;
	int n, file;
	bool other = chosen.format == H264 && faults.h264[0];
	bool wrong = chosen.format == MJPG && faults.wrong_size;
	snprintf(name, sizeof name, "%dx%d%s%s.%s", wrong ? 1280 : chosen_size()->width, wrong ? 720 : chosen_size()->height,
		 other ? "-" : "", other ? faults.h264 : "", formats[chosen.format].name);
	for (n = 0; n < 15 && known[n].data; n++)
		if (strcmp(known[n].name, name) == 0)
			return &known[n];
	char *path = NULL;
	if (asprintf(&path, "%s/%s", folder, name) < 0)
		return NULL;
	file = open(path, O_RDONLY | O_CLOEXEC);
	free(path);
	if (file < 0 || fstat(file, &info)) {
		fprintf(stderr, "webcam: there is no recording %s\n", name);
		return NULL;
	}
	void *data = mmap(NULL, info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
	close(file);
	if (data == MAP_FAILED)
		return NULL;
	known[n] = (struct recording){.data = data, .size = info.st_size};
	memcpy(known[n].name, name, sizeof name);
	return &known[n];
}

// --- pictures

// Colour bars that move to the left, and in their left upper corner the picture's number as 16 squares.
static void draw(void) {
	static const uint8_t bars[8][3] = {{235, 128, 128}, {210, 16, 146}, {170, 166, 16}, {145, 54, 34},
					   {106, 202, 222}, {81, 90, 240}, {41, 240, 110}, {16, 128, 128}};
	int width = chosen_size()->width, height = chosen_size()->height, side = 16;
	if (!canvas)
		canvas = malloc(1920 * 1080 * 2);
	for (int x = 0; x < width; x += 2) {
		const uint8_t *bar = bars[(x + (int)stream.total * 4) % width * 8 / width];
		uint8_t *at = canvas + x * 2;
		at[0] = bar[0], at[1] = bar[1], at[2] = bar[0], at[3] = bar[2];
	}
	for (int y = 1; y < height; y++)
		memcpy(canvas + y * width * 2, canvas, width * 2);
	for (int y = 0; y < side; y++)
		for (int x = 0; x < 16 * side; x++) {
			uint8_t *at = canvas + (y * width + x) * 2;
			at[0] = stream.total >> (15 - x / side) & 1 ? 235 : 16, at[1] = 128;
		}
	stream.picture = canvas;
	stream.size = (size_t)width * height * 2;
}

// A JPEG picture starts with its marker, an H.264 one with its access unit delimiter.
static size_t after(const struct recording *from, size_t at) {
	static const uint8_t soi[] = {0xff, 0xd8, 0xff}, aud[] = {0, 0, 0, 1, 9};
	bool jpeg = chosen.format == MJPG;
	const uint8_t *found = memmem(from->data + at + 1, from->size - at - 1, jpeg ? soi : aud,
				      jpeg ? sizeof soi : sizeof aud);
	return found ? (size_t)(found - from->data) : from->size;
}

// Skips delimiter and parameter sets, up to the first unit that is neither.
static void without_parameter_sets(void) {
	static const uint8_t start[] = {0, 0, 1};
	for (size_t at = 0; at + 3 < stream.size;) {
		const uint8_t *found = memmem(stream.picture + at, stream.size - at, start, sizeof start);
		if (!found || found + 3 >= stream.picture + stream.size)
			return;
		int kind = found[3] & 0x1f;
		if (kind != 7 && kind != 8 && kind != 9) {
			stream.size -= found - stream.picture;
			stream.picture = found;
			return;
		}
		at = found + 3 - stream.picture;
	}
}

static void noise(void) {
	static uint8_t bytes[20000];
	for (size_t n = 0; n < sizeof bytes; n++)
		bytes[n] = rand();
	stream.picture = bytes;
	stream.size = chosen.format == YUYV ? sizeof bytes / 2 : sizeof bytes;
}

static bool each(int every) { return every > 0 && stream.pictures % every == (unsigned)every - 1; }

static bool sparse(void) { return chosen.format == H264 && strcmp(faults.h264, "sparse") == 0; }

static void take(void) {
	const struct recording *from = stream.recording;
	if (chosen.format == YUYV) {
		draw();
	} else {
		// Its one key frame is at its start: ten seconds apart, however many pictures the host takes meanwhile.
		if (stream.next == 0 || (sparse() && now() - stream.key_frame_at >= 10)) {
			stream.next = 0;
			stream.key_frame_at = now();
		}
		size_t end = after(from, stream.next);
		stream.picture = from->data + stream.next;
		stream.size = end - stream.next;
		if (sparse() && stream.pictures > 0)
			without_parameter_sets();
		stream.next = end < from->size ? end : 0;
		if (each(faults.cut_every))
			stream.size /= 2;
		else if (each(faults.garbage_every))
			noise();
	}
	if (faults.first_is_garbage && stream.pictures == 0)
		noise();
	stream.pictures++;
	stream.total++;
}

static uint32_t ticks(void) {
	static uint32_t still;
	if (!faults.clock_stands)
		still = (uint32_t)(int64_t)(now() * CLOCK_HZ) + (uint32_t)faults.clock_shift_us;
	return still;
}

static void begin(void) {
	double interval = chosen.interval / 1e7, time = now();
	take();
	stream.sent = 0;
	stream.sending = true;
	stream.odd = !stream.odd;
	stream.stamp = ticks();
	stream.due += interval;
	if (stream.due < time) // the host takes them slower than they come: a camera drops some
		stream.due = time;
}

size_t next_payload(uint8_t *to, size_t at_most) {
	double time = now();
	if (!stream.on || time < faults.stalled_until)
		return 0;
	if (!stream.sending && time >= stream.due)
		begin();
	if (!stream.sending || at_most <= PAYLOAD_HEADER)
		return 0;
	size_t most = at_most - PAYLOAD_HEADER, left = stream.size - stream.sent, now_sent = left < most ? left : most;
	to[0] = PAYLOAD_HEADER;
	to[1] = UVC_STREAM_EOH | UVC_STREAM_PTS | UVC_STREAM_SCR | (stream.odd ? UVC_STREAM_FID : 0) |
		(now_sent == left ? UVC_STREAM_EOF : 0);
	write32(to + 2, stream.stamp);
	write32(to + 6, ticks());
	write16(to + 10, (unsigned)(int64_t)(time * 1000) & 0x7ff); // of the bus: a frame is a millisecond
	memcpy(to + PAYLOAD_HEADER, stream.picture + stream.sent, now_sent);
	stream.sent += now_sent;
	stream.sending = stream.sent < stream.size;
	return PAYLOAD_HEADER + now_sent;
}

int stream_wait_ms(void) {
	if (!stream.on)
		return -1;
	double until = faults.stalled_until > stream.due ? faults.stalled_until : stream.due;
	double left = until - now();
	return left <= 0 ? 0 : (int)(left * 1000) + 1;
}

// --- probe, commit and interface

static void start(void) {
	stream.recording = chosen.format == YUYV ? NULL : recording();
	if (chosen.format != YUYV && !stream.recording)
		return;
	stream.on = true;
	stream.sending = false;
	stream.next = stream.pictures = 0;
	stream.due = now();
	stream.streams++;
}

void stream_stop(void) { stream.on = stream.sending = false; }

int stream_interface(int setting) {
	if (setting == 0)
		stream_stop();
	else if (setting == 2 && faults.no_bandwidth)
		return -ENOSPC; // what a host controller says whose bus is full
	else
		start();
	return 0;
}

static bool large(void) { return chosen_size()->width >= 1280; }

static int agreed(uint8_t *data) {
	const struct size *size = chosen_size();
	memset(data, 0, PROBE);
	data[0] = 1; // dwFrameInterval is fixed
	data[2] = chosen.format;
	data[3] = chosen.frame;
	write32(data + 4, chosen.interval);
	write32(data + 18, size->width * size->height * 2);
	write32(data + 22, !faults.isoc ? BULK_PAYLOAD : large() ? LARGE_PACKET : SMALL_PACKET);
	write32(data + 26, CLOCK_HZ);
	data[30] = 3; // frame identifier and end of frame are used
	return PROBE;
}

// What is not offered becomes the nearest that is.
static void choose(const uint8_t *data) {
	chosen.format = data[2] >= 1 && data[2] <= FORMATS ? data[2] : YUYV;
	chosen.frame = data[3] >= 1 && data[3] <= formats[chosen.format].sizes ? data[3] : 1;
	uint32_t asked = read32(data + 4), best = 0;
	for (int n = 0; n < 3 && chosen_size()->fps[n]; n++) {
		uint32_t offered = 10000000 / chosen_size()->fps[n];
		if (!best || abs((int)(offered - asked)) < abs((int)(best - asked)))
			best = offered;
	}
	chosen.interval = best;
}

static int commit(const uint8_t *data) {
	choose(data);
	if (faults.refused_width > 0 && chosen_size()->width >= faults.refused_width)
		return -EPIPE;
	if (!faults.isoc)
		start();
	return 0;
}

int stream_request(const struct setup *setup, uint8_t *data) {
	int selector = setup->value >> 8;
	if (selector != UVC_VS_PROBE_CONTROL && selector != UVC_VS_COMMIT_CONTROL)
		return -EPIPE;
	switch (setup->request) {
	case UVC_SET_CUR:
		if (selector == UVC_VS_COMMIT_CONTROL)
			return commit(data);
		choose(data);
		return 0;
	case UVC_GET_CUR:
	case UVC_GET_MIN:
	case UVC_GET_MAX:
	case UVC_GET_DEF:
		return agreed(data);
	case UVC_GET_LEN:
		return write16(data, PROBE), 2;
	case UVC_GET_INFO:
		return data[0] = UVC_CONTROL_CAP_GET | UVC_CONTROL_CAP_SET, 1;
	default:
		return -EPIPE;
	}
}

const char *stream_status(void) {
	static char text[128];
	snprintf(text, sizeof text, "%s %s %dx%d %.1f/s streams=%u pictures=%u", stream.on ? "streaming" : "idle",
		 formats[chosen.format].name, chosen_size()->width, chosen_size()->height, 1e7 / chosen.interval,
		 stream.streams, stream.pictures);
	return text;
}
