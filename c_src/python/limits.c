/* See limits.h. A soft limit may move up to the hard one and back at any time; what was taken meanwhile stays. */

#include "limits.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

enum { RESERVE_BYTES = 16 * 1024 * 1024, RESERVE_FILES = 16, LAST_SECONDS = 5 };

static struct reserve {
    int resource;
    bool exists;
    struct rlimit limit; /* as it was set */
} reserves[] = {{.resource = RLIMIT_AS}, {.resource = RLIMIT_NOFILE}};

enum { SPACE, FILES, ALL };

/* The system's own hard limit may leave less of the margin, but not less than the value. */
static int set(int resource, uint64_t value, uint64_t margin, struct rlimit *now) {
    struct rlimit was;
    if (getrlimit(resource, &was) < 0) {
        return -errno;
    }
    now->rlim_cur = (rlim_t)value;
    now->rlim_max = was.rlim_max != RLIM_INFINITY && was.rlim_max < value + margin ? was.rlim_max : value + margin;
    if (now->rlim_max < value) {
        return -EPERM;
    }
    return setrlimit(resource, now) < 0 ? -errno : 0;
}

static int set_with_reserve(struct reserve *r, uint64_t value, uint64_t margin) {
    int error = set(r->resource, value, margin, &r->limit);
    r->exists = error == 0;
    return error;
}

int pc_limit_set(enum pc_limit limit, uint64_t value) {
    struct rlimit now;
    switch (limit) {
    case PC_LIMIT_ADDRESS_SPACE:
        return set_with_reserve(&reserves[SPACE], value, RESERVE_BYTES);
    case PC_LIMIT_FILES:
        return set_with_reserve(&reserves[FILES], value, RESERVE_FILES);
    case PC_LIMIT_CPU: /* SIGXCPU at the value; SIGKILL for who goes on */
        return set(RLIMIT_CPU, value, LAST_SECONDS, &now);
    case PC_LIMIT_NICE:
        errno = 0; /* -1 may be a niceness */
        return nice((int)value) == -1 && errno != 0 ? -errno : 0;
    }
    return -EINVAL;
}

static void move(bool up) {
    for (int i = 0; i < ALL; i++) {
        if (reserves[i].exists) {
            struct rlimit now = reserves[i].limit;
            now.rlim_cur = up ? now.rlim_max : now.rlim_cur;
            (void)setrlimit(reserves[i].resource, &now);
        }
    }
}

void pc_limits_relax(void) { move(true); }

void pc_limits_restore(void) { move(false); }
