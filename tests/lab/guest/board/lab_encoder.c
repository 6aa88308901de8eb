// SPDX-License-Identifier: GPL-2.0
/*
 * A board's H.264 encoder without the board, for tests: a V4L2 memory-to-memory device that shows itself as Raspberry
 * Pi's bcm2835-codec does (names, /dev/video11, formats, controls and their ranges, alignments, level limits).
 * What it encodes is mosaic.h's. Its parameters, which can be written while it runs, make it fail as such
 * encoders do.
 */
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <media/v4l2-ctrls.h>
#include <media/v4l2-device.h>
#include <media/v4l2-event.h>
#include <media/v4l2-ioctl.h>
#include <media/v4l2-mem2mem.h>
#include <media/videobuf2-vmalloc.h>

#include "mosaic.h"

#define DRIVER "bcm2835-codec"
#define NODE 11
#define MIN_SIZE 32
#define MAX_WIDTH 1920
#define MAX_HEIGHT 1080
#define MAX_LATENCY 8

#define FAULT(name, what) \
	static int name; \
	module_param(name, int, 0644); \
	MODULE_PARM_DESC(name, what)

FAULT(hang_after, "no picture comes after this many of an instance");
FAULT(fail_after, "after this many pictures of an instance each carries the error flag");
FAULT(eio_after, "after this many pictures of an instance its queues fail with EIO");
FAULT(single, "a second instance is refused (EBUSY) while one is streaming");
FAULT(no_memory, "STREAMON is refused (ENOMEM), as without contiguous memory");
FAULT(headers_once, "parameter sets come with the first picture only, whatever is asked");
FAULT(ignore_key, "a key frame that is asked for does not come");
FAULT(latency, "this many pictures are kept back");
FAULT(min_rate, "fewer pictures per second are refused");
static int pictures;
module_param(pictures, int, 0444);
MODULE_PARM_DESC(pictures, "how many were encoded since the module was loaded");
static int key_requests;
module_param(key_requests, int, 0444);
MODULE_PARM_DESC(key_requests, "how often a key frame was asked for");

struct lab_queue {
	u32 fourcc, width, height; /* of memory; `shown_` of the picture in it */
	u32 shown_width, shown_height;
	u32 stride, size, sequence;
};

struct lab_picture {
	u8 *data;
	u32 used;
	u64 timestamp;
	bool is_key;
};

struct lab_dev {
	struct v4l2_device v4l2_dev;
	struct video_device vfd;
	struct v4l2_m2m_dev *m2m;
	struct mutex lock; /* of the node's calls, and of both queues */
	struct workqueue_struct *work;
	atomic_t streaming;
};

struct lab_ctx {
	struct v4l2_fh fh;
	struct v4l2_ctrl_handler controls;
	struct lab_dev *dev;
	struct work_struct work;
	struct lab_queue out, cap;
	struct v4l2_fract rate; /* pictures per second */
	struct v4l2_ctrl *bitrate, *repeat, *profile, *level, *gop;
	struct mosaic *mosaic;
	struct lab_picture kept[MAX_LATENCY + 1];
	u32 kept_count;
	u32 pictures, since_key;
	bool wants_key, has_headers, is_counted, is_hung, is_aborted, is_broken;
	u32 colorspace, ycbcr_enc, quantization, xfer_func;
};

static const u32 raw_formats[] = { V4L2_PIX_FMT_YUV420, V4L2_PIX_FMT_NV12, V4L2_PIX_FMT_YUYV };

/* Table A-1: macroblocks of a picture and of a second, by V4L2's number of the level. */
static const struct {
	u8 idc;
	u32 blocks, blocks_per_s;
} levels[] = {
	{ 10, 99, 1485 },      { 9, 99, 1485 },	     { 11, 396, 3000 },	     { 12, 396, 6000 },
	{ 13, 396, 11880 },    { 20, 396, 11880 },   { 21, 792, 19800 },     { 22, 1620, 20250 },
	{ 30, 1620, 40500 },   { 31, 3600, 108000 }, { 32, 5120, 216000 },   { 40, 8192, 245760 },
	{ 41, 8192, 245760 },  { 42, 8704, 522240 }, { 50, 22080, 589824 }, { 51, 36864, 983040 },
};

static struct lab_ctx *ctx_of(struct file *file)
{
	return container_of(file->private_data, struct lab_ctx, fh);
}

static struct lab_queue *queue_of(struct lab_ctx *ctx, u32 type)
{
	return V4L2_TYPE_IS_OUTPUT(type) ? &ctx->out : &ctx->cap;
}

static bool is_raw(u32 fourcc)
{
	int n;

	for (n = 0; n < ARRAY_SIZE(raw_formats); n++)
		if (raw_formats[n] == fourcc)
			return true;
	return false;
}

