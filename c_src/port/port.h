#ifndef PC_PORT_PORT_H
#define PC_PORT_PORT_H

/*
 * The port proper: one loop that never blocks, and the state that its parts share. docs/protocol.md, sections 5 and 6.
 * One process, one thread; nothing here is locked.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "output.h"
#include "stream.h"

/* The longest that processes get between SIGTERM and SIGKILL once the VM is gone. */
enum { PC_GRACE_MS = 300 };

/* Exit statuses of the program beside 0. */
enum {
    PC_EXIT_USAGE = 64,
    PC_EXIT_PROTOCOL = 65,
    PC_EXIT_OS = 70,
    PC_EXIT_DIRECTORY = 73,
    PC_EXIT_SIGNAL_BASE = 128,
};

/* Largest message from the VM, and largest payload of a fork, which has to fit one packet of the zygote link. */
enum { PC_CONTROL_MAX = 1024 * 1024, PC_PAYLOAD_MAX = 64 * 1024 };

/* A packet that the zygote link did not take yet. */
struct pc_packet {
    struct pc_packet *next;
    size_t n;
    uint8_t bytes[];
};

struct pc_zygote {
    struct pc_zygote *next;
    uint32_t zid;
    pid_t pid;  /* 0: it was never started */
    bool ended; /* reaped: the pid means nothing any more */
    bool done;  /* "gone" is out; removed at the end of the turn */
    bool dismissed;
    bool ready;      /* it has imported what it should; until then it is not watched */
    int64_t look_at; /* it owes an answer: when to look again; or 0 */
    unsigned silent; /* looks since it was heard last */
    int status;      /* of wait, once ended */
    int link;        /* -1 when closed */
    int report;      /* -1 when the program runs or has failed to */
    int64_t kill_at; /* it closed its link: when it has to be gone; or 0 */
    struct pc_packet *first, **last;
    char *program; /* for messages */
    char *cd;      /* or NULL */
    struct pc_stream out[2];
};

struct pc_worker {
    struct pc_worker *next;
    struct pc_zygote *zygote;
    uint32_t wid;
    pid_t pid;  /* 0: asked for, not there yet */
    int pidfd;  /* -1 until then */
    int signal; /* to be sent as soon as it is there; or 0 */
    bool dead;  /* the pidfd says so; its zygote has to report it */
    bool done;  /* its end is out; removed at the end of the turn */
    struct pc_stream out[2];
};

enum pc_phase {
    PC_RUNNING,
    PC_STOPPING, /* everybody had SIGTERM, until `deadline` */
    PC_KILLING,  /* everybody has SIGKILL, again and again, until there is no child */
    PC_FLUSHING, /* nobody is left; the VM has not read everything */
    PC_STOPPED,
};

struct pc_port {
    const char *instance;
    size_t descriptors; /* how many may be open */
    enum pc_phase phase;
    int64_t deadline;
    int status;        /* the exit status it will have */
    const char *fault; /* why it is not 0; static text or NULL */
    bool vm_gone;
    bool guard_gone;
    int guard;       /* end of file when the guard has died */
    int guard_pidfd; /* to wake it with; -1 where the system has none */
    bool orphans_due;
    int64_t orphans_at; /* look for orphans again then; or 0 */
    uint8_t *input;
    size_t input_len, input_cap;
    struct pc_zygote *zygotes;
    struct pc_worker *workers;
    struct pc_output output;
};

/*
 * Runs until everything it started is gone. `guard` is the reading end of a pipe that only the guard writes to, `guard_pidfd` names
 * the guard, or is negative. Returns the exit status; *guard_gone says whether the caller has to do the guard's last duties.
 */
int pc_port_run(const char *instance, int guard, int guard_pidfd, bool *guard_gone);

/* Begins an orderly stop; a shorter grace shortens one that has begun. The first status and fault other than 0 stay. */
void pc_port_stop(struct pc_port *p, int64_t grace_ms, int status, const char *fault);

#endif
