/* wire/segment.h and boards.h between two ends that are honest, with as much of the system as the tests want. Liars are in test_wire_segment_lies.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "os/os.h"
#include "segment_world.h"
#include "wire/segment_private.h"

/* ---- Calls that fail, the how-manieth from now on: 1 is the next one; 0: none */

enum { POPULATE = 23 }; /* MADV_POPULATE_WRITE, which old headers lack */

static struct {
    unsigned mmap, mprotect, calloc, pagemap;
    int advice; /* that fails, once */
    int error;
} failing;

static bool fails(unsigned *times) {
    if (*times == 0 || --*times != 0) {
        return false;
    }
    errno = ENOMEM;
    return true;
}

void *__real_mmap(void *at, size_t n, int use, int flags, int fd, off_t from);
void *__wrap_mmap(void *at, size_t n, int use, int flags, int fd, off_t from);
void *__wrap_mmap(void *at, size_t n, int use, int flags, int fd, off_t from) {
    return fails(&failing.mmap) ? MAP_FAILED : __real_mmap(at, n, use, flags, fd, from);
}

int __real_mprotect(void *at, size_t n, int use);
int __wrap_mprotect(void *at, size_t n, int use);
int __wrap_mprotect(void *at, size_t n, int use) { return fails(&failing.mprotect) ? -1 : __real_mprotect(at, n, use); }

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size) { return fails(&failing.calloc) ? NULL : __real_calloc(n, size); }

int __real_madvise(void *at, size_t n, int advice);
int __wrap_madvise(void *at, size_t n, int advice);
int __wrap_madvise(void *at, size_t n, int advice) {
    if (failing.advice != 0 && advice == failing.advice) {
        failing.advice = 0;
        errno = failing.error;
        return -1;
    }
    return __real_madvise(at, n, advice);
}

/* Only for pagemap; the others say what they create. */
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    return strcmp(path, "/proc/self/pagemap") == 0 && fails(&failing.pagemap) ? -1 : __real_open(path, flags);
}

/* So that this process gets no further descriptor. */
static rlim_t forbid_descriptors(void) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    int next = dup(0);
    assert_true(next >= 0);
    close(next);
    limit.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

static void allow_descriptors(rlim_t before) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = before;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* ---- Names, sizes, generations */

static void test_names(void **state) {
    (void)state;
    static const uint8_t bytes[PC_SEGMENT_NAME] = {0, 0, 0, 63, 1, 2, 3, 4, 0, 0, 0, 5, 6, 7, 8, 9};
    const struct pc_segment_name name = {.index = 63, .generation = 0x01020304, .n = 0x0506070809};
    struct pc_segment_name read;
    uint8_t written[PC_SEGMENT_NAME];
    pc_segment_name_write(&name, written);
    assert_memory_equal(written, bytes, sizeof bytes);
    pc_segment_name_read(&read, bytes);
    assert_int_equal(read.index, name.index);
    assert_int_equal(read.generation, name.generation);
    assert_int_equal(read.n, name.n);
}

static void test_sizes(void **state) {
    (void)state;
    const size_t most = (size_t)1 << 40;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    assert_int_equal(pc_segment_size(0, most), 64 * KIB);
    assert_int_equal(pc_segment_size(64 * KIB, most), 64 * KIB);
    assert_int_equal(pc_segment_size(64 * KIB + 1, most), 80 * KIB);
    assert_int_equal(pc_segment_size(80 * KIB + 1, most), 96 * KIB);
    assert_int_equal(pc_segment_size(112 * KIB + 1, most), 128 * KIB);
    assert_int_equal(pc_segment_size(128 * KIB + 1, most), 160 * KIB);
    assert_int_equal(pc_segment_size(16 * MIB - 1, most), 16 * MIB);
    assert_int_equal(pc_segment_size(16 * MIB + 1, most), 20 * MIB);
    for (size_t n = PC_SEGMENT_LEAST; n < most; n += n / 7) {
        size_t size = pc_segment_size(n, most);
        assert_true(size >= n && size - n <= n / 4 && size % page == 0);
    }
    /* At the limit there is no room to round up, but for the page. */
    assert_int_equal(pc_segment_size(65 * MIB, 66 * MIB), 65 * MIB);
    assert_int_equal(pc_segment_size(65 * MIB + 1, 66 * MIB), 65 * MIB + page);
    assert_int_equal(pc_segment_size(66 * MIB, 66 * MIB), 66 * MIB);
    assert_int_equal(pc_segment_size(66 * MIB + 1, 66 * MIB), 0);
    assert_int_equal(pc_segment_size(66 * MIB - 1, 66 * MIB - 1), 0);
    assert_int_equal(pc_segment_size(1, 0), 0);
    assert_int_equal(pc_segment_size(SIZE_MAX, SIZE_MAX), 0);
}

