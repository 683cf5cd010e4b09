/*
 * Control messages. The VM is trusted, but what does not parse means that the two have lost step: the port says why on stderr
 * when it has stopped, and answers nothing.
 */

#include "control.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "codec/reader.h"
#include "launch.h"
#include "memory.h"
#include "sweep.h"
#include "worker.h"
#include "zygote.h"

enum { HEADER = 4, READ_MIN = 64 * 1024, GRACE_MAX_MS = 3600 * 1000 };

static bool read_id(struct pc_reader *r, uint32_t *id) {
    uint64_t value;
    if (pc_read_uint(r, &value) != PC_OK || value > UINT32_MAX) {
        return false;
    }
    *id = (uint32_t)value;
    return true;
}

static bool read_nil(struct pc_reader *r) {
    struct pc_reader ahead = *r;
    struct pc_token token;
    if (pc_reader_next(&ahead, &token) != PC_OK || token.type != PC_NIL) {
        return false;
    }
    *r = ahead;
    return true;
}

static bool read_text(struct pc_reader *r, const char **text, uint32_t *n) {
    const uint8_t *bytes;
    if (pc_read_bytes(r, &bytes, n) != PC_OK) {
        return false;
    }
    *text = (const char *)bytes;
    return true;
}

static bool read_argv(struct pc_reader *r, struct pc_launch *l) {
    uint32_t count, n;
    const char *text;
    if (pc_read_array(r, &count) != PC_OK) {
        return false;
    }
    while (count-- > 0) {
        if (!read_text(r, &text, &n)) {
            return false;
        }
        pc_launch_arg(l, text, n);
    }
    return true;
}

static bool read_env(struct pc_reader *r, struct pc_launch *l) {
    uint32_t count, name_n, value_n;
    const char *name, *value;
    if (pc_read_map(r, &count) != PC_OK) {
        return false;
    }
    while (count-- > 0) {
        if (!read_text(r, &name, &name_n)) {
            return false;
        }
        if (read_nil(r)) {
            pc_launch_env(l, name, name_n, NULL, 0);
        } else if (read_text(r, &value, &value_n)) {
            pc_launch_env(l, name, name_n, value, value_n);
        } else {
            return false;
        }
    }
    return true;
}

static bool read_cd(struct pc_reader *r, struct pc_launch *l) {
    uint32_t n;
    const char *text;
    if (read_nil(r)) {
        return true;
    }
    if (!read_text(r, &text, &n)) {
        return false;
    }
    pc_launch_cd(l, text, n);
    return true;
}

static bool on_zygote(struct pc_port *p, struct pc_reader *r) {
    static const char name[] = "PITCREW_INSTANCE";
    char mark[PC_MARK_MAX + 1];
    struct pc_launch launch;
    uint32_t zid;
    pc_launch_init(&launch);
    bool ok = read_id(r, &zid) && read_argv(r, &launch) && read_env(r, &launch) && read_cd(r, &launch);
    if (ok) {
        int n = snprintf(mark, sizeof mark, "%s-%08x", p->instance, 0u);
        pc_launch_env(&launch, name, sizeof name - 1, mark, (size_t)n);
        pc_zygote_start(p, zid, &launch);
    }
    pc_launch_destroy(&launch);
    return ok;
}

static bool on_fork(struct pc_port *p, struct pc_reader *r) {
    const uint8_t *payload;
    uint64_t zid;
    uint32_t wid, n;
    if (pc_read_uint(r, &zid) != PC_OK || !read_id(r, &wid) || pc_read_bytes(r, &payload, &n) != PC_OK) {
        return false;
    }
    pc_worker_request(p, zid, wid, payload, n);
    return true;
}

