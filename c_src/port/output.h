#ifndef PC_PORT_OUTPUT_H
#define PC_PORT_OUTPUT_H

/*
 * What goes to the VM: messages, which are never dropped, before lines, which wait for credit in a bounded ring.
 * Never blocks. After the reading end is gone everything is thrown away quietly.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/writer.h"
#include "lines.h"

/* What a line costs beside its bytes, so that credit bounds empty lines too. */
enum { PC_LINE_COST = 32 };

struct pc_output {
    int fd; /* nonblocking; borrowed */
    bool closed;
    struct pc_writer queue; /* framed messages */
    size_t sent;            /* bytes of the queue that are out */
    uint64_t credit;
    struct pc_ring ring;
    int64_t report_at; /* what was dropped is not told before that; milliseconds */
};

void pc_output_init(struct pc_output *o, int fd);
void pc_output_destroy(struct pc_output *o);

/*
 * A message: begin opens an array of `count`, the caller writes its elements into the writer it gets, end closes it.
 * There is no way on without memory: then the process ends, and the guard sweeps.
 */
struct pc_writer *pc_output_begin(struct pc_output *o, size_t count, const char *name, size_t *mark);
void pc_output_end(struct pc_output *o, size_t mark);

void pc_output_line(struct pc_output *o, uint32_t wid, uint8_t fd, const uint8_t *line, size_t n);

/* A line that is not even kept, for its process prints too many. */
void pc_output_drop(struct pc_output *o, size_t n);

/*
 * Tells how many lines were dropped, if any: once a second at most, and only when nothing else waits. pc_output_report_at says when
 * it is due: 0 is not now.
 */
void pc_output_report(struct pc_output *o, int64_t now_ms);
int64_t pc_output_report_at(const struct pc_output *o);

/* Nothing is pending, and nothing will come: lines that lack credit are dropped, and told with the others that were. */
void pc_output_finish(struct pc_output *o);

/* A line of the port's own, as if the zygote had printed it on descriptor 2. */
void pc_output_note(struct pc_output *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* More credit; saturates. */
void pc_output_credit(struct pc_output *o, uint64_t bytes);

/* Whether there is something that may be written now. */
bool pc_output_pending(const struct pc_output *o);

/* Nobody reads any more. */
void pc_output_discard(struct pc_output *o);

/* Writes what the descriptor takes. */
void pc_output_flush(struct pc_output *o);

#endif