static void test_generations(void **state) {
    (void)state;
    assert_int_equal(pc_segment_next(0), 1);
    assert_int_equal(pc_segment_next(7), 8);
    assert_int_equal(pc_segment_next(UINT32_MAX), 1);
    assert_true(pc_segment_is_after(8, 7));
    assert_false(pc_segment_is_after(7, 7));
    assert_false(pc_segment_is_after(7, 8));
    assert_true(pc_segment_is_after(1, UINT32_MAX));
    assert_false(pc_segment_is_after(UINT32_MAX, 1));
}

/* ---- Uses, one after the other and at once */

static void there_and_back(struct world_opts opts) {
    struct world w;
    world_begin(&w, opts);
    struct pc_segment_name first = use(&w, 100 * KIB, 1);
    expect_segments(&w, 1, 0);
    for (int i = 2; i < 100; i++) { /* of about the same size: it is the same one, in the next generation */
        struct pc_segment_name again = use(&w, 100 * KIB + (size_t)i, i);
        assert_int_equal(again.index, first.index);
        assert_int_equal(again.generation, first.generation + (uint32_t)i - 1);
    }
    expect_segments(&w, 1, 0);
    expect_views(&w, 1, 0);
    (void)use(&w, 3 * MIB, 7);
    (void)use(&w, 0, 7);
    world_end(&w);
}

static void test_there_and_back(void **state) {
    (void)state;
    there_and_back((struct world_opts){.protect = false});
    there_and_back((struct world_opts){.protect = true});
    there_and_back((struct world_opts){.copy_on_write = true});
}

static void test_many_at_once(void **state) {
    (void)state;
    struct world w;
    struct pc_segment_name names[PC_SEGMENTS];
    struct pc_view views[PC_SEGMENTS];
    world_begin(&w, (struct world_opts){.protect = true});
    for (int i = 0; i < PC_SEGMENTS; i++) {
        names[i] = lend(&w, 64 * KIB, i);
    }
    expect_segments(&w, PC_SEGMENTS, PC_SEGMENTS);
    assert_true(cannot_take(&w, 64 * KIB));
    for (int i = PC_SEGMENTS - 1; i >= 0; i--) { /* in whatever order */
        views[i] = get(&w, names[i]);
    }
    expect_views(&w, PC_SEGMENTS, PC_SEGMENTS);
    for (int i = 0; i < PC_SEGMENTS; i++) {
        expect_bytes(&views[i], 64 * KIB, i);
        pc_view_drop(&views[i]);
    }
    expect_segments(&w, PC_SEGMENTS, 0);
    world_end(&w);
}

/* ---- Which one is taken */

static void test_smallest_that_is_not_wasted(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    struct pc_segment_name large = take(&w, 512 * KIB, 1);
    struct pc_segment_name middle = take(&w, 160 * KIB, 1);
    struct pc_segment_name small = take(&w, 128 * KIB, 1);
    pc_segments_cancel(w.s, &large);
    pc_segments_cancel(w.s, &middle);
    pc_segments_cancel(w.s, &small);
    assert_int_equal(take(&w, 70 * KIB, 1).index, small.index);
    struct pc_segment_name fits = take(&w, 129 * KIB, 1);
    assert_int_equal(fits.index, middle.index);
    assert_int_equal(take(&w, 256 * KIB, 1).index, large.index); /* just twice as large */
    expect_segments(&w, 3, 3);
    pc_segments_cancel(w.s, &(struct pc_segment_name){.index = large.index, .generation = large.generation + 1});
    assert_int_not_equal(take(&w, 160 * KIB, 1).index, large.index); /* more than twice as large */
    expect_segments(&w, 4, 3);
    world_end(&w);
}

/* Of those that are as good as each other: its memory may be in a cache. */
static void test_last_that_was_free(void **state) {
    (void)state;
    struct world w;
    struct pc_segment_name names[3];
    world_begin(&w, (struct world_opts){0});
    for (int i = 0; i < 3; i++) {
        names[i] = take(&w, 64 * KIB, 1);
    }
    pc_segments_cancel(w.s, &names[0]);
    pc_segments_cancel(w.s, &names[2]);
    pc_segments_cancel(w.s, &names[1]);
    assert_int_equal(take(&w, 64 * KIB, 1).index, names[1].index);
    assert_int_equal(take(&w, 64 * KIB, 1).index, names[2].index);
    world_end(&w);
}