/* ---- encoding ---- */

static void set_headers(struct lab_ctx *ctx)
{
	switch (ctx->profile->val) {
	case V4L2_MPEG_VIDEO_H264_PROFILE_HIGH:
		ctx->mosaic->profile = 100;
		ctx->mosaic->constraints = 0;
		break;
	case V4L2_MPEG_VIDEO_H264_PROFILE_MAIN:
		ctx->mosaic->profile = 77;
		ctx->mosaic->constraints = 0x40;
		break;
	default:
		ctx->mosaic->profile = 66;
		ctx->mosaic->constraints = 0xc0;
	}
	ctx->mosaic->level = levels[ctx->level->val].idc;
}

static u32 bits_of_a_picture(struct lab_ctx *ctx)
{
	return div_u64((u64)ctx->bitrate->val * ctx->rate.denominator, max(ctx->rate.numerator, 1U));
}

static bool encode(struct lab_ctx *ctx, struct vb2_v4l2_buffer *src, struct lab_picture *to)
{
	struct mosaic_input in = {
		.data = vb2_plane_vaddr(&src->vb2_buf, 0),
		.format = ctx->out.fourcc == V4L2_PIX_FMT_YUYV ? MOSAIC_YUYV :
			  ctx->out.fourcc == V4L2_PIX_FMT_NV12 ? MOSAIC_NV12 : MOSAIC_I420,
		.stride = ctx->out.stride,
		.lines = ctx->out.height,
	};
	u32 period = ctx->gop->val;
	bool with_headers;

	if (!in.data || !to->data)
		return false;
	to->is_key = !ctx->has_headers || (period && ctx->since_key >= period) || (ctx->wants_key && !ignore_key);
	if (to->is_key)
		ctx->since_key = 0;
	ctx->wants_key = false;
	ctx->since_key++;
	with_headers = !ctx->has_headers || (to->is_key && ctx->repeat->val && !headers_once);
	ctx->has_headers = true;
	set_headers(ctx);
	to->timestamp = src->vb2_buf.timestamp;
	to->used = mosaic_encode(ctx->mosaic, &in, to->is_key, with_headers, bits_of_a_picture(ctx), to->data, ctx->cap.size);
	ctx->pictures++;
	pictures++;
	return to->used;
}

/* The oldest picture that was kept, into the next buffer. */
static struct vb2_v4l2_buffer *deliver(struct lab_ctx *ctx)
{
	struct vb2_v4l2_buffer *dst = v4l2_m2m_dst_buf_remove(ctx->fh.m2m_ctx);
	struct lab_picture first = ctx->kept[0];

	if (!dst)
		return NULL;
	memcpy(vb2_plane_vaddr(&dst->vb2_buf, 0), first.data, first.used);
	vb2_set_plane_payload(&dst->vb2_buf, 0, first.used);
	dst->vb2_buf.timestamp = first.timestamp;
	dst->field = V4L2_FIELD_NONE;
	dst->sequence = ctx->cap.sequence++;
	dst->flags = first.is_key ? V4L2_BUF_FLAG_KEYFRAME : V4L2_BUF_FLAG_PFRAME;
	ctx->kept_count--;
	memmove(ctx->kept, ctx->kept + 1, ctx->kept_count * sizeof(first));
	ctx->kept[ctx->kept_count].data = first.data;
	return dst;
}

static const struct v4l2_event end_of_stream = { .type = V4L2_EVENT_EOS };

static bool is_reached(int limit, u32 count)
{
	return limit > 0 && count >= limit;
}

/* Also an encoder that hangs lets its user go. Whoever comes second of the hang and of the abort does it. */
static void let_go(struct lab_ctx *ctx)
{
	smp_mb();
	if (READ_ONCE(ctx->is_aborted) && xchg(&ctx->is_hung, false))
		v4l2_m2m_job_finish(ctx->dev->m2m, ctx->fh.m2m_ctx);
}

