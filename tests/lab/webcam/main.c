// webcam serve FOLDER: the camera, until it is ended. FOLDER has its recordings.
// webcam COMMAND...:   tells that one what to do; without a command it lists them.
#include <errno.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "webcam.h"

static const char help[] =
	"webcam plug [bulk|isoc]      plugs the camera in and waits for its link in /dev/v4l/by-id\n"
	"webcam unplug                pulls it out, streaming or not\n"
	"webcam status                what it does, and the values of its controls\n"
	"webcam stall SECONDS         delivers nothing for so long\n"
	"webcam cut N|garbage N       each N-th compressed picture ends in its middle, or is noise (0: none)\n"
	"webcam first-garbage on|off  the first picture of each stream is noise\n"
	"webcam wrong-size on|off     from the next start on: MJPEG pictures of 1280x720, whatever was agreed on\n"
	"webcam clock SECONDS|still|run  PTS and SCR jump by so much, stand still, or are right again\n"
	"webcam refuse WIDTH          sizes from this width on do not start: EIO (0: all do)\n"
	"webcam full on|off           sizes from 1280 on find the bus full: ENOSPC (isoc only)\n"
	"webcam fix|free CONTROL      its minimum is its maximum, from the next plug on; or no more\n"
	"webcam h264 plain|sparse|high  from the next start on: one key frame in 10 s, and parameter sets only at the\n"
	"                             stream's start; or the High profile, 640028\n"
	"webcam well                  all faults end\n";
static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/webcam"};

struct faults faults;

double now(void) {
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static bool on(const char *value) { return strcmp(value, "on") == 0; }

static bool clock_command(const char *value) {
	faults.clock_stands = strcmp(value, "still") == 0;
	faults.clock_shift_us = faults.clock_stands ? faults.clock_shift_us : atoll(value) * CLOCK_HZ;
	return true;
}

static bool h264_command(const char *value) {
	bool plain = strcmp(value, "plain") == 0;
	if (!plain && strcmp(value, "sparse") != 0 && strcmp(value, "high") != 0)
		return false;
	snprintf(faults.h264, sizeof faults.h264, "%s", plain ? "" : value);
	return true;
}

static bool plug_command(const char *value) {
	faults.isoc = strcmp(value, "isoc") == 0;
	unplug();
	return plug();
}

// Says whether the command was understood and done.
static bool obey(const char *command, const char *value) {
	bool isoc = faults.isoc;
	if (strcmp(command, "plug") == 0) return plug_command(value);
	if (strcmp(command, "unplug") == 0) return unplug(), true;
	if (strcmp(command, "status") == 0) return true;
	if (strcmp(command, "stall") == 0) return faults.stalled_until = now() + atof(value), true;
	if (strcmp(command, "cut") == 0) return faults.cut_every = atoi(value), true;
	if (strcmp(command, "garbage") == 0) return faults.garbage_every = atoi(value), true;
	if (strcmp(command, "first-garbage") == 0) return faults.first_is_garbage = on(value), true;
	if (strcmp(command, "wrong-size") == 0) return faults.wrong_size = on(value), true;
	if (strcmp(command, "clock") == 0) return clock_command(value);
	if (strcmp(command, "refuse") == 0) return faults.refused_width = atoi(value), true;
	if (strcmp(command, "full") == 0) return faults.no_bandwidth = on(value), true;
	if (strcmp(command, "fix") == 0) return fix_control(value, true);
	if (strcmp(command, "free") == 0) return fix_control(value, false);
	if (strcmp(command, "h264") == 0) return h264_command(value);
	if (strcmp(command, "well") == 0) return memset(&faults, 0, sizeof faults), faults.isoc = isoc, true;
	return false;
}

static void serve_command(int listener) {
	char line[128] = "", command[32] = "", value[64] = "", reply[1024];
	int peer = accept(listener, NULL, NULL);
	if (peer < 0)
		return;
	if (read(peer, line, sizeof line - 1) > 0) {
		sscanf(line, "%31s %63s", command, value);
		bool done = obey(command, value);
		int length = snprintf(reply, sizeof reply, "%s %s %s %s\n", done ? "done:" : "refused:",
				      usb_socket() < 0 ? "out" : faults.isoc ? "isoc" : "bulk", stream_status(),
				      control_values());
		if (write(peer, reply, length) < 0)
			perror("webcam: answer");
	}
	close(peer);
}

static int serve(const char *folder) {
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	load_recordings(folder);
	unlink(address.sun_path);
	if (listener < 0 || bind(listener, (const struct sockaddr *)&address, sizeof address) || listen(listener, 4)) {
		perror("webcam: /run/webcam");
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		struct pollfd ready[] = {{.fd = listener, .events = POLLIN}, {.fd = usb_socket(), .events = POLLIN}};
		usb_send_video();
		ready[1].fd = usb_socket();
		int wait = stream_wait_ms();
		if (poll(ready, 2, wait == 0 ? 5 : wait) < 0 && errno != EINTR)
			return 1;
		if (ready[1].revents)
			usb_receive();
		if (ready[0].revents)
			serve_command(listener);
	}
}

// udev makes the link last, so that everything else is there too.
static bool linked(void) {
	glob_t found;
	bool some = glob("/dev/v4l/by-id/usb-Lab_USB_Webcam_*-video-index0", 0, NULL, &found) == 0;
	globfree(&found);
	return some;
}

static bool wait_for_link(bool wanted) {
	for (double end = now() + 60; now() < end; usleep(50000))
		if (linked() == wanted)
			return true;
	fprintf(stderr, "webcam: its link in /dev/v4l/by-id %s\n", wanted ? "does not appear" : "does not go");
	return false;
}

static int tell(int words, char **word) {
	char line[128], reply[1024];
	int peer = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(peer, (const struct sockaddr *)&address, sizeof address)) {
		perror("webcam: nobody serves");
		return 1;
	}
	int length = snprintf(line, sizeof line, "%s %s", word[0], words > 1 ? word[1] : "");
	if (write(peer, line, length) != length)
		return 1;
	ssize_t got = read(peer, reply, sizeof reply - 1);
	reply[got > 0 ? got : 0] = 0;
	fputs(reply, stdout);
	if (strncmp(reply, "done", 4) != 0)
		return 1;
	if (strcmp(word[0], "plug") == 0)
		return !wait_for_link(true);
	return strcmp(word[0], "unplug") == 0 ? !wait_for_link(false) : 0;
}

int main(int argc, char **argv) {
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve(argv[2]);
	if (argc == 2 || argc == 3)
		return tell(argc - 1, argv + 1);
	fputs(help, stdout);
	return argc == 1 ? 0 : 64;
}