/* To stay below `most` those go that have been free for longest, no more than necessary, and the reader forgets them. */
static void test_room_from_the_oldest(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){.most = 1024 * KIB});
    struct pc_segment_name a = use(&w, 128 * KIB, 1);
    struct pc_segment_name b = use(&w, 256 * KIB, 2);
    (void)use(&w, 448 * KIB, 3);
    a = use(&w, 128 * KIB, 1); /* now b is the oldest */
    expect_segments(&w, 3, 0);
    struct pc_segment_name c = use(&w, 192 * KIB, 4);
    assert_int_equal(c.index, b.index); /* b itself, not twice as large */
    struct pc_segment_name d = use(&w, 1024 * KIB, 5);
    expect_segments(&w, 1, 0);
    expect_views(&w, 1, 0);
    assert_int_equal(bytes_of_segments(&w), 1024 * KIB);
    assert_int_equal(d.index, a.index);
    assert_int_equal(d.generation, a.generation + 1); /* a new segment goes on counting */
    struct pc_segment_name e = lend(&w, 64 * KIB, 6);
    assert_int_equal(e.generation, d.generation + 1);
    expect_segments(&w, 1, 1);
    world_end(&w);
}

static void test_oldest_goes_first(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){.most = 704 * KIB});
    struct pc_segment_name a = take(&w, 64 * KIB, 1);
    struct pc_segment_name b = take(&w, 128 * KIB, 1);
    struct pc_segment_name c = take(&w, 256 * KIB, 1);
    pc_segments_cancel(w.s, &b);
    pc_segments_cancel(w.s, &c);
    pc_segments_cancel(w.s, &a);
    struct pc_segment_name d = take(&w, 320 * KIB, 1);
    assert_int_equal(d.index, b.index); /* 64 + 256 + 320 = 640 are left */
    expect_segments(&w, 3, 1);
    assert_int_equal(take(&w, 256 * KIB, 1).index, c.index);
    assert_int_equal(take(&w, 64 * KIB, 1).index, a.index);
    world_end(&w);
}

/* What is in use is never touched; and what is free is kept when giving it back would not make room. */
static void test_no_room(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){.most = 1024 * KIB});
    struct pc_segment_name out = lend(&w, 640 * KIB, 1);
    struct pc_view view = get(&w, out);
    (void)use(&w, 128 * KIB, 2);
    assert_true(cannot_take(&w, 512 * KIB));
    assert_true(cannot_take(&w, 1024 * KIB + 1));
    assert_true(cannot_take(&w, SIZE_MAX));
    expect_segments(&w, 2, 1);
    expect_bytes(&view, 640 * KIB, 1);
    pc_view_drop(&view);
    (void)use(&w, 512 * KIB, 3);
    expect_segments(&w, 2, 0); /* the one of 640 served */
    world_end(&w);
}

static void test_no_index(void **state) {
    (void)state;
    struct world w;
    struct pc_segment_name names[PC_SEGMENTS];
    world_begin(&w, (struct world_opts){0});
    for (unsigned i = 0; i < PC_SEGMENTS; i++) {
        names[i] = take(&w, 64 * KIB, 1);
    }
    for (unsigned i = 0; i < PC_SEGMENTS; i++) {
        pc_segments_cancel(w.s, &names[(i + 5) % PC_SEGMENTS]);
    }
    struct pc_segment_name name = use(&w, 256 * KIB, 2);
    assert_int_equal(name.index, names[5].index);
    assert_int_equal(name.generation, names[5].generation + 1);
    expect_segments(&w, PC_SEGMENTS, 0);
    expect_views(&w, PC_SEGMENTS, 0);
    world_end(&w);
}

/* ---- Cancel, board, trim */

static void test_cancel(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){.protect = true});
    struct pc_segment_name taken = take(&w, 64 * KIB, 1);
    pc_segments_cancel(w.s, &taken);
    expect_segments(&w, 1, 0);
    struct pc_segment_name lent = lend(&w, 64 * KIB, 1);
    assert_int_equal(lent.index, taken.index);
    pc_segments_cancel(w.s, &taken); /* that use is long over */
    expect_segments(&w, 1, 1);
    pc_segments_lend(w.s, &taken);
    pc_segments_cancel(w.s, &(struct pc_segment_name){.index = PC_SEGMENTS, .generation = lent.generation});
    pc_segments_cancel(w.s, &(struct pc_segment_name){.index = lent.index + 1, .generation = 0});
    expect_segments(&w, 1, 1);
    pc_segments_cancel(w.s, &lent);
    expect_segments(&w, 1, 0);
    pc_segments_cancel(w.s, &lent);
    pc_segments_lend(w.s, &lent);
    expect_segments(&w, 1, 0);
    (void)use(&w, 64 * KIB, 2); /* the reader does not miss the generations in between */
    world_end(&w);
}

/* What the board says counts for the last use only, and only when that is lent. */
static void test_board_is_believed_for_the_last_use(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    (void)use(&w, 64 * KIB, 1);
    struct pc_segment_name name = take(&w, 64 * KIB, 1);
    _Atomic uint32_t *done = &w.of_reader.own->done[name.index];
    atomic_store(done, name.generation);
    expect_segments(&w, 1, 1);
    assert_int_not_equal(take(&w, 64 * KIB, 1).index, name.index);
    static const int others[] = {-2, -1, 1, 2};
    pc_segments_lend(w.s, &name);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        atomic_store(done, name.generation + (uint32_t)others[i]);
        expect_segments(&w, 2, 2);
    }
    atomic_store(done, name.generation);
    expect_segments(&w, 2, 1);
    world_end(&w);
}

