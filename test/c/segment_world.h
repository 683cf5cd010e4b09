#ifndef PC_SEGMENT_WORLD_H
#define PC_SEGMENT_WORLD_H

/* Both ends of segment.h in one process, over a socketpair; and what there was before, to see that nothing is left. Include after cmocka.h. */

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/boards.h"
#include "wire/segment.h"

enum { KIB = 1024, MIB = 1024 * KIB };

struct world {
    unsigned fds, maps; /* before */
    int writer_socket, reader_socket;
    struct pc_boards of_reader, of_writer;
    struct pc_segments *s;
    struct pc_views *v;
};

static unsigned count_fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n;
}

/* Of memory that pc_os makes. */
static unsigned count_maps(void) {
    char line[512];
    unsigned n = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        n += strstr(line, "memfd:pitcrew") != NULL;
    }
    fclose(f);
    return n;
}

struct world_opts {
    size_t most; /* 0: 64 MiB */
    bool protect, copy_on_write;
};

static void world_begin(struct world *w, struct world_opts opts) {
    int pair[2];
    size_t most = opts.most != 0 ? opts.most : 64 * MIB;
    w->fds = count_fds();
    w->maps = count_maps();
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    w->reader_socket = pair[0];
    w->writer_socket = pair[1];
    assert_int_equal(pc_boards_send(w->reader_socket, &w->of_reader), 0);
    assert_int_equal(pc_boards_receive(w->writer_socket, &w->of_writer), 0);
    struct pc_segments_opts writes = {
        .socket = w->writer_socket, .most = most, .protect = opts.protect, .board = w->of_writer.other};
    struct pc_views_opts reads = {.socket = w->reader_socket, .most = most, .copy_on_write = opts.copy_on_write};
    w->s = pc_segments_new(&writes);
    w->v = pc_views_new(&reads, w->of_reader.own);
    assert_non_null(w->s);
    assert_non_null(w->v);
}

/* Nothing of it is out any more, so nothing is left. */
static void world_end(struct world *w) {
    if (w->s != NULL) {
        pc_segments_free(w->s);
    }
    if (w->v != NULL) {
        pc_views_free(w->v);
    }
    pc_boards_close(&w->of_reader);
    pc_boards_close(&w->of_writer);
    close(w->writer_socket);
    close(w->reader_socket);
    assert_int_equal(count_fds(), w->fds);
    assert_int_equal(count_maps(), w->maps);
}

/* ---- Steps. A payload is one byte n times. */

static struct pc_segment_name take(struct world *w, size_t n, int byte) {
    struct pc_segment_name name;
    void *memory;
    assert_true(pc_segments_take(w->s, n, &name, &memory));
    assert_int_equal(name.n, n);
    assert_int_not_equal(name.generation, 0);
    memset(memory, byte, n);
    return name;
}

static inline bool cannot_take(struct world *w, size_t n) {
    struct pc_segment_name name;
    void *memory;
    return !pc_segments_take(w->s, n, &name, &memory);
}

static struct pc_segment_name lend(struct world *w, size_t n, int byte) {
    struct pc_segment_name name = take(w, n, byte);
    pc_segments_lend(w->s, &name);
    return name;
}

static inline void expect_bytes(const struct pc_view *view, size_t n, int byte) {
    assert_int_equal(view->n, n);
    for (size_t i = 0; i < n; i++) {
        if (view->data[i] != byte) {
            fail_msg("byte %zu is %d, not %d", i, view->data[i], byte);
        }
    }
}

static inline struct pc_view get(struct world *w, struct pc_segment_name name) {
    struct pc_view view;
    assert_int_equal(pc_views_get(w->v, &name, &view), PC_VIEW_OK);
    return view;
}

static inline enum pc_view_status try_get(struct world *w, struct pc_segment_name name) {
    struct pc_view view;
    return pc_views_get(w->v, &name, &view);
}

/* A whole use of a segment; which one it was. */
static inline struct pc_segment_name use(struct world *w, size_t n, int byte) {
    struct pc_segment_name name = lend(w, n, byte);
    struct pc_view view = get(w, name);
    expect_bytes(&view, n, byte);
    pc_view_drop(&view);
    return name;
}

static inline void expect_segments(struct world *w, unsigned count, unsigned in_use) {
    struct pc_segments_info info;
    pc_segments_info(w->s, &info);
    assert_int_equal(info.count, count);
    assert_int_equal(info.in_use, in_use);
    assert_true((info.bytes == 0) == (count == 0) && (info.bytes_in_use == 0) == (in_use == 0));
    assert_true(info.bytes_in_use <= info.bytes);
}

static inline void expect_views(struct world *w, unsigned count, unsigned out) {
    struct pc_views_info info;
    pc_views_info(w->v, &info);
    assert_int_equal(info.count, count);
    assert_int_equal(info.out, out);
    assert_true((info.bytes == 0) == (count == 0) && (info.bytes_out == 0) == (out == 0));
    assert_true(info.bytes_out <= info.bytes);
}

static inline size_t bytes_of_segments(struct world *w) {
    struct pc_segments_info info;
    pc_segments_info(w->s, &info);
    return info.bytes;
}

#endif
