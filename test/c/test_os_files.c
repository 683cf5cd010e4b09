/* c_src/os/os_linux_files.c: what is mapped of files leaves this process, and nothing is lost. */
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
#include <unistd.h>

#include "os/os.h"

enum { PAGES = 8 };

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* Page i begins with the byte i + 1. No name is left of it. */
static int new_file(void) {
    char name[] = "/tmp/pitcrew_test_XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(unlink(name), 0);
    for (uint8_t i = 0; i < PAGES; i++) {
        uint8_t byte = (uint8_t)(i + 1);
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)(i * page_size())), 1);
    }
    assert_int_equal(ftruncate(fd, (off_t)(PAGES * page_size())), 0);
    return fd;
}

static volatile uint8_t *map(int fd, int protection, int sort) {
    void *memory = mmap(NULL, PAGES * page_size(), protection, sort, fd, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    return memory;
}

static void expect_bytes(volatile uint8_t *memory, int first) {
    assert_int_equal(memory[0], first);
    for (size_t i = 1; i < PAGES; i++) {
        assert_int_equal(memory[i * page_size()], i + 1);
    }
}

/* How many of its pages this process has, by the bit "present" of pagemap. */
static int present(volatile uint8_t *memory) {
    uint64_t entries[PAGES];
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    assert_true(pagemap >= 0);
    off_t at = (off_t)((uintptr_t)memory / page_size() * sizeof entries[0]);
    assert_int_equal(pread(pagemap, entries, sizeof entries, at), sizeof entries);
    close(pagemap);
    int found = 0;
    for (size_t i = 0; i < PAGES; i++) {
        found += entries[i] >> 63 != 0;
    }
    return found;
}

static void drop(volatile uint8_t *memory) { assert_int_equal(munmap((void *)memory, PAGES * page_size()), 0); }

static void test_pages_leave_and_come_back(void **state) {
    (void)state;
    const int protections[] = {PROT_READ, PROT_READ | PROT_EXEC};
    int fd = new_file();
    for (size_t i = 0; i < 2; i++) {
        volatile uint8_t *memory = map(fd, protections[i], MAP_PRIVATE);
        expect_bytes(memory, 1);
        assert_int_equal(present(memory), PAGES);
        assert_int_equal(pc_os_leave_file_pages(), 0);
        assert_int_equal(present(memory), 0);
        expect_bytes(memory, 1);
        drop(memory);
    }
    close(fd);
}

/* As the dynamic linker does with what it has relocated. */
static void test_what_was_written_stays(void **state) {
    (void)state;
    int fd = new_file();
    volatile uint8_t *memory = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    memory[0] = 99;
    expect_bytes(memory, 99);
    assert_int_equal(pc_os_leave_file_pages(), 0);
    expect_bytes(memory, 99);
    assert_int_equal(mprotect((void *)memory, PAGES * page_size(), PROT_READ), 0);
    assert_int_equal(pc_os_leave_file_pages(), 0);
    expect_bytes(memory, 99);
    drop(memory);
    close(fd);
}

static void test_other_memory_stays(void **state) {
    (void)state;
    int fd = new_file();
    volatile uint8_t *shared = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
    volatile uint8_t *own = map(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    shared[0] = 7;
    for (uint8_t i = 0; i < PAGES; i++) {
        own[i * page_size()] = (uint8_t)(i + 1);
    }
    assert_int_equal(mprotect((void *)own, PAGES * page_size(), PROT_READ), 0);
    assert_int_equal(pc_os_leave_file_pages(), 0);
    expect_bytes(shared, 7);
    expect_bytes(own, 1);
    drop(shared);
    drop(own);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_leave_and_come_back),
        cmocka_unit_test(test_what_was_written_stays),
        cmocka_unit_test(test_other_memory_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
