/*
 * wire/segment.h against another end that lies: it sends what it likes over the socket, names what it likes, and writes what it likes on its
 * board. Nothing of that is mapped, kept open or waited for, and honest segments work afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "os/os.h"
#include "segment_world.h"
#include "wire/segment_private.h"

enum { SIZE = 64 * KIB, SOME = 5, ALL_SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL };

/* Whatever bytes, with whatever descriptors, which are closed here. */
static void send_raw(struct world *w, const void *bytes, size_t n, const int *fds, size_t count) {
    enum { FDS_MOST = 8 };
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FDS_MOST * sizeof(int))];
    } control;
    struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (count > 0) {
        memset(&control, 0, sizeof control);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    }
    assert_int_equal(sendmsg(w->writer_socket, &message, MSG_NOSIGNAL), n);
    for (size_t i = 0; i < count; i++) {
        close(fds[i]);
    }
}

static void send_packet(struct world *w, uint32_t kind, uint32_t index, uint64_t size, const int *fds, size_t count) {
    const struct pc_segment_packet packet = {.kind = kind, .index = index, .size = size};
    send_raw(w, &packet, sizeof packet, fds, count);
}

/* Memory with pages up to `filled`, and those seals. */
static int memory(size_t size, size_t filled, int seals) {
    int fd = memfd_create("pitcrew", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    char zero = 0;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (size_t at = 0; at < filled; at += 4096) {
        assert_int_equal(pwrite(fd, &zero, 1, (off_t)at), 1);
    }
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static int good(size_t size) { return memory(size, size, ALL_SEALS); }

static const struct pc_segment_name name_of_some = {.index = SOME, .generation = 1, .n = 1};

/* The other end has sent something: no segment; all is as before it, and honest ones work. */
static void refused(struct world *w, unsigned fds) {
    struct pc_segment_name next = name_of_some;
    unsigned maps = count_maps();
    assert_int_equal(try_get(w, next), PC_VIEW_BAD);
    assert_int_equal(count_maps(), maps);
    assert_int_equal(count_fds(), fds);
    expect_views(w, 1, 0);
    (void)use(w, SIZE, 1);
}

static void test_bad_memory(void **state) {
    (void)state;
    struct world w;
    int ends[2];
    world_begin(&w, (struct world_opts){0});
    (void)use(&w, SIZE, 1);
    unsigned fds = count_fds();
    static const int seals[] = {0,
                                F_SEAL_SEAL,
                                F_SEAL_SHRINK | F_SEAL_GROW,
                                F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE,
                                F_SEAL_GROW | F_SEAL_FUTURE_WRITE,
                                F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL};
    for (size_t i = 0; i < sizeof seals / sizeof *seals; i++) {
        send_packet(&w, PC_PACKET_NEW, SOME, SIZE, (int[]){memory(SIZE, SIZE, seals[i])}, 1);
        refused(&w, fds);
    }
    static const uint64_t sizes[] = {0, 1, SIZE - 1, SIZE + 1, 2 * SIZE, (uint64_t)1 << 32 | SIZE, UINT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        send_packet(&w, PC_PACKET_NEW, SOME, sizes[i], (int[]){good(SIZE)}, 1);
        refused(&w, fds);
    }
    send_packet(&w, PC_PACKET_NEW, SOME, 0, (int[]){good(0)}, 1);
    refused(&w, fds);
    send_packet(&w, PC_PACKET_NEW, SOME, 64 * MIB, (int[]){good(64 * MIB)}, 1); /* too much, beside what there is */
    refused(&w, fds);
    /* Reading a hole could be a SIGBUS. */
    send_packet(&w, PC_PACKET_NEW, SOME, SIZE, (int[]){memory(SIZE, 0, ALL_SEALS)}, 1);
    refused(&w, fds);
    send_packet(&w, PC_PACKET_NEW, SOME, SIZE, (int[]){memory(SIZE, SIZE - 4096, ALL_SEALS)}, 1);
    refused(&w, fds);
    int fd = memory(SIZE, 4096, 0); /* with pages enough, but beyond its end */
    assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, SIZE, SIZE), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, ALL_SEALS), 0);
    send_packet(&w, PC_PACKET_NEW, SOME, SIZE, &fd, 1);
    refused(&w, fds);
    /* Memory that cannot be read. */
    char path[64];
    fd = good(SIZE);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int write_only = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(write_only >= 0);
    close(fd);
    send_packet(&w, PC_PACKET_NEW, SOME, SIZE, &write_only, 1);
    refused(&w, fds);
    /* No memory at all. */
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), SIZE), 0);
    send_packet(&w, PC_PACKET_NEW, SOME, SIZE, (int[]){dup(fileno(file))}, 1);
    fclose(file);
    refused(&w, fds);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    send_packet(&w, PC_PACKET_NEW, SOME, SIZE, ends, 1);
    close(ends[1]);
    refused(&w, fds);
    send_packet(&w, PC_PACKET_NEW, SOME, SIZE, (int[]){open("/dev/zero", O_RDWR | O_CLOEXEC)}, 1);
    refused(&w, fds);
    send_packet(&w, PC_PACKET_NEW, SOME, SIZE, (int[]){open("/proc", O_PATH | O_CLOEXEC)}, 1);
    refused(&w, fds);
    send_packet(&w, PC_PACKET_NEW, SOME, SIZE, (int[]){dup(w.reader_socket)}, 1);
    refused(&w, fds);
    world_end(&w);
}

