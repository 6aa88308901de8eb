// What the camera says of itself (USB 2.0, 9.6; UVC 3.7 and 3.9), and USB's own requests (USB 2.0, 9.4).
#include <errno.h>
#include <string.h>

#include <linux/usb/ch9.h>
#include <linux/usb/video.h>

#include "webcam.h"

const struct format formats[FORMATS + 1] = {
	[YUYV] = {"YUYV", 2, {{640, 480, {30, 15, 5}}, {1280, 720, {10, 5}}}},
	[MJPG] = {"MJPG", 3, {{640, 480, {30, 15}}, {1280, 720, {30, 15}}, {1920, 1080, {15, 5}}}},
	[H264] = {"H264", 2, {{640, 480, {30, 15}}, {1280, 720, {30, 15}}}},
};

// udev makes its link of them: /dev/v4l/by-id/usb-Lab_USB_Webcam_0001-video-index0.
static const char *const strings[] = {"", "Lab", "USB Webcam", "0001"};

void write16(uint8_t *at, unsigned value) { at[0] = value, at[1] = value >> 8; }
void write32(uint8_t *at, uint32_t value) { write16(at, value), write16(at + 2, value >> 16); }
uint32_t read32(const uint8_t *at) { return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24; }

static uint8_t *put8(uint8_t *at, unsigned value) { return *at = value, at + 1; }
static uint8_t *put16(uint8_t *at, unsigned value) { return write16(at, value), at + 2; }
static uint8_t *put32(uint8_t *at, uint32_t value) { return write32(at, value), at + 4; }
static uint8_t *put_all(uint8_t *at, const void *from, size_t size) { return memcpy(at, from, size), at + size; }
#define BYTES(at, ...) put_all(at, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static uint8_t *interface(uint8_t *at, int number, int setting, int endpoints, int subclass) {
	return BYTES(at, 9, USB_DT_INTERFACE, number, setting, endpoints, USB_CLASS_VIDEO, subclass, 0, 0);
}

static uint8_t *endpoint(uint8_t *at, int kind, unsigned packet) {
	at = BYTES(at, 7, USB_DT_ENDPOINT, USB_DIR_IN | VIDEO_ENDPOINT, kind);
	at = put16(at, packet);
	return put8(at, kind == USB_ENDPOINT_XFER_BULK ? 0 : 1);
}

// Controls: their bits are those of controls.c.
static uint8_t *control_interface(uint8_t *at) {
	at = interface(at, VC_INTERFACE, 0, 0, UVC_SC_VIDEOCONTROL);
	uint8_t *header = at;
	at = BYTES(at, 13, USB_DT_CS_INTERFACE, UVC_VC_HEADER, 0x10, 0x01, 0, 0);
	at = put32(at, CLOCK_HZ);
	at = BYTES(at, 1, VS_INTERFACE);
	at = BYTES(at, 18, USB_DT_CS_INTERFACE, UVC_VC_INPUT_TERMINAL, CAMERA_TERMINAL, 0x01, 0x02, 0, 0,
		   0, 0, 0, 0, 0, 0, 3, 0x2a, 0x10, 0x02); // auto exposure, exposure, focus, pan/tilt relative, auto focus
	at = BYTES(at, 12, USB_DT_CS_INTERFACE, UVC_VC_PROCESSING_UNIT, PROCESSING_UNIT, CAMERA_TERMINAL, 0, 0, 2,
		   0x4b, 0x16, 0, 0); // brightness, contrast, saturation, white balance, gain, power line, its auto
	at = BYTES(at, 9, USB_DT_CS_INTERFACE, UVC_VC_OUTPUT_TERMINAL, OUTPUT_TERMINAL, 0x01, 0x01, 0,
		   PROCESSING_UNIT, 0);
	write16(header + 5, at - header);
	return at;
}

static uint8_t *frame(uint8_t *at, int format, int index) {
	const struct size *size = &formats[format].size[index];
	uint8_t *start = at;
	int rates = 0;
	uint32_t bytes = size->width * size->height * 2;
	static const uint8_t kind[] = {0, UVC_VS_FRAME_UNCOMPRESSED, UVC_VS_FRAME_MJPEG, UVC_VS_FRAME_FRAME_BASED};
	while (rates < 3 && size->fps[rates])
		rates++;
	at = BYTES(at, 0, USB_DT_CS_INTERFACE, kind[format], index + 1, 0);
	at = put16(at, size->width);
	at = put16(at, size->height);
	at = put32(at, bytes * 8 * size->fps[rates - 1]);
	at = put32(at, bytes * 8 * size->fps[0]);
	if (format != H264)
		at = put32(at, bytes);
	at = put32(at, 10000000 / size->fps[0]);
	at = put8(at, rates);
	if (format == H264)
		at = put32(at, 0); // dwBytesPerLine
	for (int n = 0; n < rates; n++)
		at = put32(at, 10000000 / size->fps[n]);
	*start = at - start;
	return at;
}

