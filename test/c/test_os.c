/* c_src/os: each call is made on real processes and sockets. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

/* A child that waits to be killed, and does not outlive a test that failed. */
static pid_t sleeper(void) {
    pid_t parent = getpid();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        pc_os_set_parent_death_signal(SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
        for (;;) {
            pause();
        }
    }
    return pid;
}

static void put_away(pid_t pid) {
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_pidfd(void **state) {
    (void)state;
    pid_t pid = sleeper();
    int pidfd = pc_os_pidfd_open(pid);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    int status;
    if (pc_os_pidfd_signal(pidfd, 0) == -ENOSYS) {
        /* Valgrind 3.19 does not know this system call. */
        close(pidfd);
        put_away(pid);
        skip();
    }
    assert_true(pidfd >= 0);
    assert_true((fcntl(pidfd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(pc_os_pidfd_is_child(pidfd), 1);
    assert_int_equal(poll(&ended, 1, 0), 0);
    assert_int_equal(pc_os_pidfd_signal(pidfd, SIGTERM), 0);
    assert_int_equal(poll(&ended, 1, 10000), 1);
    /* A zombie still is a child, and it is not waited for by asking. */
    assert_int_equal(pc_os_pidfd_is_child(pidfd), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WTERMSIG(status), SIGTERM);
    assert_int_equal(pc_os_pidfd_is_child(pidfd), 0);
    assert_int_equal(pc_os_pidfd_signal(pidfd, SIGTERM), -ESRCH);
    close(pidfd);
    assert_int_equal(pc_os_pidfd_open(pid), -ESRCH);
    pidfd = pc_os_pidfd_open(getppid());
    assert_int_equal(pc_os_pidfd_is_child(pidfd), 0);
    close(pidfd);
}

static void test_parent_death_signal(void **state) {
    (void)state;
    int alive[2];
    char byte;
    assert_int_equal(pipe(alive), 0);
    pid_t parent = fork();
    if (parent == 0) {
        if (fork() == 0) {
            pc_os_set_parent_death_signal(SIGKILL);
            (void)!write(alive[1], "x", 1);
            for (;;) {
                pause();
            }
        }
        for (;;) {
            pause();
        }
    }
    close(alive[1]);
    assert_int_equal(read(alive[0], &byte, 1), 1);
    put_away(parent);
    /* The pipe ends when nobody holds it any more: the grandchild has gone too. */
    struct pollfd ended = {.fd = alive[0], .events = POLLIN};
    assert_int_equal(poll(&ended, 1, 10000), 1);
    assert_int_equal(read(alive[0], &byte, 1), 0);
    close(alive[0]);
}

struct collected {
    size_t n;
    pid_t pids[64];
};

static bool collect(pid_t pid, void *context) {
    struct collected *c = context;
    if (c->n < sizeof c->pids / sizeof *c->pids) {
        c->pids[c->n++] = pid;
    }
    return true;
}

static bool has(const struct collected *c, pid_t pid) {
    for (size_t i = 0; i < c->n; i++) {
        if (c->pids[i] == pid) {
            return true;
        }
    }
    return false;
}

static bool stop_at_once(pid_t pid, void *context) {
    (void)pid;
    ++*(int *)context;
    return false;
}

static void test_children(void **state) {
    (void)state;
    enum { N = 20 };
    pid_t pids[N];
    struct collected found = {0};
    int calls = 0;
    assert_int_equal(pc_os_each_child(collect, &found), 0);
    assert_int_equal(found.n, 0);
    for (size_t i = 0; i < N; i++) {
        pids[i] = sleeper();
    }
    assert_int_equal(pc_os_each_child(collect, &found), 0);
    assert_int_equal(found.n, N);
    for (size_t i = 0; i < N; i++) {
        assert_true(has(&found, pids[i]));
    }
    assert_int_equal(pc_os_each_child(stop_at_once, &calls), 0);
    assert_int_equal(calls, 1);
    for (size_t i = 0; i < N; i++) {
        put_away(pids[i]);
    }
}

/* An orphan's orphan arrives here, not at init. It ends at the latest with the pipe that this process holds. */
static void test_subreaper(void **state) {
    (void)state;
    int said[2], life[2];
    pid_t orphan;
    char byte;
    assert_int_equal(pc_os_become_subreaper(), 0);
    assert_int_equal(pipe(said), 0);
    assert_int_equal(pipe(life), 0);
    pid_t parent = fork();
    if (parent == 0) {
        close(life[1]);
        orphan = fork();
        if (orphan == 0) {
            setsid();
            _exit(read(life[0], &byte, 1) < 0);
        }
        (void)!write(said[1], &orphan, sizeof orphan);
        _exit(0);
    }
    assert_int_equal(read(said[0], &orphan, sizeof orphan), sizeof orphan);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    struct collected found = {0};
    assert_int_equal(pc_os_each_child(collect, &found), 0);
    assert_int_equal(found.n, 1);
    assert_int_equal(found.pids[0], orphan);
    put_away(orphan);
    close(said[0]);
    close(said[1]);
    close(life[0]);
    close(life[1]);
}

static bool count_self(pid_t pid, void *context) {
    *(int *)context += pid == getpid();
    return true;
}

static void test_processes(void **state) {
    (void)state;
    int times = 0;
    uid_t uid = (uid_t)-1;
    assert_int_equal(pc_os_each_process(count_self, &times), 0);
    assert_int_equal(times, 1);
    assert_int_equal(pc_os_process_uid(getpid(), &uid), 0);
    assert_int_equal(uid, geteuid());
    pid_t gone = sleeper();
    put_away(gone);
    assert_int_equal(pc_os_process_uid(gone, &uid), -ENOENT);
}

/* A program that runs with this environment until its stdin, *in, is closed. It has said something: at the moment of its exec it has no environment yet. */
static pid_t with_env(char *const env[], int *in) {
    static char *const argv[] = {"cat", NULL};
    int input[2], output[2];
    char byte = 0;
    assert_int_equal(pipe2(input, O_CLOEXEC), 0);
    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(input[0], STDIN_FILENO);
        dup2(output[1], STDOUT_FILENO);
        execve("/bin/cat", argv, env);
        _exit(127);
    }
    close(output[1]);
    close(input[0]);
    assert_int_equal(write(input[1], "r", 1), 1);
    assert_int_equal(read(output[0], &byte, 1), 1);
    close(output[0]);
    *in = input[1];
    return pid;
}

/* Whatever part of the entry the end of a read cuts. */
static void test_env(void **state) {
    (void)state;
    char filler[4200], value[16];
    for (size_t n = 4070; n < 4100; n++) {
        memset(filler, 'f', n);
        filler[n] = '\0';
        char *env[] = {"XMARK=no", filler, "MARK", "MARKS=no", "MARK=yes", "MARK=again", "EMPTY=", NULL};
        int in;
        pid_t pid = with_env(env, &in);
        assert_int_equal(pc_os_process_env(pid, "MARK=", value, sizeof value), 0);
        assert_string_equal(value, "yes");
        assert_int_equal(pc_os_process_env(pid, "EMPTY=", value, sizeof value), 0);
        assert_string_equal(value, "");
        assert_int_equal(pc_os_process_env(pid, "NONE=", value, sizeof value), -ENOENT);
        assert_int_equal(pc_os_process_env(pid, "MARK=", value, 4), 0);
        assert_int_equal(pc_os_process_env(pid, "MARK=", value, 3), -ENAMETOOLONG);
        kill(pid, SIGKILL);
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
        assert_true(pc_os_process_env(pid, "MARK=", value, sizeof value) < 0);
        put_away(pid);
        close(in);
    }
}

/* In a child, because nobody may lower the score again. */
static void oom_child(void) {
    char text[16] = {0};
    int before, after;
    FILE *f = fopen("/proc/self/oom_score_adj", "r");
    before = f != NULL && fgets(text, sizeof text, f) != NULL ? atoi(text) : -5000;
    fclose(f);
    if (pc_os_raise_oom_score(800) != 0 || pc_os_raise_oom_score(0) != 0) {
        _exit(1);
    }
    f = fopen("/proc/self/oom_score_adj", "r");
    after = f != NULL && fgets(text, sizeof text, f) != NULL ? atoi(text) : -5000;
    fclose(f);
    if (after != (before + 800 > 1000 ? 1000 : before + 800)) {
        _exit(2);
    }
    _exit(pc_os_raise_oom_score(1000) == 0 ? 0 : 3);
}

static void test_oom_score(void **state) {
    (void)state;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        oom_child();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_pages_kept_from_children(void **state) {
    (void)state;
    unsigned char resident;
    int status;
    void *page = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    assert_int_equal(pc_os_keep_from_children(page, 1), 0);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(mincore(page, 1, &resident) < 0 && errno == ENOMEM ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(munmap(page, 1), 0);
    assert_int_equal(pc_os_keep_from_children((char *)page + 1, 1), -EINVAL);
}

/* What was touched counts, what was only reserved does not, and what a parent shares with its child counts for neither. */
static void test_private_memory(void **state) {
    (void)state;
    enum { SIZE = 16 << 20, NEARLY = 15 << 20 };
    uint64_t before, reserved, touched;
    assert_int_equal(pc_os_private_memory(&before), 0);
    char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_int_equal(pc_os_private_memory(&reserved), 0);
    assert_true(reserved < before + NEARLY);
    memset(memory, 1, SIZE);
    assert_int_equal(pc_os_private_memory(&touched), 0);
    assert_true(touched > before + NEARLY);
    pid_t pid = fork();
    if (pid == 0) {
        uint64_t mine = touched;
        _exit(pc_os_private_memory(&mine) == 0 && mine < NEARLY ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(munmap(memory, SIZE), 0);
}

static void test_peer(void **state) {
    (void)state;
    int pair[2];
    pid_t pid = 0;
    uid_t uid = (uid_t)-1;
    gid_t gid = (gid_t)-1;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(pc_os_peer(pair[0], &pid, &uid, &gid), 0);
    assert_int_equal(pid, getpid());
    assert_int_equal(uid, geteuid());
    assert_int_equal(gid, getegid());
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(pc_os_peer(pair[0], &pid, &uid, &gid), -EBADF);
}

static void test_alarm(void **state) {
    (void)state;
    enum { SOON = 1, NOT_SOON = 1000 * 1000 };
    int alarm = pc_os_alarm();
    assert_true(alarm >= 0);
    assert_true((fcntl(alarm, F_GETFD) & FD_CLOEXEC) != 0);
    struct pollfd rings = {.fd = alarm, .events = POLLIN};
    assert_int_equal(poll(&rings, 1, 0), 0);
    for (int i = 0; i < 2; i++) { /* set again while it rings, it does not ring until then */
        assert_int_equal(pc_os_alarm_set(alarm, SOON), 0);
        assert_int_equal(poll(&rings, 1, 10000), 1);
        assert_int_equal(pc_os_alarm_set(alarm, NOT_SOON), 0);
        assert_int_equal(poll(&rings, 1, 0), 0);
    }
    assert_int_equal(pc_os_alarm_set(alarm, SOON), 0);
    assert_int_equal(poll(&rings, 1, 10000), 1);
    assert_int_equal(pc_os_alarm_set(alarm, 0), 0);
    assert_int_equal(poll(&rings, 1, 0), 0);
    close(alarm);
    assert_int_equal(pc_os_alarm_set(alarm, SOON), -EBADF);
    int something[2];
    assert_int_equal(pipe(something), 0);
    assert_int_equal(pc_os_alarm_set(something[0], SOON), -EINVAL);
    close(something[0]);
    close(something[1]);
}

static void test_vitals(void **state) {
    (void)state;
    struct pc_os_vitals before, after, other;
    assert_int_equal(pc_os_process_vitals(getpid(), &before), 0);
    assert_true(before.threads >= 1 && before.resident > 100 * 1024);
    enum { SIZE = 32 << 20, FILES = 5 };
    int fds[FILES];
    char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    memset(memory, 1, SIZE);
    for (int i = 0; i < FILES; i++) {
        assert_true((fds[i] = dup(0)) >= 0);
    }
    volatile unsigned spin = 0;
    do { /* until a tick or two have gone by, of the clock that counts */
        for (int i = 0; i < 1000000; i++) {
            spin++;
        }
        assert_int_equal(pc_os_process_vitals(getpid(), &after), 0);
    } while (after.cpu_us == before.cpu_us);
    assert_true(after.cpu_us > before.cpu_us);
    assert_true(after.resident > before.resident + SIZE / 2);
    assert_int_equal(after.files, before.files + FILES);
    for (int i = 0; i < FILES; i++) {
        close(fds[i]);
    }
    munmap(memory, SIZE);
    pid_t pid = sleeper();
    assert_int_equal(pc_os_process_vitals(pid, &other), 0);
    assert_int_equal(other.threads, 1);
    put_away(pid);
    assert_int_equal(pc_os_process_vitals(pid, &other), -ENOENT);
}

static void *in_a_thread(void *context) {
    void *lowest = NULL;
    size_t size = 0;
    assert_int_equal(pc_os_stack(&lowest, &size), 0);
    uintptr_t here = (uintptr_t)&size, end = (uintptr_t)lowest;
    assert_true(here > end && here - end < size);
    *(void **)context = lowest;
    return NULL;
}

/* Each thread has its own. */
static void test_stack(void **state) {
    (void)state;
    void *mine, *other;
    pthread_t thread;
    (void)in_a_thread(&mine);
    assert_int_equal(pthread_create(&thread, NULL, in_a_thread, &other), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_ptr_not_equal(mine, other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pidfd),     cmocka_unit_test(test_parent_death_signal),
        cmocka_unit_test(test_children),  cmocka_unit_test(test_subreaper),
        cmocka_unit_test(test_processes), cmocka_unit_test(test_env),
        cmocka_unit_test(test_oom_score), cmocka_unit_test(test_private_memory),
        cmocka_unit_test(test_peer),      cmocka_unit_test(test_pages_kept_from_children),
        cmocka_unit_test(test_alarm),     cmocka_unit_test(test_vitals),
        cmocka_unit_test(test_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