static void test_bad_packets(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    (void)use(&w, SIZE, 1);
    unsigned fds = count_fds();
    static const uint32_t indices[] = {PC_SEGMENTS, PC_SEGMENTS + SOME, UINT32_MAX};
    for (size_t i = 0; i < sizeof indices / sizeof *indices; i++) {
        send_packet(&w, PC_PACKET_NEW, indices[i], SIZE, (int[]){good(SIZE)}, 1);
        refused(&w, fds);
        send_packet(&w, PC_PACKET_FORGET, indices[i], 0, NULL, 0);
        refused(&w, fds);
    }
    static const uint32_t kinds[] = {PC_PACKET_FORGET, PC_PACKET_BOARDS, PC_PACKET_KINDS, UINT32_MAX};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        send_packet(&w, kinds[i], SOME, SIZE, (int[]){good(SIZE)}, 1);
        refused(&w, fds);
        send_packet(&w, kinds[i], 0, SIZE, (int[]){good(SIZE), good(SIZE)}, 2);
        refused(&w, fds); /* and the segment that is there stays */
    }
    send_packet(&w, PC_PACKET_BOARDS, 0, 0, NULL, 0);
    refused(&w, fds);
    send_packet(&w, PC_PACKET_KINDS, 0, 0, NULL, 0);
    refused(&w, fds);
    send_packet(&w, PC_PACKET_NEW, SOME, SIZE, NULL, 0);
    refused(&w, fds);
    for (size_t n = 2; n < 8; n++) { /* more than one, and more than there is room for */
        int many[8];
        for (size_t i = 0; i < n; i++) {
            many[i] = good(SIZE);
        }
        send_packet(&w, PC_PACKET_NEW, SOME, SIZE, many, n);
        refused(&w, fds);
    }
    const struct pc_segment_packet packets[2] = {{.kind = PC_PACKET_NEW, .index = SOME, .size = SIZE},
                                                 {.kind = PC_PACKET_FORGET, .index = SOME}};
    for (size_t n = 0; n < sizeof packets; n++) { /* of any other size */
        if (n != sizeof *packets) {
            send_raw(&w, packets, n, (int[]){good(SIZE)}, 1);
            refused(&w, fds);
            send_raw(&w, packets, n, NULL, 0);
            refused(&w, fds);
        }
    }
    world_end(&w);
}

/* One that is good, as a check of the above. */
static void test_what_is_good(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    send_packet(&w, PC_PACKET_NEW, SOME, SIZE, (int[]){good(SIZE)}, 1);
    struct pc_view view = get(&w, name_of_some);
    expect_bytes(&view, 1, 0);
    pc_view_drop(&view);
    assert_int_equal(w.of_writer.other->done[SOME], 1);
    world_end(&w);
}

