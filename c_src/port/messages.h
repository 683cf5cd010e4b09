#ifndef PC_PORT_MESSAGES_H
#define PC_PORT_MESSAGES_H

/* The port's messages to the VM, one function each (docs/protocol.md, section 5). They only queue. */

#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "os/os.h"
#include "output.h"

void pc_message_hello(struct pc_output *o, pid_t guard, pid_t port);
void pc_message_fatal(struct pc_output *o, const char *text);
void pc_message_zygote(struct pc_output *o, uint32_t zid, pid_t pid);
void pc_message_ready(struct pc_output *o, uint32_t zid, const uint8_t *payload, size_t n);
void pc_message_failed(struct pc_output *o, uint32_t zid, const uint8_t *payload, size_t n);

/* A failure that the port itself has found; type is Python's name for such an error. */
void pc_message_failed_here(struct pc_output *o, uint32_t zid, const char *stage, const char *type,
                            const char *message);

/* status is as wait(2) gives it. */
void pc_message_gone(struct pc_output *o, uint32_t zid, pid_t pid, int status);
void pc_message_forked(struct pc_output *o, uint32_t wid, pid_t pid);
void pc_message_vitals(struct pc_output *o, uint32_t wid, const struct pc_os_vitals *vitals);
void pc_message_fork_failed(struct pc_output *o, uint32_t wid, const char *message, size_t n);

/* An end that the zygote has seen, in its words; or that the port has waited for; or that nobody could wait for. */
struct pc_end {
    const char *how;
    uint32_t how_n;
    int64_t code;
    uint64_t utime_us, stime_us, maxrss_kb;
};
struct pc_end pc_end_waited(int status, const struct rusage *usage);
struct pc_end pc_end_unknown(void);
void pc_message_exit(struct pc_output *o, uint32_t wid, pid_t pid, const struct pc_end *end);

#endif