static void test_trim(void **state) {
    (void)state;
    enum { HOUR = 3600 };
    struct world w;
    world_begin(&w, (struct world_opts){.protect = true});
    struct pc_segment_name out = lend(&w, 64 * KIB, 1);
    struct pc_view view = get(&w, out);
    struct pc_segment_name gone = use(&w, 128 * KIB, 2);
    (void)take(&w, 256 * KIB, 3);
    pc_segments_trim(w.s, (int64_t)HOUR * 1000000000);
    expect_segments(&w, 3, 2);
    pc_segments_trim(w.s, 0);
    expect_segments(&w, 2, 2);
    expect_views(&w, 2, 1); /* it has not looked yet */
    pc_views_tend(w.v);
    expect_views(&w, 2, 1); /* the second is the one that is taken: it has come, too */
    assert_int_equal(count_maps(), w.maps + 4 /* boards */ + 2 + 2);
    expect_bytes(&view, 64 * KIB, 1);
    pc_view_drop(&view);
    struct pc_segment_name back = use(&w, 128 * KIB, 4);
    assert_int_equal(back.index, gone.index);
    assert_int_equal(back.generation, gone.generation + 1);
    pc_segments_trim(w.s, 0);
    expect_segments(&w, 1, 1);
    back = use(&w, 128 * KIB, 5);
    assert_int_equal(back.index, out.index);
    assert_int_equal(back.generation, out.generation + 1);
    expect_views(&w, 2, 0);
    world_end(&w);
}

/* ---- The socket takes nothing */

static void fill_socket(struct world *w) {
    const struct pc_segment_packet packet = {.kind = PC_PACKET_FORGET, .index = PC_SEGMENTS - 1};
    while (pc_segment_packet_send(w->writer_socket, &packet, NULL) == 0) {}
    assert_int_equal(pc_segment_packet_send(w->writer_socket, &packet, NULL), -EAGAIN);
}

static void test_full_socket(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){.most = 320 * KIB});
    struct pc_segment_name there = use(&w, 64 * KIB, 1);
    unsigned fds = count_fds(), maps = count_maps();
    fill_socket(&w);
    assert_true(cannot_take(&w, 256 * KIB));
    assert_true(cannot_take(&w, 320 * KIB)); /* which would need the other one's room */
    pc_segments_trim(w.s, 0);
    expect_segments(&w, 1, 0);
    assert_int_equal(count_fds(), fds);
    assert_int_equal(count_maps(), maps);
    assert_int_equal(use(&w, 64 * KIB, 2).index, there.index); /* nobody has to be told; and the reader has looked */
    (void)use(&w, 256 * KIB, 3);
    pc_segments_trim(w.s, 0);
    expect_segments(&w, 0, 0);
    pc_views_tend(w.v);
    expect_views(&w, 0, 0);
    world_end(&w);
}

static void test_closed_socket(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    struct pc_segment_name name = lend(&w, 64 * KIB, 1);
    struct pc_view view = get(&w, name);
    close(w.writer_socket);
    w.writer_socket = dup(w.reader_socket); /* the tests' own; packets come to itself no more */
    pc_views_tend(w.v);
    expect_bytes(&view, 64 * KIB, 1);
    pc_view_drop(&view);
    assert_true(cannot_take(&w, 256 * KIB));
    world_end(&w);
}

/* ---- The system gives nothing */

static void test_no_descriptor_for_the_writer(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    rlim_t before = forbid_descriptors();
    bool none = cannot_take(&w, 64 * KIB);
    allow_descriptors(before);
    assert_true(none);
    expect_segments(&w, 0, 0);
    assert_int_equal(use(&w, 64 * KIB, 1).index, 0);
    world_end(&w);
}

static void test_no_memory_for_the_writer(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    unsigned fds = count_fds(), maps = count_maps();
    static const int advice[] = {POPULATE, MADV_DONTFORK};
    failing.mmap = 1;
    assert_true(cannot_take(&w, 64 * KIB));
    for (size_t i = 0; i < sizeof advice / sizeof *advice; i++) {
        failing.advice = advice[i];
        failing.error = ENOMEM;
        assert_true(cannot_take(&w, 64 * KIB));
        assert_int_equal(failing.advice, 0);
    }
    expect_segments(&w, 0, 0);
    assert_int_equal(count_fds(), fds);
    assert_int_equal(count_maps(), maps);
    /* An older kernel knows no such advice: the reader sees no difference, even if most of the segment is not used. */
    failing.advice = POPULATE;
    failing.error = EINVAL;
    (void)use(&w, 2 * MIB + 1, 1);
    assert_int_equal(failing.advice, 0);
    failing.advice = MADV_HUGEPAGE; /* and huge pages are nothing that must be */
    (void)use(&w, 16 * MIB, 1);
    assert_int_equal(failing.advice, 0);
    failing.calloc = 1;
    assert_null(pc_segments_new(&(struct pc_segments_opts){.socket = 0}));
    failing.calloc = 1;
    assert_null(pc_views_new(&(struct pc_views_opts){.socket = 0}, NULL));
    world_end(&w);
}