/* Generations go round, and 0 is none. */
static void test_generations_wrap(void **state) {
    (void)state;
    struct world w;
    struct pc_segment_name name = {.index = SOME, .generation = UINT32_MAX, .n = SIZE};
    world_begin(&w, (struct world_opts){0});
    send_packet(&w, PC_PACKET_NEW, SOME, SIZE, (int[]){good(SIZE)}, 1);
    struct pc_view view = get(&w, name);
    pc_view_drop(&view);
    name.generation = 0;
    assert_int_equal(try_get(&w, name), PC_VIEW_BAD);
    name.generation = 1;
    view = get(&w, name);
    pc_view_drop(&view);
    name.generation = UINT32_MAX;
    assert_int_equal(try_get(&w, name), PC_VIEW_BAD);
    world_end(&w);
}

/* ---- More than it may */

static void test_replaced_while_out(void **state) {
    (void)state;
    struct world w;
    struct pc_segment_name name = name_of_some;
    world_begin(&w, (struct world_opts){0});
    send_packet(&w, PC_PACKET_NEW, SOME, SIZE, (int[]){good(SIZE)}, 1);
    struct pc_view old = get(&w, name);
    send_packet(&w, PC_PACKET_NEW, SOME, 2 * SIZE, (int[]){good(2 * SIZE)}, 1);
    assert_int_equal(try_get(&w, name), PC_VIEW_BAD); /* good once, whatever segment it names */
    name.generation++;
    name.n = 2 * SIZE;
    struct pc_view view = get(&w, name);
    expect_views(&w, 2, 2);
    pc_view_drop(&view);
    send_packet(&w, PC_PACKET_FORGET, SOME, 0, NULL, 0);
    pc_views_tend(w.v);
    expect_views(&w, 1, 1);
    expect_bytes(&old, 1, 0);
    pc_view_drop(&old);
    expect_views(&w, 0, 0);
    assert_int_equal(w.of_writer.other->done[SOME], name.generation); /* the old one is no news */
    name.generation++;
    assert_int_equal(try_get(&w, name), PC_VIEW_BAD);
    world_end(&w);
}

/* Mappings are limited in all, those that are out included, lest one worker uses up those of the VM. */
static void test_too_many(void **state) {
    (void)state;
    enum { SMALL = 4096 };
    struct world w;
    struct pc_view views[PC_SEGMENTS];
    world_begin(&w, (struct world_opts){0});
    struct pc_segment_name name = name_of_some;
    for (unsigned i = 0; i < PC_SEGMENTS; i++) {
        send_packet(&w, PC_PACKET_NEW, SOME, SMALL, (int[]){good(SMALL)}, 1);
        views[i] = get(&w, name);
        name.generation++;
    }
    unsigned fds = count_fds(), maps = count_maps();
    for (uint32_t i = 0; i < 2; i++) {
        send_packet(&w, PC_PACKET_NEW, SOME + i, SMALL, (int[]){good(SMALL)}, 1);
        name.index = SOME + i;
        assert_int_equal(try_get(&w, name), PC_VIEW_BAD);
    }
    assert_int_equal(count_fds(), fds);
    assert_int_equal(count_maps(), maps);
    expect_views(&w, PC_SEGMENTS, PC_SEGMENTS);
    pc_view_drop(&views[7]);
    send_packet(&w, PC_PACKET_NEW, SOME, SMALL, (int[]){good(SMALL)}, 1);
    name.index = SOME;
    views[7] = get(&w, name);
    for (unsigned i = 0; i < PC_SEGMENTS; i++) {
        pc_view_drop(&views[i]);
    }
    expect_views(&w, 1, 0);
    world_end(&w);
}

