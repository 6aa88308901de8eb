// The USB/IP side: takes what vhci_hcd submits and answers it. See webcam.h for the sources.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "webcam.h"

enum { CMD_SUBMIT = 1, CMD_UNLINK = 2, RET_SUBMIT = 3, RET_UNLINK = 4 };
enum { HEADER = 48, MOST_PACKETS = 128, MOST_BYTES = 1 << 20, MOST_PENDING = 64, HIGH_SPEED = 3 };

struct packet { // of an isochronous transfer
	uint32_t offset, length, actual;
};
struct urb { // a transfer that waits for video
	uint32_t seqnum, length;
	int packets; // 0: bulk
	struct packet packet[MOST_PACKETS];
};
static struct urb pending[MOST_PENDING];
static int waiting, usb = -1;

static uint32_t get(const uint8_t *at) { return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3]; }
static void put(uint8_t *at, uint32_t value) {
	at[0] = value >> 24, at[1] = value >> 16, at[2] = value >> 8, at[3] = value;
}

int usb_socket(void) { return usb; }

void unplug(void) {
	if (usb >= 0)
		close(usb); // vhci_hcd takes the device from its port, as when a cable is pulled
	usb = -1;
	waiting = 0;
	stream_stop();
}

// The port is still in use for a moment after the device before was pulled out.
bool plug(void) {
	int pair[2], attach = open("/sys/devices/platform/vhci_hcd.0/attach", O_WRONLY | O_CLOEXEC), length;
	char line[64];
	bool done = false;
	if (attach < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return false;
	length = snprintf(line, sizeof line, "0 %d %d %d", pair[1], 1 << 16 | 2, HIGH_SPEED);
	for (int n = 0; n < 100 && !done; n++) {
		done = write(attach, line, length) == length;
		if (!done)
			usleep(100000);
	}
	close(attach);
	close(pair[1]); // the kernel holds it
	if (!done) {
		close(pair[0]);
		return false;
	}
	usb = pair[0];
	return true;
}

static bool all(bool sending, uint8_t *data, size_t size) {
	for (size_t at = 0; at < size;) {
		ssize_t n = sending ? send(usb, data + at, size - at, MSG_NOSIGNAL) : recv(usb, data + at, size - at, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			unplug();
			return false;
		}
		at += n;
	}
	return true;
}

static void answer(uint32_t command, uint32_t seqnum, int status, uint32_t actual, int packets, uint8_t *buffer,
		   size_t more) {
	memset(buffer, 0, HEADER);
	put(buffer, command);
	put(buffer + 4, seqnum);
	put(buffer + 20, status);
	put(buffer + 24, actual);
	put(buffer + 32, packets);
	all(true, buffer, HEADER + more);
}

// One isochronous packet carries one payload; their bytes follow each other without gaps.
static size_t fill_packets(struct urb *urb, uint8_t *data, uint32_t *actual) {
	size_t at = 0;
	*actual = 0;
	for (int n = 0; n < urb->packets; n++) {
		urb->packet[n].actual = next_payload(data + at, urb->packet[n].length);
		at += urb->packet[n].actual;
	}
	*actual = at;
	for (int n = 0; n < urb->packets; n++, at += 16) {
		put(data + at, urb->packet[n].offset);
		put(data + at + 4, urb->packet[n].length);
		put(data + at + 8, urb->packet[n].actual);
		put(data + at + 12, 0);
	}
	return at;
}

void usb_send_video(void) {
	static uint8_t buffer[HEADER + MOST_BYTES + MOST_PACKETS * 16];
	while (usb >= 0 && waiting > 0) {
		struct urb urb = pending[0];
		uint32_t actual;
		size_t more;
		if (urb.packets == 0) {
			more = actual = next_payload(buffer + HEADER, urb.length);
		} else {
			more = fill_packets(&urb, buffer + HEADER, &actual);
		}
		if (actual == 0)
			return;
		memmove(pending, pending + 1, --waiting * sizeof *pending);
		answer(RET_SUBMIT, urb.seqnum, 0, actual, urb.packets, buffer, more);
	}
}

static void control(uint32_t seqnum, const uint8_t *setup_bytes, uint32_t length, bool in) {
	static uint8_t buffer[HEADER + 65536];
	struct setup setup = {.request_type = setup_bytes[0], .request = setup_bytes[1],
			      .value = setup_bytes[2] | setup_bytes[3] << 8,
			      .index = setup_bytes[4] | setup_bytes[5] << 8,
			      .length = setup_bytes[6] | setup_bytes[7] << 8};
	memset(buffer, 0, sizeof buffer);
	if (length > 65535 || (!in && !all(false, buffer + HEADER, length)))
		return;
	int got = device_request(&setup, buffer + HEADER);
	if (got > (int)length)
		got = length;
	answer(RET_SUBMIT, seqnum, got < 0 ? got : 0, got < 0 ? 0 : in ? (uint32_t)got : length, 0, buffer,
	       in && got > 0 ? got : 0);
}

static void video(uint32_t seqnum, const uint8_t *header) {
	struct urb urb = {.seqnum = seqnum, .length = get(header + 24)};
	int packets = (int)get(header + 32);
	uint8_t bytes[16];
	if (packets > MOST_PACKETS || urb.length > MOST_BYTES || waiting == MOST_PENDING) {
		fprintf(stderr, "webcam: a transfer of %u bytes in %d packets is too much\n", urb.length, packets);
		unplug();
		return;
	}
	urb.packets = packets > 0 ? packets : 0; // a bulk transfer says 0 or -1
	for (int n = 0; n < urb.packets; n++) {
		if (!all(false, bytes, sizeof bytes))
			return;
		urb.packet[n] = (struct packet){.offset = get(bytes), .length = get(bytes + 4)};
	}
	pending[waiting++] = urb;
}

static void cancel(uint32_t seqnum, uint32_t victim) {
	uint8_t buffer[HEADER];
	int status = 0; // it was answered already
	for (int n = 0; n < waiting; n++) {
		if (pending[n].seqnum != victim)
			continue;
		memmove(pending + n, pending + n + 1, (--waiting - n) * sizeof *pending);
		status = -ECONNRESET;
		break;
	}
	answer(RET_UNLINK, seqnum, status, 0, 0, buffer, 0);
}

void usb_receive(void) {
	uint8_t header[HEADER];
	if (!all(false, header, HEADER))
		return;
	uint32_t command = get(header), seqnum = get(header + 4), endpoint = get(header + 16);
	if (command == CMD_UNLINK) {
		cancel(seqnum, get(header + 20));
	} else if (command == CMD_SUBMIT && endpoint == 0) {
		control(seqnum, header + 40, get(header + 24), get(header + 12) == 1);
	} else if (command == CMD_SUBMIT && endpoint == VIDEO_ENDPOINT) {
		video(seqnum, header);
	} else {
		fprintf(stderr, "webcam: command %u for endpoint %u\n", command, endpoint);
		unplug();
	}
}