/* What cannot be had when it comes never can; the others can. */
static void lost(struct world *w, struct pc_segment_name name) {
    for (int i = 0; i < 2; i++) {
        assert_int_equal(try_get(w, name), PC_VIEW_NO_MEMORY);
    }
    expect_segments(w, 1, 1);
    (void)use(w, 64 * KIB, 1);
    expect_segments(w, 2, 1);
    pc_segments_cancel(w->s, &name);
    pc_segments_trim(w->s, 0);
    pc_views_tend(w->v);
    assert_int_equal(try_get(w, name), PC_VIEW_BAD);
    assert_int_equal(use(w, 64 * KIB, 2).index, name.index);
    pc_segments_trim(w->s, 0);
}

static void test_nothing_for_the_reader(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    struct pc_segment_name name = lend(&w, 64 * KIB, 1);
    failing.mmap = 1;
    lost(&w, name);
    name = lend(&w, 64 * KIB, 1);
    failing.calloc = 1;
    lost(&w, name);
    world_end(&w);
}

/* Under valgrind the limit is not the kernel's. */
static bool descriptors_still_come(void) {
    int pair[2], fds[PC_PACKET_FDS];
    struct pc_segment_packet packet = {.kind = PC_PACKET_NEW};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pc_segment_packet_send(pair[0], &packet, &pair[0]), 0);
    rlim_t before = forbid_descriptors();
    bool come = pc_segment_packet_receive(pair[1], &packet, fds) == PC_PACKET_GOOD;
    allow_descriptors(before);
    if (come) {
        close(fds[0]);
    }
    close(pair[0]);
    close(pair[1]);
    return come;
}

static void test_no_descriptor_for_the_reader(void **state) {
    (void)state;
    struct world w;
    struct pc_boards b;
    if (descriptors_still_come()) {
        skip();
    }
    world_begin(&w, (struct world_opts){0});
    struct pc_segment_name name = lend(&w, 64 * KIB, 1);
    rlim_t before = forbid_descriptors();
    enum pc_view_status status = try_get(&w, name);
    allow_descriptors(before);
    assert_int_equal(status, PC_VIEW_NO_MEMORY);
    lost(&w, name);

    assert_int_equal(pc_boards_send(w.reader_socket, &b), 0);
    pc_boards_close(&b);
    before = forbid_descriptors();
    int error = pc_boards_receive(w.writer_socket, &b);
    allow_descriptors(before);
    assert_int_equal(error, -EMFILE);
    world_end(&w);
}

/* ---- Protection */

static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)context;
    _exit(info->si_code == SEGV_ACCERR ? 42 : 1);
}

/* A process of its own writes into what it has lent: it may not, until it has taken it again. */
static int stray_write(bool protect) {
    struct world w;
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct pc_segment_name name;
        void *memory;
        world_begin(&w, (struct world_opts){.protect = protect});
        for (int i = 0; i < 2; i++) {
            (void)use(&w, 64 * KIB, 1);
            if (!pc_segments_take(w.s, 64 * KIB, &name, &memory)) {
                _exit(2);
            }
            ((volatile char *)memory)[0] = 1;
            pc_segments_cancel(w.s, &name);
        }
        name = lend(&w, 64 * KIB, 1);
        (void)sigaction(SIGSEGV, &action, NULL);
        ((volatile char *)memory)[64 * KIB - 1] = 1;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_lent_memory_is_protected(void **state) {
    (void)state;
    assert_int_equal(stray_write(true), 42);
    assert_int_equal(stray_write(false), 0);
}

/* It is lent all the same, but this process does not have it any more. */
static void test_cannot_protect(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){.protect = true});
    unsigned maps = count_maps();
    struct pc_segment_name name = take(&w, 64 * KIB, 5);
    failing.mprotect = 1;
    pc_segments_lend(w.s, &name);
    assert_int_equal(count_maps(), maps);
    struct pc_view view = get(&w, name);
    expect_bytes(&view, 64 * KIB, 5);
    expect_segments(&w, 1, 1);
    pc_view_drop(&view);
    expect_segments(&w, 1, 0);
    struct pc_segment_name other = use(&w, 64 * KIB, 6);
    assert_int_not_equal(other.index, name.index);
    pc_segments_trim(w.s, 0);
    expect_segments(&w, 0, 0);
    (void)use(&w, 64 * KIB, 6);
    world_end(&w);
}

