#ifndef PC_TEST_RACE_MODEL_H
#define PC_TEST_RACE_MODEL_H

/*
 * What a VM knows of its port, and which messages are legal then (docs/protocol.md, section 5). For test_port_races.c, after cmocka.h.
 */

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "codec/reader.h"
#include "os/os.h"
#include "race_zygote.h"

enum { RACE_WORKERS = 2048, RACE_ZYGOTES = 128, RACE_LINE_COST = 32 };

struct race_zygote_seen {
    pid_t pid;
    bool asked, told, ready, gone;
    bool doomed; /* it was sent a signal that ends it, or that makes others end it */
};

struct race_worker_seen {
    uint32_t zid;
    unsigned asks; /* requests without an answer */
    bool alive, was_there;
    char how;
    pid_t pid;
    int pidfd;       /* -1, or to signal it behind the port's back */
    pid_t peer;      /* who presented its number at the socket; or 0 */
    uint64_t sent;   /* signals that it was sent, a bit each */
    bool told_leave; /* it was told to leave with RACE_STATUS */
};

struct race_model {
    bool hello, stopping;
    pid_t guard, port;
    unsigned seed, random;
    uint64_t credit, spent, dropped;
    uint32_t zygotes, workers; /* the numbers that were used last */
    struct race_zygote_seen zygote[RACE_ZYGOTES];
    struct race_worker_seen worker[RACE_WORKERS];
    unsigned events;
};

#define race_check(m, condition) race_check_at((m), (condition), #condition, __FILE__, __LINE__)
static void race_check_at(const struct race_model *m, bool condition, const char *text, const char *file, int line) {
    if (!condition) {
        print_error("seed %u, event %u: not %s\n", m->seed, m->events, text);
        _fail(file, line);
    }
}

static struct race_worker_seen *race_worker_of(struct race_model *m, int64_t wid) {
    race_check(m, wid > 0 && wid <= m->workers);
    return &m->worker[wid];
}

static struct race_zygote_seen *race_zygote_of(struct race_model *m, int64_t zid) {
    race_check(m, zid > 0 && zid <= m->zygotes && m->zygote[zid].asked);
    return &m->zygote[zid];
}

static void race_on_forked(struct race_model *m, int64_t wid, int64_t pid) {
    struct race_worker_seen *w = race_worker_of(m, wid);
    race_check(m, w->asks > 0 && !w->alive && pid > 1);
    race_check(m, m->zygote[w->zid].ready && !m->zygote[w->zid].gone);
    race_check(m, w->was_there || w->peer == 0 || w->peer == pid);
    w->asks--;
    w->alive = w->was_there = true;
    w->pid = (pid_t)pid;
    w->pidfd = pc_os_pidfd_open((pid_t)pid);
}

static void race_on_exit(struct race_model *m, int64_t wid, int64_t pid, const char *how, int64_t code) {
    struct race_worker_seen *w = race_worker_of(m, wid);
    const bool doomed = m->stopping || m->zygote[w->zid].doomed;
    race_check(m, w->alive && w->pid == pid);
    w->alive = false;
    if (w->pidfd >= 0) {
        close(w->pidfd);
        w->pidfd = -1;
    }
    if (strcmp(how, "unknown") == 0) {
        race_check(m, doomed);
    } else if (strcmp(how, "signal") == 0) {
        /* Nobody is killed whom nobody wanted to be. */
        race_check(m, (w->sent >> code & 1) != 0 || (code == SIGKILL && doomed) || (code == SIGTERM && m->stopping) ||
                          (code == SIGUSR1 && w->how == 'u'));
    } else if (code == 125) {
        race_check(m, doomed); /* its zygote was gone when it was born */
    } else {
        race_check(
            m, (w->how == 'x' && code == RACE_STATUS) || (w->how == 'd' && code == 0) ||
                   (w->how == 'c' && (code == 0 || code == RACE_NO_SOCKET || (code == RACE_STATUS && w->told_leave))));
    }
}

static void race_on_gone(struct race_model *m, int64_t zid, int64_t pid) {
    struct race_zygote_seen *z = race_zygote_of(m, zid);
    race_check(m, z->told && !z->gone && z->pid == pid && (z->doomed || m->stopping));
    z->gone = true;
    for (uint32_t wid = 1; wid <= m->workers; wid++) {
        race_check(m, !m->worker[wid].alive || m->worker[wid].zid != zid);
    }
}

/* One message of the port. */
static void race_event(struct race_model *m, const uint8_t *bytes, size_t n) {
    struct pc_reader r;
    const char *text;
    const uint8_t *line;
    char name[16], how[16] = "";
    uint32_t fields, size, size2;
    int64_t a = 0, b = 0, code = 0;
    pc_reader_init(&r, bytes, n);
    race_check(m, pc_read_array(&r, &fields) == PC_OK && pc_read_str(&r, &text, &size) == PC_OK);
    snprintf(name, sizeof name, "%.*s", (int)size, text);
    race_check(m, pc_read_int(&r, &a) == PC_OK);
    m->events++;
    race_check(m, m->hello != (strcmp(name, "hello") == 0));
    if (strcmp(name, "hello") == 0) {
        race_check(m, pc_read_int(&r, &b) == PC_OK && b == m->guard && pc_read_int(&r, &code) == PC_OK && code > 1);
        m->hello = true;
        m->port = (pid_t)code;
    } else if (strcmp(name, "zygote") == 0) {
        struct race_zygote_seen *z = race_zygote_of(m, a);
        race_check(m, !z->told && pc_read_int(&r, &b) == PC_OK && b > 1);
        z->told = true;
        z->pid = (pid_t)b;
    } else if (strcmp(name, "ready") == 0) {
        struct race_zygote_seen *z = race_zygote_of(m, a);
        race_check(m, z->told && !z->ready && !z->gone);
        z->ready = true;
    } else if (strcmp(name, "gone") == 0) {
        race_check(m, pc_read_int(&r, &b) == PC_OK);
        race_on_gone(m, a, b);
    } else if (strcmp(name, "forked") == 0) {
        race_check(m, pc_read_int(&r, &b) == PC_OK);
        race_on_forked(m, a, b);
    } else if (strcmp(name, "fork_failed") == 0) {
        struct race_worker_seen *w = race_worker_of(m, a);
        race_check(m, w->asks > 0);
        w->asks--;
    } else if (strcmp(name, "exit") == 0) {
        race_check(m, pc_read_int(&r, &b) == PC_OK && pc_read_str(&r, &text, &size2) == PC_OK &&
                          pc_read_int(&r, &code) == PC_OK);
        snprintf(how, sizeof how, "%.*s", (int)size2, text);
        race_on_exit(m, a, b, how, code);
    } else if (strcmp(name, "log") == 0) {
        race_check(m, a >= 0 && a <= m->workers && pc_read_int(&r, &b) == PC_OK && (b == 1 || b == 2) &&
                          pc_read_bytes(&r, &line, &size) == PC_OK);
        m->spent += size + RACE_LINE_COST;
        race_check(m, m->spent <= m->credit);
    } else {
        race_check(m, strcmp(name, "dropped") == 0 && a > 0);
        m->dropped += (uint64_t)a;
    }
}

/* The port has ended in order: everything that was asked for is answered, and everybody's end is told. */
static void race_all_told(struct race_model *m) {
    for (uint32_t zid = 1; zid <= m->zygotes; zid++) {
        race_check(m, m->zygote[zid].gone);
    }
    for (uint32_t wid = 1; wid <= m->workers; wid++) {
        race_check(m, m->worker[wid].asks == 0 && !m->worker[wid].alive);
    }
}

#endif