static void work(struct work_struct *item)
{
	struct lab_ctx *ctx = container_of(item, struct lab_ctx, work);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *src = v4l2_m2m_next_src_buf(m2m), *dst = NULL;
	enum vb2_buffer_state state = VB2_BUF_STATE_DONE;
	u32 keep = clamp(latency, 0, MAX_LATENCY);
	bool is_last;

	if (is_reached(hang_after, ctx->pictures)) {
		WRITE_ONCE(ctx->is_hung, true);
		let_go(ctx);
		return;
	}
	if (is_reached(eio_after, ctx->pictures)) {
		ctx->is_broken = true;
		vb2_queue_error(v4l2_m2m_get_vq(m2m, V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE));
		vb2_queue_error(v4l2_m2m_get_vq(m2m, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE));
		v4l2_m2m_job_finish(ctx->dev->m2m, m2m);
		return;
	}
	if (is_reached(fail_after, ctx->pictures))
		state = VB2_BUF_STATE_ERROR;
	is_last = v4l2_m2m_is_last_draining_src_buf(m2m, src);
	if (encode(ctx, src, &ctx->kept[ctx->kept_count]))
		ctx->kept_count++;
	else
		state = VB2_BUF_STATE_ERROR;
	src = v4l2_m2m_src_buf_remove(m2m);
	src->sequence = ctx->out.sequence++;
	v4l2_m2m_buf_done(src, VB2_BUF_STATE_DONE);
	while (ctx->kept_count && (is_last || ctx->kept_count > keep)) {
		struct vb2_v4l2_buffer *next = deliver(ctx);

		if (!next)
			break;
		if (dst)
			v4l2_m2m_buf_done(dst, state);
		dst = next;
	}
	if (!dst && (is_last || state == VB2_BUF_STATE_ERROR)) {
		dst = v4l2_m2m_dst_buf_remove(m2m);
		if (dst)
			vb2_set_plane_payload(&dst->vb2_buf, 0, 0);
	}
	if (is_last) {
		if (dst)
			dst->flags |= V4L2_BUF_FLAG_LAST;
		v4l2_m2m_mark_stopped(m2m);
		v4l2_event_queue_fh(&ctx->fh, &end_of_stream);
	}
	if (dst)
		v4l2_m2m_buf_done(dst, state);
	v4l2_m2m_job_finish(ctx->dev->m2m, m2m);
}

static void device_run(void *priv)
{
	struct lab_ctx *ctx = priv;

	queue_work(ctx->dev->work, &ctx->work);
}

static int job_ready(void *priv)
{
	struct lab_ctx *ctx = priv;

	return !ctx->is_broken && !v4l2_m2m_has_stopped(ctx->fh.m2m_ctx);
}

/* The job may have been chosen and not yet be at work. */
static void job_abort(void *priv)
{
	struct lab_ctx *ctx = priv;

	WRITE_ONCE(ctx->is_aborted, true);
	let_go(ctx);
}

static const struct v4l2_m2m_ops m2m_ops = {
	.device_run = device_run,
	.job_ready = job_ready,
	.job_abort = job_abort,
};

/* ---- queues ---- */

static int queue_setup(struct vb2_queue *q, unsigned int *buffers, unsigned int *planes, unsigned int sizes[],
		       struct device *devices[])
{
	u32 size = queue_of(vb2_get_drv_priv(q), q->type)->size;

	if (*planes)
		return sizes[0] < size ? -EINVAL : 0;
	*planes = 1;
	sizes[0] = size;
	return 0;
}

static int buf_out_validate(struct vb2_buffer *vb)
{
	to_vb2_v4l2_buffer(vb)->field = V4L2_FIELD_NONE;
	return 0;
}

static int buf_prepare(struct vb2_buffer *vb)
{
	struct lab_ctx *ctx = vb2_get_drv_priv(vb->vb2_queue);

	return vb2_plane_size(vb, 0) < queue_of(ctx, vb->vb2_queue->type)->size ? -EINVAL : 0;
}

static void buf_queue(struct vb2_buffer *vb)
{
	struct lab_ctx *ctx = vb2_get_drv_priv(vb->vb2_queue);
	struct vb2_v4l2_buffer *buffer = to_vb2_v4l2_buffer(vb);

	if (V4L2_TYPE_IS_CAPTURE(vb->vb2_queue->type) && vb2_is_streaming(vb->vb2_queue) &&
	    v4l2_m2m_dst_buf_is_last(ctx->fh.m2m_ctx)) {
		vb2_set_plane_payload(vb, 0, 0);
		buffer->field = V4L2_FIELD_NONE;
		buffer->sequence = ctx->cap.sequence++;
		v4l2_m2m_last_buffer_done(ctx->fh.m2m_ctx, buffer);
		v4l2_event_queue_fh(&ctx->fh, &end_of_stream);
		return;
	}
	v4l2_m2m_buf_queue(ctx->fh.m2m_ctx, buffer);
}

static void give_back(struct lab_ctx *ctx, u32 type, enum vb2_buffer_state state)
{
	struct vb2_v4l2_buffer *buffer;

	while ((buffer = V4L2_TYPE_IS_OUTPUT(type) ? v4l2_m2m_src_buf_remove(ctx->fh.m2m_ctx) :
						     v4l2_m2m_dst_buf_remove(ctx->fh.m2m_ctx)))
		v4l2_m2m_buf_done(buffer, state);
}