static void test_too_large_together(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){.most = 4 * SIZE});
    send_packet(&w, PC_PACKET_NEW, 0, 2 * SIZE, (int[]){good(2 * SIZE)}, 1);
    struct pc_view out = get(&w, (struct pc_segment_name){.index = 0, .generation = 1, .n = 1});
    send_packet(&w, PC_PACKET_NEW, 0, 2 * SIZE, (int[]){good(2 * SIZE)}, 1);
    send_packet(&w, PC_PACKET_NEW, SOME, 4096, (int[]){good(4096)}, 1);
    assert_int_equal(try_get(&w, name_of_some), PC_VIEW_BAD);
    expect_views(&w, 2, 1);
    pc_view_drop(&out);
    send_packet(&w, PC_PACKET_NEW, SOME, 2 * SIZE, (int[]){good(2 * SIZE)}, 1);
    struct pc_view view = get(&w, name_of_some);
    pc_view_drop(&view);
    world_end(&w);
}

/* Whoever sends without end keeps nobody: so much is looked at in one go. Here a socket holds less than that. */
static void test_flood(void **state) {
    (void)state;
    struct world w;
    world_begin(&w, (struct world_opts){0});
    const struct pc_segment_packet packet = {.kind = PC_PACKET_NEW, .index = SOME, .size = SIZE};
    unsigned fds = count_fds();
    for (int round = 0; round < 3; round++) {
        int fd = round == 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : good(SIZE);
        int sent = 0;
        while (pc_segment_packet_send(w.writer_socket, &packet, &fd) == 0) {
            sent++;
        }
        close(fd);
        assert_true(sent > 100);
        pc_views_tend(w.v);
        expect_views(&w, round > 0, 0);
        assert_int_equal(count_fds(), fds);
    }
    world_end(&w);
}

/* ---- What the kernel does not let anybody do with a segment, or with the VM's board */

