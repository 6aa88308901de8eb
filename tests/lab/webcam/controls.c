// Camera terminal and processing unit (UVC 4.2.2): values that can be read and set, and nothing behind them.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/usb/video.h>

#include "webcam.h"

enum { WRONG_STATE = 2, INVALID_CONTROL = 6 }; // VC_REQUEST_ERROR_CODE_CONTROL, UVC 4.2.1.2
enum { APERTURE_PRIORITY = 8, MANUAL = 1 };    // bits of CT_AE_MODE_CONTROL

struct control {
	const char *name;
	uint8_t unit, selector, size;
	int64_t min, max, step, standard, value;
	const char *master; // it cannot be set while this one is on automatic
	bool fixed;         // its minimum is its maximum
};

// Pan and tilt relative: for each a direction and a speed, as four bytes.
static struct control controls[] = {
	{"auto-exposure", CAMERA_TERMINAL, UVC_CT_AE_MODE_CONTROL, 1, 0, 0, MANUAL | APERTURE_PRIORITY,
	 APERTURE_PRIORITY, APERTURE_PRIORITY, NULL, false},
	{"exposure", CAMERA_TERMINAL, UVC_CT_EXPOSURE_TIME_ABSOLUTE_CONTROL, 4, 1, 5000, 1, 157, 157, "auto-exposure", false},
	{"focus", CAMERA_TERMINAL, UVC_CT_FOCUS_ABSOLUTE_CONTROL, 2, 0, 250, 5, 30, 30, "auto-focus", false},
	{"auto-focus", CAMERA_TERMINAL, UVC_CT_FOCUS_AUTO_CONTROL, 1, 0, 1, 1, 1, 1, NULL, false},
	{"pan", CAMERA_TERMINAL, UVC_CT_PANTILT_RELATIVE_CONTROL, 4, 0x01000100, 0x08010801, 0x01000100, 0x01000100, 0,
	 NULL, false},
	{"brightness", PROCESSING_UNIT, UVC_PU_BRIGHTNESS_CONTROL, 2, -64, 64, 1, 0, 0, NULL, false},
	{"contrast", PROCESSING_UNIT, UVC_PU_CONTRAST_CONTROL, 2, 0, 95, 1, 32, 32, NULL, false},
	{"saturation", PROCESSING_UNIT, UVC_PU_SATURATION_CONTROL, 2, 0, 128, 1, 64, 64, NULL, false},
	{"white-balance", PROCESSING_UNIT, UVC_PU_WHITE_BALANCE_TEMPERATURE_CONTROL, 2, 2800, 6500, 1, 4600, 4600,
	 "auto-white-balance", false},
	{"gain", PROCESSING_UNIT, UVC_PU_GAIN_CONTROL, 2, 0, 255, 1, 16, 16, NULL, false},
	{"power-line", PROCESSING_UNIT, UVC_PU_POWER_LINE_FREQUENCY_CONTROL, 1, 0, 2, 1, 1, 1, NULL, false},
	{"auto-white-balance", PROCESSING_UNIT, UVC_PU_WHITE_BALANCE_TEMPERATURE_AUTO_CONTROL, 1, 0, 1, 1, 1, 1, NULL, false},
};
enum { CONTROLS = sizeof controls / sizeof *controls };
static uint8_t last_error;

static struct control *named(const char *name) {
	for (int n = 0; n < CONTROLS; n++)
		if (strcmp(controls[n].name, name) == 0)
			return &controls[n];
	return NULL;
}

bool fix_control(const char *name, bool fixed) {
	struct control *control = named(name);
	if (control)
		control->fixed = fixed;
	return control;
}

const char *control_values(void) {
	static char text[512];
	int at = 0;
	for (int n = 0; n < CONTROLS; n++)
		at += snprintf(text + at, sizeof text - at, "%s=%lld ", controls[n].name, (long long)controls[n].value);
	return text;
}

static bool automatic(const struct control *control) {
	const struct control *master = control->master ? named(control->master) : NULL;
	return master && master->value != (master->selector == UVC_CT_AE_MODE_CONTROL && master->unit == CAMERA_TERMINAL ? MANUAL : 0);
}

static int number(uint8_t *data, int size, int64_t value) {
	for (int n = 0; n < size; n++)
		data[n] = value >> (8 * n);
	return size;
}

static int refuse(int error) {
	last_error = error;
	return -EPIPE;
}

static int set(struct control *control, const uint8_t *data) {
	int64_t value = 0;
	if (automatic(control))
		return refuse(WRONG_STATE);
	for (int n = 0; n < control->size; n++)
		value |= (int64_t)data[n] << (8 * n);
	if (control->min < 0 && value >> (8 * control->size - 1))
		value -= (int64_t)1 << (8 * control->size);
	control->value = value;
	return 0;
}

static int answer(struct control *control, int request, uint8_t *data) {
	int size = control->size;
	switch (request) {
	case UVC_SET_CUR: return set(control, data);
	case UVC_GET_CUR: return number(data, size, control->fixed ? control->standard : control->value);
	case UVC_GET_MIN: return number(data, size, control->fixed ? control->standard : control->min);
	case UVC_GET_MAX: return number(data, size, control->fixed ? control->standard : control->max);
	case UVC_GET_RES: return number(data, size, control->step);
	case UVC_GET_DEF: return number(data, size, control->standard);
	case UVC_GET_LEN: return number(data, 2, size);
	case UVC_GET_INFO: return number(data, 1, UVC_CONTROL_CAP_GET | UVC_CONTROL_CAP_SET);
	default: return refuse(INVALID_CONTROL);
	}
}

int control_request(const struct setup *setup, uint8_t *data) {
	int unit = setup->index >> 8, selector = setup->value >> 8;
	if (unit == 0 && selector == UVC_VC_REQUEST_ERROR_CODE_CONTROL)
		return number(data, 1, last_error);
	for (int n = 0; n < CONTROLS; n++)
		if (controls[n].unit == unit && controls[n].selector == selector)
			return answer(&controls[n], setup->request, data);
	return refuse(INVALID_CONTROL);
}
