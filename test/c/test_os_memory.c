/* c_src/os/os_linux_memory.c: memory that one process writes and others read. What its seals forbid is in test_wire_segment_lies.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

enum { MIB = 1 << 20 };

static void expect_written_memory(size_t size) {
    char *memory;
    int fd = pc_os_written_memory(size, (void **)&memory);
    assert_true(fd >= 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(pc_os_check_written_memory(fd, size), 0);
    assert_int_equal(pc_os_check_shared_memory(fd, size), 0);
    assert_int_equal(pc_os_check_written_memory(fd, size + 1), -EINVAL);
    assert_int_equal(pc_os_check_shared_memory(fd, size - 1), -EINVAL);
    struct stat file;
    assert_int_equal(fstat(fd, &file), 0);
    assert_true((size_t)file.st_blocks * 512 >= size);
    char *other = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(other, MAP_FAILED);
    close(fd);
    for (size_t i = 0; i < size; i += 1000) {
        assert_int_equal(memory[i], 0);
        memory[i] = (char)(i % 113);
        assert_int_equal(other[i], (char)(i % 113));
    }
    unsigned char resident;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(mincore(memory, 1, &resident) < 0 && errno == ENOMEM && other[1000] == 1000 % 113 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(munmap(memory, size), 0);
    assert_int_equal(munmap(other, size), 0);
}

static void test_written_memory(void **state) {
    (void)state;
    expect_written_memory(4096);
    expect_written_memory(5000);
    expect_written_memory(2 * MIB);
    expect_written_memory(5 * MIB + 1);
}

static void test_no_such_memory(void **state) {
    (void)state;
    void *memory;
    int next = dup(0);
    close(next);
    assert_true(pc_os_written_memory(0, &memory) < 0);
    assert_true(pc_os_written_memory((size_t)1 << 62, &memory) < 0);
    assert_true(pc_os_written_memory(SIZE_MAX, &memory) < 0);
    int again = dup(0);
    close(again);
    assert_int_equal(again, next); /* nothing is left open */
    assert_int_equal(pc_os_check_written_memory(-1, 1), -EINVAL);
    assert_int_equal(pc_os_check_shared_memory(0, 1), -EINVAL);
}

/* It is an error, not a signal. In a child, for the limit stays. */
static void test_limit_of_files(void **state) {
    (void)state;
    enum { LIMIT = 8192 };
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        void *memory;
        struct rlimit limit = {.rlim_cur = LIMIT, .rlim_max = LIMIT};
        bool good = setrlimit(RLIMIT_FSIZE, &limit) == 0 && pc_os_written_memory(LIMIT + 1, &memory) == -EFBIG &&
                    pc_os_shared_memory(LIMIT + 1) == -EFBIG && pc_os_written_memory(LIMIT, &memory) >= 0 &&
                    pc_os_shared_memory(LIMIT) >= 0;
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Whether a page is in the mapping. */
static bool is_present(const char *page) {
    uint64_t entry = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &entry, sizeof entry, (off_t)((uintptr_t)page / 4096 * sizeof entry)), sizeof entry);
    close(fd);
    return entry >> 63 != 0;
}

/* Copies at the ends, at and over the edges of what is looked at in one go, alone and in rows; what is no copy stays in the mapping. */
static void test_copies_are_dropped(void **state) {
    (void)state;
    enum { PAGE = 4096, PAGES = 3 * 512 + 7, SIZE = PAGES * PAGE - 96, RANDOM = 100 };
    static const unsigned edges[] = {0, 1, 2, 100, 510, 511, 512, 513, 1023, 1025, 1535, 1536, PAGES - 2, PAGES - 1};
    static bool copied[PAGES];
    char *memory;
    unsigned seed = 1;
    if (sysconf(_SC_PAGESIZE) != PAGE) {
        skip();
    }
    int fd = pc_os_written_memory(SIZE, (void **)&memory);
    assert_true(fd >= 0);
    char *mine = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    assert_ptr_not_equal(mine, MAP_FAILED);
    close(fd);
    for (int round = 0; round < 5; round++) {
        memset(copied, 0, sizeof copied);
        for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
            copied[edges[i]] = round != 1;
        }
        for (int i = 0; i < RANDOM && round > 1; i++) {
            copied[(unsigned)rand_r(&seed) % PAGES] = true;
        }
        for (size_t i = 0; i < PAGES; i++) {
            memory[i * PAGE] = (char)(i + (size_t)round);
            assert_int_equal(mine[i * PAGE],
                             (char)(i + (size_t)round)); /* sees what is written, until it writes itself */
            if (copied[i]) {
                mine[i * PAGE + 1] = 99;
            }
        }
        assert_int_equal(pc_os_drop_copies(mine, SIZE), 0);
        size_t kept = 0;
        for (size_t i = 0; i < PAGES; i++) {
            bool present = is_present(mine + i * PAGE);
            assert_false(present && copied[i]);
            kept += present;
        }
        assert_true(kept > PAGES / 2); /* all that were not copied, if the system does not want them back itself */
        for (size_t i = 0; i < PAGES; i++) {
            assert_int_equal(mine[i * PAGE], (char)(i + (size_t)round));
            assert_int_equal(mine[i * PAGE + 1], 0);
            assert_int_equal(memory[i * PAGE + 1], 0);
        }
    }
    assert_int_equal(munmap(mine, SIZE), 0);
    assert_int_equal(munmap(memory, SIZE), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_memory),
        cmocka_unit_test(test_no_such_memory),
        cmocka_unit_test(test_limit_of_files),
        cmocka_unit_test(test_copies_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