static uint8_t *format(uint8_t *at, int index) {
	static const uint8_t guid[] = {0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71};
	int sizes = formats[index].sizes;
	if (index == MJPG) {
		at = BYTES(at, 11, USB_DT_CS_INTERFACE, UVC_VS_FORMAT_MJPEG, index, sizes, 1, 1, 0, 0, 0, 0);
	} else {
		at = index == YUYV ? BYTES(at, 27, USB_DT_CS_INTERFACE, UVC_VS_FORMAT_UNCOMPRESSED, index, sizes)
				   : BYTES(at, 28, USB_DT_CS_INTERFACE, UVC_VS_FORMAT_FRAME_BASED, index, sizes);
		at = put_all(at, index == YUYV ? "YUY2" : "H264", 4);
		at = put_all(at, guid, sizeof guid);
		at = BYTES(at, 16, 1, 0, 0, 0, 0); // bits per pixel, the default size
		if (index == H264)
			at = put8(at, 1); // the size of pictures varies
	}
	for (int n = 0; n < sizes; n++)
		at = frame(at, index, n);
	if (index == H264)
		return at;
	return BYTES(at, 6, USB_DT_CS_INTERFACE, UVC_VS_COLORFORMAT, 1, 1, 4);
}

static uint8_t *streaming_interface(uint8_t *at) {
	at = interface(at, VS_INTERFACE, 0, faults.isoc ? 0 : 1, UVC_SC_VIDEOSTREAMING);
	uint8_t *header = at;
	at = BYTES(at, 13 + FORMATS, USB_DT_CS_INTERFACE, UVC_VS_INPUT_HEADER, FORMATS, 0, 0,
		   USB_DIR_IN | VIDEO_ENDPOINT, 0, OUTPUT_TERMINAL, 0, 0, 0, 1, 0, 0, 0);
	for (int n = 1; n <= FORMATS; n++)
		at = format(at, n);
	write16(header + 4, at - header);
	if (!faults.isoc)
		return endpoint(at, USB_ENDPOINT_XFER_BULK, 512);
	at = interface(at, VS_INTERFACE, 1, 1, UVC_SC_VIDEOSTREAMING);
	at = endpoint(at, USB_ENDPOINT_XFER_ISOC | USB_ENDPOINT_SYNC_ASYNC, SMALL_PACKET);
	at = interface(at, VS_INTERFACE, 2, 1, UVC_SC_VIDEOSTREAMING);
	return endpoint(at, USB_ENDPOINT_XFER_ISOC | USB_ENDPOINT_SYNC_ASYNC, LARGE_PACKET / 3 | 2 << 11);
}

static int configuration(uint8_t *data) {
	uint8_t *at = BYTES(data, 9, USB_DT_CONFIG, 0, 0, 2, 1, 0, 0x80, 250);
	at = BYTES(at, 8, USB_DT_INTERFACE_ASSOCIATION, VC_INTERFACE, 2, USB_CLASS_VIDEO, 3, 0, 2);
	at = control_interface(at);
	at = streaming_interface(at);
	write16(data + 2, at - data);
	return at - data;
}

static int string(uint8_t *data, unsigned index) {
	if (index >= sizeof strings / sizeof *strings)
		return -EPIPE;
	if (index == 0)
		return BYTES(data, 4, USB_DT_STRING, 0x09, 0x04) - data;
	uint8_t *at = data + 2;
	for (const char *from = strings[index]; *from; from++)
		at = put16(at, *from);
	return data[0] = at - data, data[1] = USB_DT_STRING, at - data;
}

static int descriptor(const struct setup *setup, uint8_t *data) {
	switch (setup->value >> 8) {
	case USB_DT_DEVICE: // 1209:0001 is the identifier for tests of pid.codes
		return BYTES(data, 18, USB_DT_DEVICE, 0x00, 0x02, USB_CLASS_MISC, 2, 1, 64, 0x09, 0x12, 0x01, 0x00,
			     0x00, 0x01, 1, 2, 3, 1) - data;
	case USB_DT_CONFIG:
		return configuration(data);
	case USB_DT_STRING:
		return string(data, setup->value & 0xff);
	default:
		return -EPIPE;
	}
}

static int standard_request(const struct setup *setup, uint8_t *data) {
	switch (setup->request) {
	case USB_REQ_GET_DESCRIPTOR:
		return descriptor(setup, data);
	case USB_REQ_GET_STATUS:
		return 2;
	case USB_REQ_GET_CONFIGURATION:
		return data[0] = 1, 1;
	case USB_REQ_SET_INTERFACE:
		return setup->index == VS_INTERFACE ? stream_interface(setup->value) : 0;
	case USB_REQ_CLEAR_FEATURE:
		// UVC has no word for the end of a bulk stream: Linux and Windows say it with this.
		if (setup->request_type == USB_RECIP_ENDPOINT)
			stream_stop();
		return 0;
	case USB_REQ_SET_ADDRESS:
	case USB_REQ_SET_CONFIGURATION:
	case USB_REQ_SET_FEATURE:
		return 0;
	default:
		return -EPIPE;
	}
}

int device_request(const struct setup *setup, uint8_t *data) {
	if ((setup->request_type & USB_TYPE_MASK) == USB_TYPE_STANDARD)
		return standard_request(setup, data);
	return (setup->index & 0xff) == VS_INTERFACE ? stream_request(setup, data) : control_request(setup, data);
}
