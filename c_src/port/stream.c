/* Draining pipes. A read takes at most CHUNK bytes, so that no stream keeps the loop from the others. */

#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "signals.h"

enum { CHUNK = 64 * 1024, PIPE_MAX = 1024 * 1024 };

struct sink {
    struct pc_stream *stream;
    struct pc_output *output;
    int64_t now;
};

static void on_line(const uint8_t *line, size_t n, void *context) {
    struct sink *sink = context;
    if (pc_rate_allows(&sink->stream->rate, sink->now, n + PC_LINE_COST)) {
        pc_output_line(sink->output, sink->stream->wid, sink->stream->which, line, n);
    } else {
        pc_output_drop(sink->output, n);
    }
}

void pc_stream_open(struct pc_stream *s, int fd, uint32_t wid, uint8_t which) {
    s->fd = fd;
    s->wid = wid;
    s->which = which;
    s->rate = (struct pc_rate){0};
    s->splitter.len = 0;
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void close_stream(struct pc_stream *s, struct pc_output *o) {
    struct sink sink = {s, o, pc_now_ms()};
    pc_splitter_flush(&s->splitter, on_line, &sink);
    close(s->fd);
    s->fd = -1;
}

/* Bytes read, 0 when there are none now; closes at the end of file. */
static size_t read_chunk(struct pc_stream *s, struct pc_output *o) {
    static uint8_t bytes[CHUNK];
    struct sink sink = {s, o, pc_now_ms()};
    ssize_t n = read(s->fd, bytes, sizeof bytes);
    if (n > 0) {
        pc_splitter_feed(&s->splitter, bytes, (size_t)n, on_line, &sink);
        return (size_t)n;
    }
    if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        close_stream(s, o);
    }
    return 0;
}

void pc_stream_read(struct pc_stream *s, struct pc_output *o) {
    if (s->fd >= 0) {
        read_chunk(s, o);
    }
}

void pc_stream_finish(struct pc_stream *s, struct pc_output *o) {
    size_t total = 0;
    size_t n = 1;
    while (s->fd >= 0 && n > 0 && total < PIPE_MAX) {
        n = read_chunk(s, o);
        total += n;
    }
    if (s->fd >= 0) {
        close_stream(s, o);
    }
}