static void test_cannot_unprotect(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){.protect = true});
    struct pc_segment_name name = use(&w, 64 * KIB, 5);
    failing.mprotect = 1;
    assert_true(cannot_take(&w, 64 * KIB));
    expect_segments(&w, 1, 0);
    assert_int_equal(use(&w, 64 * KIB, 6).index, name.index);
    world_end(&w);
}

/* ---- Copies on write */

static void scribble(struct pc_view *view) {
    for (size_t i = 0; i < view->n; i += 3 * 4096) {
        ((uint8_t *)(uintptr_t)view->data)[i] = 99;
    }
}

/* What a tool writes is its own, and gone afterwards. */
static void test_copies_are_dropped(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){.copy_on_write = true});
    struct pc_segment_name name;
    for (unsigned i = 0; i < 4; i++) {
        void *memory;
        assert_true(pc_segments_take(w.s, 5 * MIB, &name, &memory));
        memset(memory, 7, 5 * MIB);
        pc_segments_lend(w.s, &name);
        struct pc_view view = get(&w, name);
        expect_bytes(&view, 5 * MIB, 7);
        scribble(&view);
        assert_int_equal(view.data[0], 99);
        assert_int_equal(((uint8_t *)memory)[0], 7);
        failing.pagemap = i % 2; /* all pages are dropped where nobody says which to */
        pc_view_drop(&view);
        assert_int_equal(failing.pagemap, 0);
    }
    assert_int_equal(use(&w, 5 * MIB, 8).index, name.index);
    world_end(&w);
}

/* Otherwise the next use would see them. */
static void test_copies_that_cannot_be_dropped(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){.copy_on_write = true});
    struct pc_segment_name name = lend(&w, 64 * KIB, 1);
    struct pc_view view = get(&w, name);
    scribble(&view);
    failing.advice = MADV_DONTNEED;
    failing.error = EINVAL;
    pc_view_drop(&view);
    assert_int_equal(failing.advice, 0);
    expect_views(&w, 0, 0);
    expect_segments(&w, 1, 1);
    assert_int_not_equal(use(&w, 64 * KIB, 2).index, name.index);
    world_end(&w);
}

/* ---- A name is good once */

/* It has died without reading all that was for it, and its last answer names a segment that nobody has looked for yet. */
static void test_writer_that_is_gone(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    struct pc_segment_packet unread = {.kind = PC_PACKET_FORGET, .index = 1};
    assert_int_equal(pc_segment_packet_send(w.reader_socket, &unread, NULL), 0);
    struct pc_segment_name name = lend(&w, 100 * KIB, 7);
    pc_segments_free(w.s);
    w.s = NULL;
    close(w.writer_socket);
    struct pc_view view = get(&w, name);
    expect_bytes(&view, 100 * KIB, 7);
    pc_view_drop(&view);
    w.writer_socket = dup(w.reader_socket); /* for the end to close */
    world_end(&w);
}

static void test_name_is_good_once(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    struct pc_segment_name first = lend(&w, 64 * KIB, 1);
    struct pc_view view = get(&w, first);
    struct pc_segment_name next = first;
    next.generation++;
    assert_int_equal(try_get(&w, first), PC_VIEW_BAD); /* it is out */
    assert_int_equal(try_get(&w, next), PC_VIEW_BAD);  /* so it cannot be in another use */
    pc_view_drop(&view);
    assert_int_equal(try_get(&w, first), PC_VIEW_BAD);
    (void)use(&w, 64 * KIB, 1);
    assert_int_equal(try_get(&w, first), PC_VIEW_BAD);
    assert_int_equal(try_get(&w, next), PC_VIEW_BAD);
    next.generation++;
    next.n = 64 * KIB + 1;
    assert_int_equal(try_get(&w, next), PC_VIEW_BAD); /* beyond its end */
    next.n = UINT64_MAX;
    assert_int_equal(try_get(&w, next), PC_VIEW_BAD);
    next.n = 64 * KIB;
    next.generation = 0;
    assert_int_equal(try_get(&w, next), PC_VIEW_BAD);
    next.generation = 3;
    next.index = 1;
    assert_int_equal(try_get(&w, next), PC_VIEW_BAD); /* there is none */
    next.index = PC_SEGMENTS;
    assert_int_equal(try_get(&w, next), PC_VIEW_BAD);
    next.index = UINT32_MAX;
    assert_int_equal(try_get(&w, next), PC_VIEW_BAD);
    expect_views(&w, 1, 0);
    (void)use(&w, 64 * KIB, 1);
    world_end(&w);
}

/* ---- Ends */

