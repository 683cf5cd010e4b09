/*
 * A ring of bytes for each sort, that holds whole frames, each with its length in front, as on the wire. An alarm that rings a millisecond after
 * the first of them wakes the side thread, so that a burst is sent in one go. A tool may close its descriptor: then records wait for
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

struct ring {
    bool open;
    uint8_t *bytes;     /* NULL: nothing has been put in yet, which in most workers stays so */
    size_t first, used; /* bytes */
    uint64_t credit, dropped;
};

/* The id that frames of this sort have where their kind does not say it all. */
static const uint64_t names[PC_RECORDS_SORTS] = {[PC_RECORDS_LOGS] = 0, [PC_RECORDS_EVENTS] = PC_KIND_EVENT};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for all that follows */
static struct ring rings[PC_RECORDS_SORTS];
static bool ringing;         /* the alarm is set */
static atomic_int bell = -1; /* read without the lock, too */

void pc_records_open(enum pc_records_sort sort, uint64_t credit) {
    struct ring *r = &rings[sort];
    (void)pthread_mutex_lock(&lock);
    free(r->bytes);
    *r = (struct ring){.open = credit > 0, .credit = credit};
    if (r->open && atomic_load(&bell) < 0) {
        ringing = false;
        atomic_store(&bell, pc_os_alarm());
    }
    (void)pthread_mutex_unlock(&lock);
}

void pc_records_close(void) {
    (void)pthread_mutex_lock(&lock);
    for (int i = 0; i < PC_RECORDS_SORTS; i++) {
        free(rings[i].bytes);
        rings[i] = (struct ring){.open = false};
    }
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

static bool has_room(struct ring *r, size_t n) {
    if (n > PC_RECORDS_BATCH || n > PC_RECORDS_ROOM - r->used) {
        return false;
    }
    if (r->bytes == NULL) {
        r->bytes = malloc(PC_RECORDS_ROOM);
    }
    return r->bytes != NULL;
}

static void append(struct ring *r, const uint8_t *frame, size_t n) {
    size_t at = (r->first + r->used) % PC_RECORDS_ROOM;
    size_t here = n < PC_RECORDS_ROOM - at ? n : PC_RECORDS_ROOM - at;
    memcpy(r->bytes + at, frame, here);
    memcpy(r->bytes, frame + here, n - here);
    r->used += n;
}

enum pc_records_put pc_records_put(enum pc_records_sort sort, const uint8_t *frame, size_t n) {
    struct ring *r = &rings[sort];
    enum pc_records_put put = PC_RECORDS_CLOSED;
    (void)pthread_mutex_lock(&lock);
    if (r->open && !has_room(r, n)) {
        r->dropped++;
        put = PC_RECORDS_DROPPED;
    } else if (r->open) {
        append(r, frame, n);
        if (!ringing && r->credit > 0) {
            set_alarm(DELAY_MS);
        }
        put = PC_RECORDS_TAKEN;
    }
    (void)pthread_mutex_unlock(&lock);
    return put;
}

/* ---- The side thread */

void pc_records_credit(enum pc_records_sort sort, uint64_t n) {
    (void)pthread_mutex_lock(&lock);
    rings[sort].credit += n;
    (void)pthread_mutex_unlock(&lock);
}

int pc_records_alarm(void) { return atomic_load(&bell); }

void pc_records_tick(void) {
    (void)pthread_mutex_lock(&lock);
    set_alarm(0);
    (void)pthread_mutex_unlock(&lock);
}

static size_t length_of_first(const struct ring *r) {
    uint8_t header[PC_FRAME_HEADER] = {0};
    for (size_t i = 0; i < sizeof header; i++) {
        header[i] = r->bytes[(r->first + i) % PC_RECORDS_ROOM];
    }
    return PC_FRAME_HEADER + pc_frame_length(header);
}

static void move_first(struct pc_writer *w, struct ring *r, size_t n) {
    size_t here = n < PC_RECORDS_ROOM - r->first ? n : PC_RECORDS_ROOM - r->first;
    pc_writer_append(w, r->bytes + r->first, here);
    pc_writer_append(w, r->bytes, n - here);
    r->first = (r->first + n) % PC_RECORDS_ROOM;
    r->used -= n;
    r->credit--;
}

/* After the records that were there before them. */
static void tell_dropped(struct pc_outbox *out, struct ring *r, uint64_t name) {
    enum { MOST = 64 };
    size_t mark = pc_outbox_begin(out, MOST);
    pc_write_array(&out->w, 3);
    pc_write_int(&out->w, PC_KIND_STATS);
    pc_write_uint(&out->w, name);
    pc_write_map(&out->w, 1);
    pc_write_cstr(&out->w, "dropped");
    pc_write_uint(&out->w, r->dropped);
    if (pc_outbox_end(out, mark) == PC_OK) {
        r->dropped = 0;
    }
}

static void take(struct pc_outbox *out, struct ring *r, uint64_t name) {
    out->w.max = PC_RECORDS_BATCH;
    while (r->used > 0 && r->credit > 0 && length_of_first(r) <= PC_RECORDS_BATCH - out->w.len) {
        move_first(&out->w, r, length_of_first(r));
    }
    if (r->dropped > 0 && out->w.len > 0) {
        tell_dropped(out, r, name);
    }
}

/* One sort after the other: the next one when the outbox has been sent. */
bool pc_records_take(struct pc_outbox *out) {
    (void)pthread_mutex_lock(&lock);
    for (int i = 0; i < PC_RECORDS_SORTS && pc_outbox_pending(out) == 0; i++) {
        if (rings[i].open) {
            take(out, &rings[i], names[i]);
        }
    }
    (void)pthread_mutex_unlock(&lock);
    return pc_outbox_pending(out) > 0;
}
