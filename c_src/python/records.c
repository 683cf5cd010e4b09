/*
 * A ring of bytes that holds whole frames, each with its length in front, as on the wire. An alarm that rings a millisecond after the first
 * of them wakes the side thread, so that a burst is sent in one go. A tool may close its descriptor: then records wait for
 * the next thing that the side thread hears, a ping for one.
 */

#include "records.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/reader.h"
#include "os/os.h"
#include "wire/kinds.h"

enum { DELAY_MS = 1 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for all that follows */
static uint8_t *ring;                                    /* NULL: closed */
static size_t first, used;                               /* bytes */
static uint64_t credit, dropped;                         /* records */
static bool ringing;                                     /* the alarm is set */
static atomic_int bell = -1;                             /* read without the lock, too */

void pc_records_open(uint64_t n) {
    ring = n == 0 ? NULL : malloc(PC_RECORDS_ROOM);
    first = used = 0;
    credit = n;
    dropped = 0;
    ringing = false;
    atomic_store(&bell, ring == NULL ? -1 : pc_os_alarm());
}

void pc_records_close(void) {
    (void)pthread_mutex_lock(&lock);
    free(ring);
    ring = NULL;
    (void)pthread_mutex_unlock(&lock);
    int own = atomic_exchange(&bell, -1);
    if (own >= 0) {
        (void)close(own);
    }
}

/* Fails on a descriptor that is not ours any more, and leaves that alone from then on. */
static void set_alarm(int milliseconds) {
    if (pc_os_alarm_set(atomic_load(&bell), milliseconds) < 0) {
        atomic_store(&bell, -1);
    }
    ringing = milliseconds > 0;
}

/* ---- Python's threads */

static void append(const uint8_t *bytes, size_t n) {
    size_t at = (first + used) % PC_RECORDS_ROOM;
    size_t here = n < PC_RECORDS_ROOM - at ? n : PC_RECORDS_ROOM - at;
    memcpy(ring + at, bytes, here);
    memcpy(ring, bytes + here, n - here);
    used += n;
}

bool pc_records_put(const uint8_t *frame, size_t n) {
    (void)pthread_mutex_lock(&lock);
    bool open = ring != NULL;
    if (open && (n > PC_RECORDS_BATCH || n > PC_RECORDS_ROOM - used)) {
        dropped++;
    } else if (open) {
        append(frame, n);
        if (!ringing && credit > 0) {
            set_alarm(DELAY_MS);
        }
    }
    (void)pthread_mutex_unlock(&lock);
    return open;
}

/* ---- The side thread */

void pc_records_credit(uint64_t n) {
    (void)pthread_mutex_lock(&lock);
    credit += n;
    (void)pthread_mutex_unlock(&lock);
}

int pc_records_alarm(void) { return atomic_load(&bell); }

void pc_records_tick(void) {
    (void)pthread_mutex_lock(&lock);
    set_alarm(0);
    (void)pthread_mutex_unlock(&lock);
}

static size_t length_of_first(void) {
    uint8_t header[PC_FRAME_HEADER] = {0};
    for (size_t i = 0; i < sizeof header; i++) {
        header[i] = ring[(first + i) % PC_RECORDS_ROOM];
    }
    return PC_FRAME_HEADER + pc_frame_length(header);
}

static void move_first(struct pc_writer *w, size_t n) {
    size_t here = n < PC_RECORDS_ROOM - first ? n : PC_RECORDS_ROOM - first;
    pc_writer_append(w, ring + first, here);
    pc_writer_append(w, ring, n - here);
    first = (first + n) % PC_RECORDS_ROOM;
    used -= n;
    credit--;
}

/* After the records that were there before them. */
static void tell_dropped(struct pc_outbox *out) {
    enum { MOST = 64 };
    size_t mark = pc_outbox_begin(out, MOST);
    pc_write_array(&out->w, 3);
    pc_write_int(&out->w, PC_KIND_STATS);
    pc_write_uint(&out->w, 0);
    pc_write_map(&out->w, 1);
    pc_write_cstr(&out->w, "dropped");
    pc_write_uint(&out->w, dropped);
    if (pc_outbox_end(out, mark) == PC_OK) {
        dropped = 0;
    }
}

static void take(struct pc_outbox *out) {
    out->w.max = PC_RECORDS_BATCH;
    while (used > 0 && credit > 0 && length_of_first() <= PC_RECORDS_BATCH - out->w.len) {
        move_first(&out->w, length_of_first());
    }
    if (dropped > 0 && out->w.len > 0) {
        tell_dropped(out);
    }
}

bool pc_records_take(struct pc_outbox *out) {
    (void)pthread_mutex_lock(&lock);
    if (ring != NULL) {
        take(out);
    }
    (void)pthread_mutex_unlock(&lock);
    return pc_outbox_pending(out) > 0;
}