static void forget(struct lab_ctx *ctx)
{
	int n;

	for (n = 0; n <= MAX_LATENCY; n++)
		kvfree(ctx->kept[n].data);
	memset(ctx->kept, 0, sizeof(ctx->kept));
	ctx->kept_count = 0;
}

static int start_encoder(struct lab_ctx *ctx)
{
	u32 level = ctx->level->val, blocks, n;

	if (no_memory)
		return -ENOMEM;
	if (!mosaic_start(ctx->mosaic, ctx->out.shown_width, ctx->out.shown_height))
		return -EINVAL;
	blocks = ctx->mosaic->across * ctx->mosaic->down;
	if (blocks > levels[level].blocks ||
	    (u64)blocks * ctx->rate.numerator > (u64)levels[level].blocks_per_s * ctx->rate.denominator)
		return -EINVAL;
	forget(ctx);
	for (n = 0; n <= MAX_LATENCY; n++) {
		ctx->kept[n].data = kvmalloc(ctx->cap.size, GFP_KERNEL);
		if (!ctx->kept[n].data) {
			forget(ctx);
			return -ENOMEM;
		}
	}
	ctx->pictures = 0;
	ctx->has_headers = ctx->is_broken = false;
	return 0;
}

static int start_streaming(struct vb2_queue *q, unsigned int count)
{
	struct lab_ctx *ctx = vb2_get_drv_priv(q);
	int error = 0;

	queue_of(ctx, q->type)->sequence = 0;
	ctx->is_aborted = false;
	if (V4L2_TYPE_IS_OUTPUT(q->type)) {
		error = start_encoder(ctx);
		if (!error && !ctx->is_counted) {
			ctx->is_counted = true;
			atomic_inc(&ctx->dev->streaming);
		}
	}
	if (error)
		give_back(ctx, q->type, VB2_BUF_STATE_QUEUED);
	else
		v4l2_m2m_update_start_streaming_state(ctx->fh.m2m_ctx, q);
	return error;
}

static void stop_streaming(struct vb2_queue *q)
{
	struct lab_ctx *ctx = vb2_get_drv_priv(q);

	give_back(ctx, q->type, VB2_BUF_STATE_ERROR);
	v4l2_m2m_update_stop_streaming_state(ctx->fh.m2m_ctx, q);
	if (!V4L2_TYPE_IS_OUTPUT(q->type))
		return;
	if (v4l2_m2m_has_stopped(ctx->fh.m2m_ctx))
		v4l2_event_queue_fh(&ctx->fh, &end_of_stream);
	if (ctx->is_counted) {
		ctx->is_counted = false;
		atomic_dec(&ctx->dev->streaming);
	}
}

static const struct vb2_ops queue_ops = {
	.queue_setup = queue_setup,
	.buf_out_validate = buf_out_validate,
	.buf_prepare = buf_prepare,
	.buf_queue = buf_queue,
	.start_streaming = start_streaming,
	.stop_streaming = stop_streaming,
	.wait_prepare = vb2_ops_wait_prepare,
	.wait_finish = vb2_ops_wait_finish,
};

static int init_queue(struct lab_ctx *ctx, struct vb2_queue *q, u32 type)
{
	q->type = type;
	q->io_modes = VB2_MMAP | VB2_DMABUF;
	q->drv_priv = ctx;
	q->buf_struct_size = sizeof(struct v4l2_m2m_buffer);
	q->ops = &queue_ops;
	q->mem_ops = &vb2_vmalloc_memops;
	q->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
	q->lock = &ctx->dev->lock;
	q->dev = ctx->dev->v4l2_dev.dev;
	q->min_reqbufs_allocation = 1;
	return vb2_queue_init(q);
}

static int init_queues(void *priv, struct vb2_queue *src, struct vb2_queue *dst)
{
	return init_queue(priv, src, V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE) ?:
	       init_queue(priv, dst, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE);
}

/* ---- formats ---- */

static int querycap(struct file *file, void *priv, struct v4l2_capability *cap)
{
	strscpy(cap->driver, DRIVER, sizeof(cap->driver));
	strscpy(cap->card, DRIVER "-encode", sizeof(cap->card));
	strscpy(cap->bus_info, "platform:" DRIVER, sizeof(cap->bus_info));
	return 0;
}

static int enum_fmt_cap(struct file *file, void *priv, struct v4l2_fmtdesc *f)
{
	if (f->index)
		return -EINVAL;
	f->pixelformat = V4L2_PIX_FMT_H264;
	f->flags = V4L2_FMT_FLAG_COMPRESSED;
	return 0;
}

static int enum_fmt_out(struct file *file, void *priv, struct v4l2_fmtdesc *f)
{
	if (f->index >= ARRAY_SIZE(raw_formats))
		return -EINVAL;
	f->pixelformat = raw_formats[f->index];
	return 0;
}