/* Who still reads, goes on reading, whichever end is over; and the board is not touched any more. */
static void test_views_outlive_all(void **state) {
    (void)state;
    struct world w;
    struct pc_view views[3];
    world_begin(&w, (struct world_opts){.copy_on_write = true});
    for (int i = 0; i < 3; i++) {
        views[i] = get(&w, lend(&w, 64 * KIB, i));
    }
    (void)use(&w, 256 * KIB, 9);
    pc_segments_free(w.s);
    w.s = NULL;
    pc_view_drop(&views[1]);
    assert_int_equal(w.of_writer.other->done[views[1].name.index], views[1].name.generation);
    pc_views_free(w.v);
    w.v = NULL;
    assert_int_equal(count_maps(), w.maps + 4 /* boards */ + 2);
    expect_bytes(&views[0], 64 * KIB, 0);
    scribble(&views[0]);
    pc_view_drop(&views[0]);
    assert_int_equal(w.of_writer.other->done[views[0].name.index], 0);
    pc_boards_close(&w.of_reader);
    expect_bytes(&views[2], 64 * KIB, 2);
    pc_view_drop(&views[2]);
    world_end(&w);
}

/* A child has what is read here, and nothing of what is written here. */
static void test_children(void **state) {
    (void)state;
    struct world w;
    struct pc_segment_name name;
    void *memory;
    unsigned char resident;
    int status;
    world_begin(&w, (struct world_opts){.copy_on_write = true});
    assert_true(pc_segments_take(w.s, 64 * KIB, &name, &memory));
    memset(memory, 3, 64 * KIB);
    pc_segments_lend(w.s, &name);
    struct pc_view view = get(&w, name);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        bool absent = mincore(memory, 1, &resident) < 0 && mincore(w.of_reader.own, 1, &resident) < 0 &&
                      mincore(w.of_writer.own, 1, &resident) < 0;
        _exit(absent && view.data[64 * KIB - 1] == 3 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    pc_view_drop(&view);
    world_end(&w);
}

/* ---- Boards */

static void test_boards(void **state) {
    (void)state;
    struct world w;
    struct pc_boards none;
    world_begin(&w, (struct world_opts){0});
    atomic_store(&w.of_reader.own->done[PC_SEGMENTS - 1], 5);
    atomic_store(&w.of_writer.own->done[0], 6);
    assert_int_equal(w.of_writer.other->done[PC_SEGMENTS - 1], 5);
    assert_int_equal(w.of_reader.other->done[0], 6);
    assert_int_equal(pc_boards_receive(w.writer_socket, &none), -EAGAIN);
    assert_null(none.own);
    assert_null(none.other);
    pc_boards_close(&none);
    world_end(&w);
}

static void test_no_boards(void **state) {
    (void)state;
    struct world w;
    struct pc_boards b;
    world_begin(&w, (struct world_opts){0});
    unsigned fds = count_fds(), maps = count_maps();
    for (unsigned i = 1; i <= 2; i++) {
        failing.mmap = i;
        assert_int_equal(pc_boards_send(w.reader_socket, &b), -ENOMEM);
    }
    rlim_t before = forbid_descriptors();
    int error = pc_boards_send(w.reader_socket, &b);
    allow_descriptors(before);
    assert_int_equal(error, -EMFILE);
    assert_int_equal(pc_boards_receive(w.writer_socket, &b), -EAGAIN); /* nothing was sent */

    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(pc_boards_send(w.reader_socket, &b), 0);
        pc_boards_close(&b);
        failing.mmap = i;
        failing.advice = i == 3 ? MADV_DONTFORK : 0;
        failing.error = ENOMEM;
        assert_int_equal(pc_boards_receive(w.writer_socket, &b), -ENOMEM);
    }
    failing.mmap = 0;
    assert_int_equal(count_fds(), fds);
    assert_int_equal(count_maps(), maps);
    world_end(&w);
}

/* ---- Spare ones */

/* Two of that size, the second made while the reader kept the first. */
static void two(struct world *w, size_t n) {
    (void)lend(w, n, 1);
    assert_false(pc_segments_wants_spare(w->s));
    (void)lend(w, n, 2);
}

/* Of the size that had to be made: for the next taker, and then another one. */
static void test_spare(void **state) {
    (void)state;
    struct world w;
    struct pc_view views[3];
    world_begin(&w, (struct world_opts){0});
    pc_segments_prepare(w.s);
    expect_segments(&w, 0, 0);
    two(&w, 128 * KIB);
    for (unsigned i = 2; i <= 4; i++) {
        assert_true(pc_segments_wants_spare(w.s));
        pc_segments_prepare(w.s);
        assert_false(pc_segments_wants_spare(w.s));
        expect_segments(&w, i + 1, i);
        assert_int_equal(bytes_of_segments(&w), (i + 1) * 128 * KIB);
        struct pc_segment_name name = lend(&w, 128 * KIB, (int)i);
        assert_int_equal(name.index, i);
        views[i - 2] = get(&w, name);
        expect_bytes(&views[i - 2], 128 * KIB, (int)i);
    }
    for (unsigned i = 0; i < 3; i++) {
        pc_view_drop(&views[i]);
    }
    world_end(&w);
}

