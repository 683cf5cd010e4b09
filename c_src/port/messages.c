/* Messages to the VM. */

#include "messages.h"

#include <stdlib.h>
#include <sys/wait.h>

#include "memory.h"
#include "wire/kinds.h"

void pc_message_hello(struct pc_output *o, pid_t guard, pid_t port) {
    size_t mark;
    struct pc_writer *w = pc_output_begin(o, 4, "hello", &mark);
    pc_write_int(w, PC_PROTOCOL_VERSION);
    pc_write_int(w, guard);
    pc_write_int(w, port);
    pc_output_end(o, mark);
}

void pc_message_fatal(struct pc_output *o, const char *text) {
    size_t mark;
    pc_write_cstr(pc_output_begin(o, 2, "fatal", &mark), text);
    pc_output_end(o, mark);
}

void pc_message_zygote(struct pc_output *o, uint32_t zid, pid_t pid) {
    size_t mark;
    struct pc_writer *w = pc_output_begin(o, 3, "zygote", &mark);
    pc_write_uint(w, zid);
    pc_write_int(w, pid);
    pc_output_end(o, mark);
}

static void message_payload(struct pc_output *o, const char *name, uint32_t zid, const uint8_t *payload, size_t n) {
    size_t mark;
    struct pc_writer *w = pc_output_begin(o, 3, name, &mark);
    pc_write_uint(w, zid);
    pc_write_bin(w, payload, n);
    pc_output_end(o, mark);
}

void pc_message_ready(struct pc_output *o, uint32_t zid, const uint8_t *payload, size_t n) {
    message_payload(o, "ready", zid, payload, n);
}

void pc_message_failed(struct pc_output *o, uint32_t zid, const uint8_t *payload, size_t n) {
    message_payload(o, "failed", zid, payload, n);
}

void pc_message_failed_here(struct pc_output *o, uint32_t zid, const char *stage, const char *type,
                            const char *message) {
    struct pc_writer w;
    pc_writer_init(&w, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
    pc_write_map(&w, 4);
    pc_write_cstr(&w, "stage");
    pc_write_cstr(&w, stage);
    pc_write_cstr(&w, "type");
    pc_write_cstr(&w, type);
    pc_write_cstr(&w, "message");
    pc_write_cstr(&w, message);
    pc_write_cstr(&w, "traceback");
    pc_write_nil(&w);
    message_payload(o, "failed", zid, pc_must(w.data), w.len);
    free(w.data);
}

static void write_status(struct pc_writer *w, int status) {
    pc_write_cstr(w, WIFSIGNALED(status) ? "signal" : "exit");
    pc_write_int(w, WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

void pc_message_gone(struct pc_output *o, uint32_t zid, pid_t pid, int status) {
    size_t mark;
    struct pc_writer *w = pc_output_begin(o, 5, "gone", &mark);
    pc_write_uint(w, zid);
    pc_write_int(w, pid);
    write_status(w, status);
    pc_output_end(o, mark);
}

void pc_message_forked(struct pc_output *o, uint32_t wid, pid_t pid) {
    size_t mark;
    struct pc_writer *w = pc_output_begin(o, 3, "forked", &mark);
    pc_write_uint(w, wid);
    pc_write_int(w, pid);
    pc_output_end(o, mark);
}

void pc_message_vitals(struct pc_output *o, uint32_t wid, const struct pc_os_vitals *vitals) {
    size_t mark;
    struct pc_writer *w = pc_output_begin(o, 6, "vitals", &mark);
    pc_write_uint(w, wid);
    pc_write_uint(w, vitals->resident);
    pc_write_uint(w, vitals->cpu_us);
    pc_write_uint(w, vitals->threads);
    if (vitals->files < 0) {
        pc_write_nil(w);
    } else {
        pc_write_int(w, vitals->files);
    }
    pc_output_end(o, mark);
}

void pc_message_fork_failed(struct pc_output *o, uint32_t wid, const char *message, size_t n) {
    size_t mark;
    struct pc_writer *w = pc_output_begin(o, 3, "fork_failed", &mark);
    pc_write_uint(w, wid);
    pc_write_str(w, message, n);
    pc_output_end(o, mark);
}

static uint64_t microseconds(struct timeval t) { return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec; }

struct pc_end pc_end_waited(int status, const struct rusage *usage) {
    const char *how = WIFSIGNALED(status) ? "signal" : "exit";
    return (struct pc_end){
        .how = how,
        .how_n = (uint32_t)strlen(how),
        .code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
        .utime_us = microseconds(usage->ru_utime),
        .stime_us = microseconds(usage->ru_stime),
        .maxrss_kb = (uint64_t)usage->ru_maxrss,
    };
}

struct pc_end pc_end_unknown(void) {
    return (struct pc_end){.how = "unknown", .how_n = 7};
}

void pc_message_exit(struct pc_output *o, uint32_t wid, pid_t pid, const struct pc_end *end) {
    size_t mark;
    struct pc_writer *w = pc_output_begin(o, 8, "exit", &mark);
    pc_write_uint(w, wid);
    pc_write_int(w, pid);
    pc_write_str(w, end->how, end->how_n);
    pc_write_int(w, end->code);
    pc_write_uint(w, end->utime_us);
    pc_write_uint(w, end->stime_us);
    pc_write_uint(w, end->maxrss_kb);
    pc_output_end(o, mark);
}