static int enum_framesizes(struct file *file, void *priv, struct v4l2_frmsizeenum *f)
{
	if (f->index || (f->pixel_format != V4L2_PIX_FMT_H264 && !is_raw(f->pixel_format)))
		return -EINVAL;
	f->type = V4L2_FRMSIZE_TYPE_STEPWISE;
	f->stepwise = (struct v4l2_frmsize_stepwise){ MIN_SIZE, MAX_WIDTH, 2, MIN_SIZE, MAX_HEIGHT, 2 };
	return 0;
}

static struct lab_queue layout(u32 fourcc, u32 width, u32 height)
{
	struct lab_queue q = { .fourcc = fourcc };

	q.shown_width = q.width = clamp(ALIGN(width, 2), MIN_SIZE, MAX_WIDTH);
	q.shown_height = q.height = clamp(ALIGN(height, 2), MIN_SIZE, MAX_HEIGHT);
	if (fourcc == V4L2_PIX_FMT_H264) {
		q.size = (q.width * q.height > 1280 * 720 ? 768 : 512) << 10;
		return q;
	}
	q.height = ALIGN(q.height, 16);
	q.stride = ALIGN(q.width, 32) * (fourcc == V4L2_PIX_FMT_YUYV ? 2 : 1);
	q.size = fourcc == V4L2_PIX_FMT_YUYV ? q.stride * q.height : q.stride * q.height * 3 / 2;
	return q;
}

static void tell(struct lab_ctx *ctx, const struct lab_queue *q, struct v4l2_pix_format_mplane *to)
{
	to->width = q->width;
	to->height = q->height;
	to->pixelformat = q->fourcc;
	to->field = V4L2_FIELD_NONE;
	to->num_planes = 1;
	to->plane_fmt[0].bytesperline = q->stride;
	to->plane_fmt[0].sizeimage = q->size;
	to->colorspace = ctx->colorspace;
	to->ycbcr_enc = ctx->ycbcr_enc;
	to->quantization = ctx->quantization;
	to->xfer_func = ctx->xfer_func;
	to->flags = 0;
}

static int g_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	tell(ctx_of(file), queue_of(ctx_of(file), f->type), &f->fmt.pix_mp);
	return 0;
}

static struct lab_queue asked(struct v4l2_format *f)
{
	struct v4l2_pix_format_mplane *p = &f->fmt.pix_mp;
	u32 fourcc = V4L2_PIX_FMT_H264;

	if (V4L2_TYPE_IS_OUTPUT(f->type))
		fourcc = is_raw(p->pixelformat) ? p->pixelformat : raw_formats[0];
	return layout(fourcc, p->width, p->height);
}

static int try_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct lab_queue q = asked(f);

	tell(ctx_of(file), &q, &f->fmt.pix_mp);
	return 0;
}

static int s_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct lab_ctx *ctx = ctx_of(file);
	struct lab_queue q = asked(f);

	if (vb2_is_busy(v4l2_m2m_get_vq(ctx->fh.m2m_ctx, f->type)))
		return -EBUSY;
	if (V4L2_TYPE_IS_OUTPUT(f->type)) {
		ctx->colorspace = f->fmt.pix_mp.colorspace;
		ctx->ycbcr_enc = f->fmt.pix_mp.ycbcr_enc;
		ctx->quantization = f->fmt.pix_mp.quantization;
		ctx->xfer_func = f->fmt.pix_mp.xfer_func;
		ctx->cap = layout(V4L2_PIX_FMT_H264, q.shown_width, q.shown_height);
	}
	*queue_of(ctx, f->type) = q;
	tell(ctx, &q, &f->fmt.pix_mp);
	return 0;
}

static int g_selection(struct file *file, void *priv, struct v4l2_selection *s)
{
	struct lab_queue *q = &ctx_of(file)->out;

	if (s->type != V4L2_BUF_TYPE_VIDEO_OUTPUT)
		return -EINVAL;
	switch (s->target) {
	case V4L2_SEL_TGT_CROP:
		s->r = (struct v4l2_rect){ .width = q->shown_width, .height = q->shown_height };
		return 0;
	case V4L2_SEL_TGT_CROP_DEFAULT:
	case V4L2_SEL_TGT_CROP_BOUNDS:
		s->r = (struct v4l2_rect){ .width = q->width, .height = q->height };
		return 0;
	}
	return -EINVAL;
}

static int s_selection(struct file *file, void *priv, struct v4l2_selection *s)
{
	struct lab_queue *q = &ctx_of(file)->out;

	if (s->type != V4L2_BUF_TYPE_VIDEO_OUTPUT || s->target != V4L2_SEL_TGT_CROP)
		return -EINVAL;
	s->r.left = s->r.top = 0;
	s->r.width = q->shown_width = clamp(ALIGN(s->r.width, 2), MIN_SIZE, q->width);
	s->r.height = q->shown_height = clamp(ALIGN(s->r.height, 2), MIN_SIZE, min(q->height, (u32)MAX_HEIGHT));
	return 0;
}