static void expect_sealed(int fd, size_t size) {
    char byte = 1;
    assert_int_equal(pc_os_check_written_memory(fd, size), 0);
    assert_int_equal(ftruncate(fd, (off_t)size - 1), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, (off_t)size + 1), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(pwrite(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size + 4096), -1);
    assert_int_equal(errno, EPERM);
    assert_ptr_equal(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(errno, EPERM);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    assert_int_equal(errno, EPERM);
    void *mapped = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(mapped, MAP_FAILED);
    assert_int_equal(mprotect(mapped, size, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(errno, EACCES);
    assert_int_equal(munmap(mapped, size), 0);
}

static void test_seals_hold(void **state) {
    (void)state;
    struct world w;
    struct pc_segment_packet packet;
    struct pc_boards b;
    int fds[PC_PACKET_FDS];
    world_begin(&w, (struct world_opts){0});
    (void)lend(&w, 3 * MIB, 1);
    assert_int_equal(pc_segment_packet_receive(w.reader_socket, &packet, fds), PC_PACKET_GOOD);
    assert_int_equal(packet.kind, PC_PACKET_NEW);
    assert_int_equal(packet.size, 3 * MIB);
    assert_true((fcntl(fds[0], F_GETFD) & FD_CLOEXEC) != 0);
    expect_sealed(fds[0], 3 * MIB);
    close(fds[0]);

    assert_int_equal(pc_boards_send(w.reader_socket, &b), 0);
    assert_int_equal(pc_segment_packet_receive(w.writer_socket, &packet, fds), PC_PACKET_GOOD);
    assert_int_equal(packet.kind, PC_PACKET_BOARDS);
    expect_sealed(fds[0], packet.size);
    assert_int_equal(pc_os_check_shared_memory(fds[1], packet.size), 0);
    assert_int_equal(pc_os_check_written_memory(fds[1], packet.size), -EINVAL);
    close(fds[0]);
    close(fds[1]);
    pc_boards_close(&b);
    world_end(&w);
}

static void test_bad_boards(void **state) {
    (void)state;
    enum { BOARD = 4096 };
    struct world w;
    struct pc_boards b;
    world_begin(&w, (struct world_opts){0});
    int reader = w.writer_socket; /* of what send_packet sends */
    w.writer_socket = w.reader_socket;
    unsigned fds = count_fds(), maps = count_maps();
    const int shared = F_SEAL_SHRINK | F_SEAL_GROW;
    send_packet(&w, PC_PACKET_NEW, 0, BOARD, (int[]){good(BOARD)}, 1);
    assert_int_equal(pc_boards_receive(reader, &b), -EPROTO);
    send_packet(&w, PC_PACKET_FORGET, 0, BOARD, NULL, 0);
    assert_int_equal(pc_boards_receive(reader, &b), -EPROTO);
    send_packet(&w, PC_PACKET_BOARDS, 0, BOARD, (int[]){good(BOARD)}, 1);
    assert_int_equal(pc_boards_receive(reader, &b), -EPROTO);
    send_packet(&w, PC_PACKET_BOARDS, 0, BOARD, (int[]){good(BOARD), memory(BOARD, 0, shared), good(BOARD)}, 3);
    assert_int_equal(pc_boards_receive(reader, &b), -EPROTO);
    send_packet(&w, PC_PACKET_BOARDS, 0, 2 * BOARD, (int[]){good(2 * BOARD), good(2 * BOARD)}, 2);
    assert_int_equal(pc_boards_receive(reader, &b), -EPROTO);
    send_packet(&w, PC_PACKET_BOARDS, 0, BOARD, (int[]){memory(BOARD, BOARD, shared), memory(BOARD, 0, shared)}, 2);
    assert_int_equal(pc_boards_receive(reader, &b), -EINVAL);
    send_packet(&w, PC_PACKET_BOARDS, 0, BOARD, (int[]){good(BOARD), memory(BOARD, 0, 0)}, 2);
    assert_int_equal(pc_boards_receive(reader, &b), -EINVAL);
    send_packet(&w, PC_PACKET_BOARDS, 0, BOARD, (int[]){good(BOARD), memory(1, 0, shared)}, 2);
    assert_int_equal(pc_boards_receive(reader, &b), -EINVAL);
    send_packet(&w, PC_PACKET_BOARDS, 0, BOARD, (int[]){good(BOARD), good(BOARD)}, 2);
    assert_int_equal(pc_boards_receive(reader, &b), -EPERM); /* the second one is to be written to */
    assert_null(b.own);
    assert_null(b.other);
    assert_int_equal(count_fds(), fds);
    assert_int_equal(count_maps(), maps);
    send_packet(&w, PC_PACKET_BOARDS, 0, BOARD, (int[]){good(BOARD), memory(BOARD, 0, shared)}, 2);
    assert_int_equal(pc_boards_receive(reader, &b), 0);
    pc_boards_close(&b);
    w.writer_socket = reader;
    world_end(&w);
}

/* ---- A board that lies: its own end reads what it has said it does not read any more. Nobody else does. */
static void test_board_of_a_liar(void **state) {
    (void)state;
    struct world w;
    bool taken[PC_SEGMENTS] = {false};
    unsigned seed = 1;
    world_begin(&w, (struct world_opts){.protect = true, .most = 2 * MIB});
    for (int round = 0; round < 2000; round++) {
        struct pc_segment_name name;
        void *memory;
        for (unsigned i = 0; i < PC_SEGMENTS; i++) {
            atomic_store(&w.of_reader.own->done[i], (uint32_t)rand_r(&seed) % 64);
        }
        if (!pc_segments_take(w.s, (size_t)(rand_r(&seed) % (256 * KIB)), &name, &memory)) {
            continue;
        }
        assert_false(taken[name.index]);
        memset(memory, round, name.n);
        taken[name.index] = rand_r(&seed) % 64 == 0; /* is kept, so it cannot come again */
        if (!taken[name.index]) {
            pc_segments_lend(w.s, &name);
        }
        if (round % 100 == 0) {
            pc_segments_trim(w.s, 0);
        }
        pc_views_tend(w.v);
    }
    world_end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_memory),         cmocka_unit_test(test_bad_packets),
        cmocka_unit_test(test_what_is_good),       cmocka_unit_test(test_generations_wrap),
        cmocka_unit_test(test_replaced_while_out), cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_too_large_together), cmocka_unit_test(test_flood),
        cmocka_unit_test(test_seals_hold),         cmocka_unit_test(test_bad_boards),
        cmocka_unit_test(test_board_of_a_liar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