static bool on_kill(struct pc_port *p, struct pc_reader *r, bool zygote) {
    uint32_t id;
    int64_t signal;
    if (!read_id(r, &id) || pc_read_int(r, &signal) != PC_OK || signal < 1 || signal >= NSIG) {
        return false;
    }
    struct pc_worker *w = zygote ? NULL : pc_worker_by_wid(p, id);
    struct pc_zygote *z = zygote ? pc_zygote_by_zid(p, id) : NULL;
    if (w != NULL) {
        pc_worker_signal(w, (int)signal);
    } else if (z != NULL) {
        pc_zygote_signal(z, (int)signal);
    }
    return true;
}

static bool on_vitals(struct pc_port *p, struct pc_reader *r) {
    uint32_t wid;
    if (!read_id(r, &wid)) {
        return false;
    }
    const struct pc_worker *w = pc_worker_by_wid(p, wid);
    if (w != NULL) {
        pc_worker_tell_vitals(p, w);
    }
    return true;
}

static bool on_credit(struct pc_port *p, struct pc_reader *r) {
    uint64_t bytes;
    if (pc_read_uint(r, &bytes) != PC_OK) {
        return false;
    }
    pc_output_credit(&p->output, bytes);
    return true;
}

static bool on_stop(struct pc_port *p, struct pc_reader *r) {
    uint64_t grace;
    if (pc_read_uint(r, &grace) != PC_OK) {
        return false;
    }
    pc_port_stop(p, grace < GRACE_MAX_MS ? (int64_t)grace : GRACE_MAX_MS, 0, NULL);
    return true;
}

bool pc_control_handle(struct pc_port *p, const uint8_t *message, size_t size) {
    struct pc_reader r;
    const char *name;
    uint32_t count, n;
    pc_reader_init(&r, message, size);
    if (pc_read_array(&r, &count) != PC_OK || pc_read_str(&r, &name, &n) != PC_OK) {
        return false;
    }
#define IS(text) (n == sizeof(text) - 1 && memcmp(name, text, n) == 0)
    if (IS("zygote")) {
        return on_zygote(p, &r);
    }
    if (IS("fork")) {
        return on_fork(p, &r);
    }
    if (IS("kill") || IS("kill_zygote")) {
        return on_kill(p, &r, IS("kill_zygote"));
    }
    if (IS("vitals")) {
        return on_vitals(p, &r);
    }
    if (IS("credit")) {
        return on_credit(p, &r);
    }
    if (IS("stop")) {
        return on_stop(p, &r);
    }
#undef IS
    pc_output_note(&p->output, "pitcrew_port: an unknown operation was ignored: %.*s", (int)(n < 64 ? n : 64), name);
    return true;
}

/* Carries out what is complete; the beginning of the next message moves to the front. */
static void handle_complete(struct pc_port *p) {
    size_t at = 0;
    while (p->input_len - at >= HEADER) {
        size_t n = pc_frame_length(p->input + at);
        if (n > PC_CONTROL_MAX) {
            pc_port_stop(p, PC_GRACE_MS, PC_EXIT_PROTOCOL, "a control message is larger than 1 MiB");
            break;
        }
        if (p->input_len - at - HEADER < n) {
            break;
        }
        if (!pc_control_handle(p, p->input + at + HEADER, n)) {
            pc_port_stop(p, PC_GRACE_MS, PC_EXIT_PROTOCOL, "a control message could not be understood");
            break;
        }
        at += HEADER + n;
    }
    p->input_len -= at;
    memmove(p->input, p->input + at, p->input_len);
}

void pc_control_read(struct pc_port *p) {
    if (p->input_cap - p->input_len < READ_MIN) {
        p->input_cap = p->input_len + READ_MIN;
        p->input = pc_realloc(p->input, p->input_cap, 1);
    }
    ssize_t n = read(STDIN_FILENO, p->input + p->input_len, p->input_cap - p->input_len);
    if (n > 0 && p->fault != NULL) {
        /* Read on, so that the VM learns the exit status and not that a pipe broke. */
        p->input_len = 0;
    } else if (n > 0) {
        p->input_len += (size_t)n;
        handle_complete(p);
    } else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        p->vm_gone = true;
    }
}