static int g_parm(struct file *file, void *priv, struct v4l2_streamparm *p)
{
	struct lab_ctx *ctx = ctx_of(file);

	if (p->type != V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE)
		return -EINVAL;
	p->parm.output.capability = V4L2_CAP_TIMEPERFRAME;
	p->parm.output.timeperframe.numerator = ctx->rate.denominator;
	p->parm.output.timeperframe.denominator = ctx->rate.numerator;
	return 0;
}

static int s_parm(struct file *file, void *priv, struct v4l2_streamparm *p)
{
	struct v4l2_fract *time = &p->parm.output.timeperframe;

	if (p->type != V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE || !time->numerator || !time->denominator)
		return -EINVAL;
	if (min_rate > 0 && time->denominator < (u64)min_rate * time->numerator)
		return -EINVAL;
	ctx_of(file)->rate = (struct v4l2_fract){ time->denominator, time->numerator };
	return g_parm(file, priv, p);
}

/* ---- controls and commands ---- */

static int encoder_cmd(struct file *file, void *priv, struct v4l2_encoder_cmd *c)
{
	struct lab_ctx *ctx = ctx_of(file);
	int error = v4l2_m2m_ioctl_try_encoder_cmd(file, priv, c);

	if (error || !vb2_is_streaming(&ctx->fh.m2m_ctx->out_q_ctx.q))
		return error;
	error = v4l2_m2m_ioctl_encoder_cmd(file, priv, c);
	if (error || !v4l2_m2m_has_stopped(ctx->fh.m2m_ctx))
		return error;
	if (c->cmd == V4L2_ENC_CMD_STOP)
		v4l2_event_queue_fh(&ctx->fh, &end_of_stream);
	else
		vb2_clear_last_buffer_dequeued(&ctx->fh.m2m_ctx->cap_q_ctx.q);
	return 0;
}

static int subscribe_event(struct v4l2_fh *fh, const struct v4l2_event_subscription *s)
{
	return s->type == V4L2_EVENT_EOS ? v4l2_event_subscribe(fh, s, 2, NULL) : v4l2_ctrl_subscribe_event(fh, s);
}

static int s_ctrl(struct v4l2_ctrl *ctrl)
{
	struct lab_ctx *ctx = container_of(ctrl->handler, struct lab_ctx, controls);

	switch (ctrl->id) {
	case V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME:
		ctx->wants_key = true;
		key_requests++;
		break;
	case V4L2_CID_MPEG_VIDEO_H264_I_PERIOD:
		/* As on the Pi, both names mean the distance of key frames. */
		if (ctx->gop)
			return __v4l2_ctrl_s_ctrl(ctx->gop, ctrl->val);
	}
	return 0;
}

static const struct v4l2_ctrl_ops ctrl_ops = { .s_ctrl = s_ctrl };

