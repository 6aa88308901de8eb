// A USB camera made of software: the lab's guest attaches it with its kernel's own vhci_hcd, and the real
// uvcvideo drives it. Everything below the socket is the guest's kernel; nothing here knows of V4L2.
//
// What it speaks, and where that is written:
//   USB/IP      Documentation/usb/usbip_protocol.rst of the kernel: USBIP_CMD_SUBMIT, USBIP_RET_SUBMIT,
//               USBIP_CMD_UNLINK, USBIP_RET_UNLINK. The handshake before them (OP_REQ_IMPORT) is between
//               usbip's own programs and the kernel never sees it: this program is both of its ends, so it
//               gives the kernel one end of a socket pair (usbip.c).
//   USB         2.0, chapter 9: standard requests and descriptors (device.c).
//   UVC         "USB Device Class Definition for Video Devices" 1.1 and 1.5: 2.4.3.3 payload headers with PTS
//               and SCR (stream.c), 3.7 and 3.9 descriptors (device.c), 4.2.2 control requests of camera
//               terminal and processing unit (controls.c), 4.3.1.1 video probe and commit (stream.c).
//               "Uncompressed", "MJPEG" and "Frame Based" payload format specifications: H.264 is
//               frame-based, because Linux does not know the H.264 payload of UVC 1.5.
//
// Streaming is over a bulk endpoint, or (`plug isoc`) over an isochronous one with two alternate settings.
// The latter is there for one fault: a bus that is full. uvcvideo makes EIO of every control request that
// fails, VS_COMMIT included, and with a bulk endpoint asks nothing else of the bus: ENOSPC reaches the
// program that streams only from SET_INTERFACE, with which an isochronous camera claims its share.
#ifndef WEBCAM_H
#define WEBCAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VC_INTERFACE = 0, VS_INTERFACE = 1, VIDEO_ENDPOINT = 1 };
enum { CAMERA_TERMINAL = 1, PROCESSING_UNIT = 2, OUTPUT_TERMINAL = 3 };
enum { YUYV = 1, MJPG = 2, H264 = 3, FORMATS = 3 }; // bFormatIndex
enum { CLOCK_HZ = 1000000 };                        // of PTS and SCR
enum { SMALL_PACKET = 1024, LARGE_PACKET = 3072 };  // of the two alternate settings of `plug isoc`

struct size { // one bFrameIndex of a format
	int width, height;
	int fps[3]; // 0 ends them
};
struct format {
	const char *name;
	int sizes;
	struct size size[3];
};
extern const struct format formats[FORMATS + 1];

struct setup { // the eight bytes of USB 2.0, 9.3
	uint8_t request_type, request;
	uint16_t value, index, length;
};

struct faults {
	bool isoc;              // not a fault: how the camera streams, from the next plug on
	bool no_bandwidth;      // SET_INTERFACE of the large alternate setting: no bandwidth left (ENOSPC)
	int refused_width;      // VS_COMMIT of sizes from this width on fails (EIO); 0: none
	int cut_every;          // each n-th compressed picture ends in its middle; 0: none
	int garbage_every;      // each n-th compressed picture is noise; 0: none
	bool first_is_garbage;  // the first picture of each stream is noise
	bool wrong_size;        // MJPEG pictures of 1280x720, whatever was agreed on; from the next start on
	int64_t clock_shift_us; // added to PTS and SCR
	bool clock_stands;      // PTS and SCR stay what they were
	double stalled_until;   // nothing is sent before this time
	char h264[16];          // "", "sparse" or "high": which recording
};
extern struct faults faults;

double now(void); // seconds, monotonic

// device.c: descriptors and standard requests. Return the length of the answer or a negative errno.
int device_request(const struct setup *setup, uint8_t *data);
void write16(uint8_t *at, unsigned value);
void write32(uint8_t *at, uint32_t value);
uint32_t read32(const uint8_t *at);

// controls.c
int control_request(const struct setup *setup, uint8_t *data);
bool fix_control(const char *name, bool fixed); // its minimum becomes its maximum, from the next plug on
const char *control_values(void);

// stream.c
void load_recordings(const char *folder);
int stream_request(const struct setup *setup, uint8_t *data);
int stream_interface(int setting); // SET_INTERFACE
void stream_stop(void);
int stream_wait_ms(void);                        // until the next picture is due; -1: there is none
size_t next_payload(uint8_t *to, size_t at_most); // 0: nothing to send now
const char *stream_status(void);

// usbip.c
bool plug(void);
void unplug(void);
int usb_socket(void); // -1: not plugged in
void usb_receive(void);
void usb_send_video(void);

#endif
