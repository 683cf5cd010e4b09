/* c_src/port/socket_dir.c: the lock says who lives, and only what is ours is touched. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "port/socket_dir.h"

static char base[64];
static char path[128];

static int setup(void **state) {
    (void)state;
    snprintf(base, sizeof base, "/tmp/pitcrew-test-XXXXXX");
    if (mkdtemp(base) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/pitcrew.one", base);
    return 0;
}

/* Fails when a test left something behind. */
static int teardown(void **state) {
    (void)state;
    return rmdir(base);
}

static const char *inside(const char *name) {
    static char text[256];
    snprintf(text, sizeof text, "%s/%s", path, name);
    return text;
}

static void touch(const char *name) {
    int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static bool exists(const char *name) { return access(name, F_OK) == 0; }

static void finish(struct pc_socket_dir *d) {
    pc_socket_dir_close(d);
    close(d->base);
}

static void test_open_makes_and_locks(void **state) {
    (void)state;
    struct pc_socket_dir d, other;
    struct stat st;
    bool stale;
    assert_int_equal(pc_socket_dir_open(&d, path, &stale), 0);
    assert_false(stale);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(pc_socket_dir_open(&other, path, &stale), -EBUSY);
    assert_false(pc_socket_dir_take_stale(&other, d.base, "pitcrew.one"));
    touch(inside("s"));
    pc_socket_dir_remove(&d);
    assert_false(exists(path));
    /* Again does nothing, not even to a new one of the same name. */
    assert_int_equal(mkdir(path, 0700), 0);
    pc_socket_dir_remove(&d);
    assert_true(exists(path));
    finish(&d);
    assert_int_equal(rmdir(path), 0);
}

static void test_lock_ends_with_its_owner(void **state) {
    (void)state;
    struct pc_socket_dir d;
    bool stale;
    assert_int_equal(pc_socket_dir_open(&d, path, &stale), 0);
    finish(&d);
    assert_true(exists(inside("lock")));
    assert_int_equal(pc_socket_dir_open(&d, path, &stale), 0);
    assert_true(stale);
    pc_socket_dir_remove(&d);
    finish(&d);
}

static void test_not_ours_alone(void **state) {
    (void)state;
    struct pc_socket_dir d;
    bool stale;
    char other[128];
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0770), 0);
    assert_int_equal(pc_socket_dir_open(&d, path, &stale), -EPERM);
    assert_int_equal(rmdir(path), 0);
    /* A link is not followed. */
    snprintf(other, sizeof other, "%s/elsewhere", base);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_int_equal(symlink(other, path), 0);
    assert_true(pc_socket_dir_open(&d, path, &stale) < 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(other), 0);
    touch(path);
    assert_int_equal(pc_socket_dir_open(&d, path, &stale), -ENOTDIR);
    assert_int_equal(unlink(path), 0);
}

static void test_without_lock_only_when_old(void **state) {
    (void)state;
    struct pc_socket_dir d;
    const struct timeval long_ago[2] = {{1000, 0}, {1000, 0}};
    int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdir(path, 0700), 0);
    touch(inside("s"));
    assert_false(pc_socket_dir_take_stale(&d, fd, "pitcrew.one"));
    assert_int_equal(utimes(path, long_ago), 0);
    assert_true(pc_socket_dir_take_stale(&d, fd, "pitcrew.one"));
    pc_socket_dir_remove(&d);
    pc_socket_dir_close(&d);
    assert_false(exists(path));
    assert_false(pc_socket_dir_take_stale(&d, fd, "pitcrew.one"));
    close(fd);
}

static void test_folders_inside_stay(void **state) {
    (void)state;
    struct pc_socket_dir d;
    bool stale;
    assert_int_equal(pc_socket_dir_open(&d, path, &stale), 0);
    assert_int_equal(mkdir(inside("folder"), 0700), 0);
    pc_socket_dir_remove(&d);
    assert_true(exists(inside("folder")));
    assert_false(exists(inside("lock")));
    assert_int_equal(rmdir(inside("folder")), 0);
    pc_socket_dir_remove(&d);
    assert_false(exists(path));
    finish(&d);
}

static void test_names(void **state) {
    (void)state;
    char long_name[PC_INSTANCE_MAX + 2];
    memset(long_name, 'a', sizeof long_name);
    long_name[PC_INSTANCE_MAX + 1] = '\0';
    assert_false(pc_instance_valid(long_name));
    assert_true(pc_instance_valid(long_name + 1));
    assert_true(pc_instance_valid("0123-ABC_x.y"));
    assert_false(pc_instance_valid(""));
    assert_false(pc_instance_valid("a/b"));
    assert_false(pc_instance_valid("a b"));
    assert_false(pc_instance_valid("a\n"));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_open_makes_and_locks),       TEST(test_lock_ends_with_its_owner), TEST(test_not_ours_alone),
        TEST(test_without_lock_only_when_old), TEST(test_folders_inside_stay),      TEST(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