/* What has been used is taken first, and whoever uses that again and again causes no more. */
static void test_spare_stays_in_reserve(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    struct pc_segment_name a = lend(&w, 128 * KIB, 1);
    struct pc_segment_name b = lend(&w, 128 * KIB, 1);
    pc_segments_prepare(w.s);
    expect_segments(&w, 3, 2);
    pc_segments_cancel(w.s, &b);
    pc_segments_cancel(w.s, &a);
    assert_int_equal(take(&w, 128 * KIB, 1).index, a.index);
    assert_int_equal(take(&w, 100 * KIB, 1).index, b.index);
    assert_false(pc_segments_wants_spare(w.s));
    (void)take(&w, 128 * KIB, 1);
    assert_true(pc_segments_wants_spare(w.s));
    expect_segments(&w, 3, 3);
    world_end(&w);
}

/* By then the reader has let go of enough. */
static void test_spare_is_not_needed(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    struct pc_segment_name name = lend(&w, 128 * KIB, 1);
    struct pc_view view = get(&w, name);
    (void)lend(&w, 128 * KIB, 1);
    assert_true(pc_segments_wants_spare(w.s));
    pc_view_drop(&view);
    pc_segments_prepare(w.s);
    expect_segments(&w, 2, 1);
    assert_false(pc_segments_wants_spare(w.s));
    world_end(&w);
}

/* Not where others may need the memory, nor of a size that takes too much of it. */
static void test_no_spare(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){.most = 1024 * KIB});
    two(&w, 192 * KIB); /* a third one would be more than half */
    assert_true(pc_segments_wants_spare(w.s));
    pc_segments_prepare(w.s);
    expect_segments(&w, 2, 2);
    world_end(&w);
    world_begin(&w, (struct world_opts){.most = 256 * MIB});
    two(&w, 16 * MIB + 1);
    assert_false(pc_segments_wants_spare(w.s));
    world_end(&w);
    world_begin(&w, (struct world_opts){.most = 256 * MIB});
    two(&w, 16 * MIB);
    assert_true(pc_segments_wants_spare(w.s));
    world_end(&w);
    world_begin(&w, (struct world_opts){0});
    for (unsigned i = 0; i < PC_SEGMENTS; i++) {
        (void)lend(&w, 64 * KIB, 1);
    }
    pc_segments_prepare(w.s);
    expect_segments(&w, PC_SEGMENTS, PC_SEGMENTS);
    world_end(&w);
}

/* The reader takes no descriptors any more. */
static void test_spare_that_cannot_be_made(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    two(&w, 128 * KIB);
    assert_int_equal(shutdown(w.reader_socket, SHUT_RDWR), 0);
    pc_segments_prepare(w.s);
    expect_segments(&w, 2, 2);
    assert_int_equal(bytes_of_segments(&w), 2 * 128 * KIB);
    world_end(&w);
}

/* It has never been used, and goes when it has been there for long enough. */
static void test_spare_is_trimmed(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    two(&w, 128 * KIB);
    pc_segments_prepare(w.s);
    pc_segments_trim(w.s, INT64_MAX);
    expect_segments(&w, 3, 2);
    pc_segments_trim(w.s, 0);
    expect_segments(&w, 2, 2);
    world_end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_generations),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_smallest_that_is_not_wasted),
        cmocka_unit_test(test_last_that_was_free),
        cmocka_unit_test(test_room_from_the_oldest),
        cmocka_unit_test(test_oldest_goes_first),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_no_index),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_board_is_believed_for_the_last_use),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_spare),
        cmocka_unit_test(test_spare_stays_in_reserve),
        cmocka_unit_test(test_spare_is_not_needed),
        cmocka_unit_test(test_no_spare),
        cmocka_unit_test(test_spare_that_cannot_be_made),
        cmocka_unit_test(test_spare_is_trimmed),
        cmocka_unit_test(test_full_socket),
        cmocka_unit_test(test_closed_socket),
        cmocka_unit_test(test_no_descriptor_for_the_writer),
        cmocka_unit_test(test_no_memory_for_the_writer),
        cmocka_unit_test(test_nothing_for_the_reader),
        cmocka_unit_test(test_no_descriptor_for_the_reader),
        cmocka_unit_test(test_lent_memory_is_protected),
        cmocka_unit_test(test_cannot_protect),
        cmocka_unit_test(test_cannot_unprotect),
        cmocka_unit_test(test_copies_are_dropped),
        cmocka_unit_test(test_copies_that_cannot_be_dropped),
        cmocka_unit_test(test_writer_that_is_gone),
        cmocka_unit_test(test_name_is_good_once),
        cmocka_unit_test(test_views_outlive_all),
        cmocka_unit_test(test_children),
        cmocka_unit_test(test_boards),
        cmocka_unit_test(test_no_boards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