static int init_controls(struct lab_ctx *ctx)
{
	struct v4l2_ctrl_handler *h = &ctx->controls;
	/* From level 1 to 5.1, and no extended profile. */
	u64 no_levels = ~GENMASK(V4L2_MPEG_VIDEO_H264_LEVEL_5_1, V4L2_MPEG_VIDEO_H264_LEVEL_1_0);
	u64 no_profiles = ~(BIT(V4L2_MPEG_VIDEO_H264_PROFILE_BASELINE) | BIT(V4L2_MPEG_VIDEO_H264_PROFILE_MAIN) |
			    BIT(V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE) | BIT(V4L2_MPEG_VIDEO_H264_PROFILE_HIGH));
	struct v4l2_ctrl *gop;

	v4l2_ctrl_handler_init(h, 14);
	v4l2_ctrl_new_std_menu(h, &ctrl_ops, V4L2_CID_MPEG_VIDEO_BITRATE_MODE, V4L2_MPEG_VIDEO_BITRATE_MODE_CBR, 0,
			       V4L2_MPEG_VIDEO_BITRATE_MODE_VBR);
	ctx->bitrate = v4l2_ctrl_new_std(h, &ctrl_ops, V4L2_CID_MPEG_VIDEO_BITRATE, 25000, 25000000, 25000, 10000000);
	v4l2_ctrl_new_std_menu(h, &ctrl_ops, V4L2_CID_MPEG_VIDEO_HEADER_MODE,
			       V4L2_MPEG_VIDEO_HEADER_MODE_JOINED_WITH_1ST_FRAME, 0,
			       V4L2_MPEG_VIDEO_HEADER_MODE_JOINED_WITH_1ST_FRAME);
	ctx->repeat = v4l2_ctrl_new_std(h, &ctrl_ops, V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER, 0, 1, 1, 0);
	v4l2_ctrl_new_std(h, &ctrl_ops, V4L2_CID_MPEG_VIDEO_H264_I_PERIOD, 0, 0x7fffffff, 1, 60);
	gop = v4l2_ctrl_new_std(h, &ctrl_ops, V4L2_CID_MPEG_VIDEO_GOP_SIZE, 0, 0x7fffffff, 1, 60);
	ctx->level = v4l2_ctrl_new_std_menu(h, &ctrl_ops, V4L2_CID_MPEG_VIDEO_H264_LEVEL, V4L2_MPEG_VIDEO_H264_LEVEL_5_1,
					    no_levels, V4L2_MPEG_VIDEO_H264_LEVEL_4_0);
	ctx->profile = v4l2_ctrl_new_std_menu(h, &ctrl_ops, V4L2_CID_MPEG_VIDEO_H264_PROFILE,
					      V4L2_MPEG_VIDEO_H264_PROFILE_HIGH, no_profiles,
					      V4L2_MPEG_VIDEO_H264_PROFILE_HIGH);
	v4l2_ctrl_new_std(h, &ctrl_ops, V4L2_CID_MPEG_VIDEO_H264_MIN_QP, 0, 51, 1, 20);
	v4l2_ctrl_new_std(h, &ctrl_ops, V4L2_CID_MPEG_VIDEO_H264_MAX_QP, 0, 51, 1, 51);
	v4l2_ctrl_new_std(h, &ctrl_ops, V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME, 0, 0, 0, 0);
	v4l2_ctrl_new_std(h, &ctrl_ops, V4L2_CID_MPEG_VIDEO_B_FRAMES, 0, 0, 1, 0);
	v4l2_ctrl_new_std(h, &ctrl_ops, V4L2_CID_MIN_BUFFERS_FOR_OUTPUT, 1, 1, 1, 1);
	if (h->error)
		return h->error;
	ctx->gop = gop;
	ctx->fh.ctrl_handler = h;
	return 0;
}

/* ---- the node ---- */

static int lab_open(struct file *file)
{
	struct lab_dev *dev = video_drvdata(file);
	struct lab_ctx *ctx;
	int error = -ENOMEM;

	if (single && atomic_read(&dev->streaming))
		return -EBUSY;
	ctx = kzalloc(sizeof(*ctx), GFP_KERNEL);
	if (!ctx)
		return -ENOMEM;
	ctx->mosaic = kvzalloc(sizeof(*ctx->mosaic), GFP_KERNEL);
	if (!ctx->mosaic)
		goto free;
	ctx->dev = dev;
	ctx->rate = (struct v4l2_fract){ 30, 1 };
	ctx->colorspace = V4L2_COLORSPACE_REC709;
	ctx->out = layout(raw_formats[0], 640, 480);
	ctx->cap = layout(V4L2_PIX_FMT_H264, 640, 480);
	INIT_WORK(&ctx->work, work);
	v4l2_fh_init(&ctx->fh, &dev->vfd);
	file->private_data = &ctx->fh;
	error = init_controls(ctx);
	if (error)
		goto controls;
	ctx->fh.m2m_ctx = v4l2_m2m_ctx_init(dev->m2m, ctx, init_queues);
	if (IS_ERR(ctx->fh.m2m_ctx)) {
		error = PTR_ERR(ctx->fh.m2m_ctx);
		goto controls;
	}
	v4l2_fh_add(&ctx->fh);
	return 0;

controls:
	v4l2_ctrl_handler_free(&ctx->controls);
	v4l2_fh_exit(&ctx->fh);
	kvfree(ctx->mosaic);
free:
	kfree(ctx);
	return error;
}

static int lab_release(struct file *file)
{
	struct lab_ctx *ctx = ctx_of(file);

	v4l2_fh_del(&ctx->fh);
	mutex_lock(&ctx->dev->lock);
	v4l2_m2m_ctx_release(ctx->fh.m2m_ctx);
	mutex_unlock(&ctx->dev->lock);
	cancel_work_sync(&ctx->work);
	v4l2_ctrl_handler_free(&ctx->controls);
	v4l2_fh_exit(&ctx->fh);
	forget(ctx);
	kvfree(ctx->mosaic);
	kfree(ctx);
	return 0;
}

static const struct v4l2_file_operations file_ops = {
	.owner = THIS_MODULE,
	.open = lab_open,
	.release = lab_release,
	.poll = v4l2_m2m_fop_poll,
	.unlocked_ioctl = video_ioctl2,
	.mmap = v4l2_m2m_fop_mmap,
};

