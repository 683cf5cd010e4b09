/*
 * The floor of a round trip: two C processes that send a frame to and fro over a unix socketpair and do nothing else.
 *
 *   floor same|cross BYTES TRIPS
 *   floor many BYTES TRIPS PAIRS
 *
 * `same` pins both ends to one processor, `cross` to two of them, of different cores when the machine has them. After
 * TRIPS / 4 trips of warm-up it times TRIPS trips one by one and prints `p50_ns p99_ns cpu_a cpu_b`. `many` lets PAIRS pairs, wherever
 * the system puts them, make TRIPS trips each at the same time, and prints `trips_per_s` of all. Status 2: wrong usage;
 * 1: something the machine refused, told on stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_MAX = 1 << 20, TRIPS_MAX = 10 * 1000 * 1000, PAIRS_MAX = 256 };

static void floor_fail(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t floor_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* The number of the core that a processor belongs to, or -1 when the system does not tell. */
static int floor_core_of(int cpu) {
    char path[96];
    int core = -1;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/core_id", cpu);
    FILE *f = fopen(path, "re");
    if (f) {
        if (fscanf(f, "%d", &core) != 1)
            core = -1;
        fclose(f);
    }
    return core;
}

/* Two processors that this process may use, of two cores if possible. */
static void floor_choose(int *a, int *b) {
    cpu_set_t allowed;
    *a = *b = -1;
    if (sched_getaffinity(0, sizeof allowed, &allowed))
        floor_fail("sched_getaffinity");
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &allowed))
            continue;
        if (*a < 0) {
            *a = cpu;
        } else if (*b < 0) {
            *b = cpu;
        } else if (floor_core_of(*a) == floor_core_of(*b) && floor_core_of(cpu) != floor_core_of(*a)) {
            *b = cpu;
        }
    }
    if (*b < 0) {
        fputs("floor: two processors are needed\n", stderr);
        exit(1);
    }
}

static void floor_pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        floor_fail("sched_setaffinity");
}

/* True when the whole frame was moved; false at end of file or after an error. */
static bool floor_write(int fd, const char *frame, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = send(fd, frame + done, size - done, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static bool floor_read(int fd, char *frame, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = recv(fd, frame + done, size - done, 0);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static void floor_echo(int fd, int cpu, size_t size) {
    static char frame[FRAME_MAX];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (cpu >= 0)
        floor_pin(cpu);
    while (floor_read(fd, frame, size) && floor_write(fd, frame, size))
        ;
    _exit(0);
}

static void floor_measure(int fd, size_t size, size_t warm, size_t trips, uint64_t *ns) {
    static char frame[FRAME_MAX];
    memset(frame, 'x', size);
    for (size_t i = 0; i < warm + trips; i++) {
        uint64_t start = floor_now_ns();
        if (!floor_write(fd, frame, size) || !floor_read(fd, frame, size))
            floor_fail("round trip");
        if (i >= warm)
            ns[i - warm] = floor_now_ns() - start;
    }
}

static int floor_compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* A whole decimal number from 1 to `max`, or 0. */
static size_t floor_number(const char *text, size_t max) {
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    return errno || *end || end == text || n > max ? 0 : n;
}

/* The asking end of one pair; its trips begin when `start` is closed. */
static void floor_ask(int fd, int start, size_t size, size_t trips) {
    static char frame[FRAME_MAX];
    char none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    memset(frame, 'x', size);
    if (read(start, &none, 1) != 0)
        _exit(1);
    while (trips > 0 && floor_write(fd, frame, size) && floor_read(fd, frame, size))
        trips--;
    _exit(trips > 0);
}

static pid_t floor_fork(void) {
    pid_t pid = fork();
    if (pid < 0)
        floor_fail("fork");
    return pid;
}

static int floor_many(size_t size, size_t trips, size_t pairs) {
    pid_t asking[PAIRS_MAX];
    int gate[2];
    if (pipe2(gate, O_CLOEXEC))
        floor_fail("pipe2");
    for (size_t i = 0; i < pairs; i++) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
            floor_fail("socketpair");
        if (floor_fork() == 0) {
            close(gate[1]);
            close(ends[0]);
            floor_echo(ends[1], -1, size);
        }
        if ((asking[i] = floor_fork()) == 0) {
            close(gate[1]);
            close(ends[1]);
            floor_ask(ends[0], gate[0], size, trips);
        }
        close(ends[0]);
        close(ends[1]);
    }
    uint64_t start = floor_now_ns();
    close(gate[1]);
    for (size_t i = 0; i < pairs; i++) {
        int status;
        if (waitpid(asking[i], &status, 0) != asking[i] || status != 0)
            floor_fail("a pair");
    }
    double seconds = (double)(floor_now_ns() - start) / 1e9;
    printf("%.0f\n", (double)(trips * pairs) / seconds);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 5 && !strcmp(argv[1], "many")) {
        size_t bytes = floor_number(argv[2], FRAME_MAX), each = floor_number(argv[3], TRIPS_MAX);
        size_t pairs = floor_number(argv[4], PAIRS_MAX);
        if (bytes && each && pairs)
            return floor_many(bytes, each, pairs);
    }
    bool cross = argc == 4 && !strcmp(argv[1], "cross");
    size_t size = argc == 4 ? floor_number(argv[2], FRAME_MAX) : 0;
    size_t trips = argc == 4 ? floor_number(argv[3], TRIPS_MAX) : 0;
    if (!size || !trips || (!cross && strcmp(argv[1], "same"))) {
        fputs("usage: floor same|cross BYTES TRIPS, or floor many BYTES TRIPS PAIRS\n", stderr);
        return 2;
    }
    int a, b, ends[2];
    floor_choose(&a, &b);
    if (!cross)
        b = a;
    uint64_t *ns = calloc(trips, sizeof *ns);
    if (!ns)
        floor_fail("calloc");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        floor_fail("socketpair");
    pid_t child = fork();
    if (child < 0)
        floor_fail("fork");
    if (child == 0) {
        close(ends[0]);
        floor_echo(ends[1], b, size);
    }
    close(ends[1]);
    floor_pin(a);
    floor_measure(ends[0], size, trips / 4, trips, ns);
    close(ends[0]);
    waitpid(child, NULL, 0);
    qsort(ns, trips, sizeof *ns, floor_compare);
    printf("%llu %llu %d %d\n", (unsigned long long)ns[trips / 2], (unsigned long long)ns[trips * 99 / 100], a, b);
    free(ns);
    return 0;
}
