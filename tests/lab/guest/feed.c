// feed DEVICE FOURCC WIDTH HEIGHT FPS FILE: plays a recording into a v4l2loopback device for ever,
// one compressed picture per write, so that the device looks like a camera with that format.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void check(int ok, const char *what) {
	if (!ok) {
		perror(what);
		exit(1);
	}
}

// Where the picture after this one starts: JPEG at its start-of-image marker, H.264 at its access
// unit delimiter.
static size_t next_picture(const unsigned char *data, size_t size, size_t at, int jpeg) {
	static const unsigned char soi[] = {0xff, 0xd8, 0xff}, aud[] = {0, 0, 0, 1, 9};
	const unsigned char *mark = jpeg ? soi : aud;
	const unsigned char *found = memmem(data + at + 1, size - at - 1, mark, jpeg ? sizeof soi : sizeof aud);
	return found ? (size_t)(found - data) : size;
}

static void set_format(int device, const char *fourcc, int width, int height) {
	struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT};
	format.fmt.pix.width = width;
	format.fmt.pix.height = height;
	format.fmt.pix.pixelformat = v4l2_fourcc(fourcc[0], fourcc[1], fourcc[2], fourcc[3]);
	format.fmt.pix.field = V4L2_FIELD_NONE;
	format.fmt.pix.sizeimage = width * height * 2;
	format.fmt.pix.colorspace = V4L2_COLORSPACE_JPEG;
	check(ioctl(device, VIDIOC_S_FMT, &format) == 0, "VIDIOC_S_FMT");
}

static void set_rate(int device, int fps) {
	struct v4l2_streamparm parm = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT};
	parm.parm.output.timeperframe.numerator = 1;
	parm.parm.output.timeperframe.denominator = fps;
	check(ioctl(device, VIDIOC_S_PARM, &parm) == 0, "VIDIOC_S_PARM");
}

static unsigned char *read_all(const char *name, size_t *size) {
	struct stat info;
	int file = open(name, O_RDONLY);
	check(file >= 0 && fstat(file, &info) == 0, name);
	unsigned char *data = malloc(info.st_size);
	check(data && read(file, data, info.st_size) == info.st_size, name);
	close(file);
	*size = info.st_size;
	return data;
}

int main(int argc, char **argv) {
	if (argc != 7) {
		fprintf(stderr, "usage: feed DEVICE FOURCC WIDTH HEIGHT FPS FILE\n");
		return 64;
	}
	int fps = atoi(argv[5]), jpeg = strcmp(argv[2], "MJPG") == 0;
	size_t size;
	unsigned char *data = read_all(argv[6], &size);
	int device = open(argv[1], O_RDWR);
	check(device >= 0, argv[1]);
	set_format(device, argv[2], atoi(argv[3]), atoi(argv[4]));
	set_rate(device, fps);

	struct timespec due;
	clock_gettime(CLOCK_MONOTONIC, &due);
	for (size_t at = 0, end;; at = end < size ? end : 0) {
		end = next_picture(data, size, at, jpeg);
		check(write(device, data + at, end - at) >= 0, "write");
		due.tv_nsec += 1000000000 / fps;
		due.tv_sec += due.tv_nsec / 1000000000;
		due.tv_nsec %= 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
	}
}