static const struct v4l2_ioctl_ops ioctl_ops = {
	.vidioc_querycap = querycap,
	.vidioc_enum_fmt_vid_cap = enum_fmt_cap,
	.vidioc_enum_fmt_vid_out = enum_fmt_out,
	.vidioc_g_fmt_vid_cap_mplane = g_fmt,
	.vidioc_g_fmt_vid_out_mplane = g_fmt,
	.vidioc_try_fmt_vid_cap_mplane = try_fmt,
	.vidioc_try_fmt_vid_out_mplane = try_fmt,
	.vidioc_s_fmt_vid_cap_mplane = s_fmt,
	.vidioc_s_fmt_vid_out_mplane = s_fmt,
	.vidioc_g_selection = g_selection,
	.vidioc_s_selection = s_selection,
	.vidioc_g_parm = g_parm,
	.vidioc_s_parm = s_parm,
	.vidioc_enum_framesizes = enum_framesizes,
	.vidioc_reqbufs = v4l2_m2m_ioctl_reqbufs,
	.vidioc_querybuf = v4l2_m2m_ioctl_querybuf,
	.vidioc_qbuf = v4l2_m2m_ioctl_qbuf,
	.vidioc_dqbuf = v4l2_m2m_ioctl_dqbuf,
	.vidioc_prepare_buf = v4l2_m2m_ioctl_prepare_buf,
	.vidioc_create_bufs = v4l2_m2m_ioctl_create_bufs,
	.vidioc_expbuf = v4l2_m2m_ioctl_expbuf,
	.vidioc_streamon = v4l2_m2m_ioctl_streamon,
	.vidioc_streamoff = v4l2_m2m_ioctl_streamoff,
	.vidioc_try_encoder_cmd = v4l2_m2m_ioctl_try_encoder_cmd,
	.vidioc_encoder_cmd = encoder_cmd,
	.vidioc_subscribe_event = subscribe_event,
	.vidioc_unsubscribe_event = v4l2_event_unsubscribe,
};

static int probe(struct platform_device *pdev)
{
	struct lab_dev *dev = devm_kzalloc(&pdev->dev, sizeof(*dev), GFP_KERNEL);
	int error;

	if (!dev)
		return -ENOMEM;
	error = v4l2_device_register(&pdev->dev, &dev->v4l2_dev);
	if (error)
		return error;
	mutex_init(&dev->lock);
	dev->work = alloc_ordered_workqueue(DRIVER, 0);
	dev->m2m = v4l2_m2m_init(&m2m_ops);
	strscpy(dev->vfd.name, DRIVER "-encode", sizeof(dev->vfd.name));
	dev->vfd.vfl_dir = VFL_DIR_M2M;
	dev->vfd.fops = &file_ops;
	dev->vfd.ioctl_ops = &ioctl_ops;
	dev->vfd.release = video_device_release_empty;
	dev->vfd.lock = &dev->lock;
	dev->vfd.v4l2_dev = &dev->v4l2_dev;
	dev->vfd.device_caps = V4L2_CAP_VIDEO_M2M_MPLANE | V4L2_CAP_STREAMING;
	video_set_drvdata(&dev->vfd, dev);
	platform_set_drvdata(pdev, dev);
	if (!dev->work || IS_ERR(dev->m2m))
		error = -ENOMEM;
	else
		error = video_register_device(&dev->vfd, VFL_TYPE_VIDEO, NODE);
	if (!error)
		return 0;
	if (dev->work)
		destroy_workqueue(dev->work);
	if (!IS_ERR(dev->m2m))
		v4l2_m2m_release(dev->m2m);
	v4l2_device_unregister(&dev->v4l2_dev);
	return error;
}

static void remove(struct platform_device *pdev)
{
	struct lab_dev *dev = platform_get_drvdata(pdev);

	video_unregister_device(&dev->vfd);
	destroy_workqueue(dev->work);
	v4l2_m2m_release(dev->m2m);
	v4l2_device_unregister(&dev->v4l2_dev);
}

static struct platform_driver driver = {
	.probe = probe,
	.remove_new = remove,
	.driver = { .name = DRIVER },
};

static struct platform_device *device;

static int __init lab_init(void)
{
	int error = platform_driver_register(&driver);

	if (error)
		return error;
	device = platform_device_register_simple(DRIVER, PLATFORM_DEVID_NONE, NULL, 0);
	if (!IS_ERR(device))
		return 0;
	platform_driver_unregister(&driver);
	return PTR_ERR(device);
}

static void __exit lab_exit(void)
{
	platform_device_unregister(device);
	platform_driver_unregister(&driver);
}

module_init(lab_init);
module_exit(lab_exit);
MODULE_DESCRIPTION("A board's H.264 encoder for tests");
MODULE_LICENSE("GPL");
