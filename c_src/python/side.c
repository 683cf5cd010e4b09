/*
 * One thread, one socket. It must not touch Python, must not take a signal that Python's handlers want, and ends at end
 * of file, at an I/O error, or at a frame that cannot be delimited.
 */

#include "side.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "buffers.h"
#include "codec/reader.h"
#include "hold.h"
#include "records.h"
#include "thread.h"
#include "turn.h"
#include "vitals.h"
#include "wire/clock.h"
#include "wire/io.h"
#include "wire/kinds.h"

enum { STACK = 128 * 1024, MAX_FRAME = 1 << 20, BUFFER = 4096, OUT_BUFFER = PC_RECORDS_BATCH + BUFFER };

static pthread_t thread;
static bool running;
static int side_fd;
static struct pc_inbox inbox;
static struct pc_outbox outbox;

static void write_pong(struct pc_outbox *out, uint64_t id, uint64_t asks, uint64_t limit) {
    size_t mark = pc_outbox_begin(out, MAX_FRAME);
    pc_write_array(&out->w, 3);
    pc_write_int(&out->w, PC_KIND_PONG);
    pc_write_uint(&out->w, id);
    bool wake = pc_vitals_answer(&out->w, asks, limit, pc_turn_running());
    (void)pc_outbox_end(out, mark);
    if (wake) {
        pc_turn_nudge();
    }
}

static void write_cancelled(struct pc_outbox *out, uint64_t id, enum pc_turn_state state) {
    static const char *const words[] = {
        [PC_TURN_UNSTARTED] = "unstarted", [PC_TURN_STARTED] = "started", [PC_TURN_RUNNING] = "running",
        [PC_TURN_ENDED] = "ended",         [PC_TURN_FULL] = "full",       [PC_TURN_HELD] = "held"};
    size_t mark = pc_outbox_begin(out, MAX_FRAME);
    pc_write_array(&out->w, 3);
    pc_write_int(&out->w, PC_KIND_CANCELLED);
    pc_write_uint(&out->w, id);
    pc_write_cstr(&out->w, words[state]);
    (void)pc_outbox_end(out, mark);
}

static void write_unknown_kind(struct pc_outbox *out, uint64_t id) {
    size_t mark = pc_outbox_begin(out, MAX_FRAME);
    pc_write_array(&out->w, 4);
    pc_write_int(&out->w, PC_KIND_ERROR);
    pc_write_uint(&out->w, id);
    pc_write_int(&out->w, 0);
    pc_write_map(&out->w, 5);
    pc_write_cstr(&out->w, "kind");
    pc_write_cstr(&out->w, "unknown_kind");
    pc_write_cstr(&out->w, "type");
    pc_write_nil(&out->w);
    pc_write_cstr(&out->w, "message");
    pc_write_cstr(&out->w, "this worker does not know that kind of frame on its side channel");
    pc_write_cstr(&out->w, "traceback");
    pc_write_nil(&out->w);
    pc_write_cstr(&out->w, "path");
    pc_write_nil(&out->w);
    (void)pc_outbox_end(out, mark);
}

/* The third field of a cancel, or what it is when there is none. */
static bool interrupts(struct pc_reader *r, uint32_t count) {
    struct pc_token t;
    return !(count > 2 && pc_reader_next(r, &t) == PC_OK && t.type == PC_BOOL && !t.b);
}

/* The next field of a ping or of credit, or what it is when there is none. */
static uint64_t number(struct pc_reader *r, bool is_there) {
    uint64_t n;
    return is_there && pc_read_uint(r, &n) == PC_OK ? n : 0;
}

/* False if the frame cannot be delimited. */
static bool answer(struct pc_outbox *out, const uint8_t *payload, size_t n) {
    struct pc_reader r;
    uint32_t count;
    int64_t kind;
    uint64_t id;
    pc_reader_init(&r, payload, n);
    if (pc_read_array(&r, &count) != PC_OK || count < 2 || pc_read_int(&r, &kind) != PC_OK ||
        pc_read_uint(&r, &id) != PC_OK) {
        return false;
    }
    if (kind == PC_KIND_PING) {
        uint64_t asks = number(&r, count > 2);
        write_pong(out, id, asks, number(&r, count > 3));
        pc_buffers_tend();
    } else if (kind == PC_KIND_CANCEL) {
        write_cancelled(out, id, pc_turn_cancel(id, interrupts(&r, count)));
    } else if (kind == PC_KIND_CREDIT) {
        pc_records_credit(id == PC_KIND_EVENT ? PC_RECORDS_EVENTS : PC_RECORDS_LOGS, number(&r, count > 2));
    } else if (kind != PC_KIND_ERROR) { /* an error is never answered with an error */
        write_unknown_kind(out, id);
    }
    return true;
}

/* What is left of the patience for which the side thread waits since `begin`. */
static int left(int patience, int64_t begin) {
    if (patience < 0) {
        return -1;
    }
    int64_t waited = (pc_clock_ns() - begin) / 1000000;
    return waited < patience ? patience - (int)waited : 0;
}

/* Until there is something to read, or to send, or somebody to remind; looks after what is held. */
static bool wait_for_event(const struct pc_outbox *out, int fd) {
    enum { SIDE, ALARM, RECORDS, ALL };
    struct pollfd p[ALL] = {[SIDE] = {.fd = fd, .events = POLLIN}, [ALARM] = {.events = POLLIN}};
    if (pc_outbox_pending(out) > 0) {
        p[SIDE].events |= POLLOUT;
    }
    int patience = pc_turn_patience(), ready;
    int64_t begin = pc_clock_ns();
    bool hold;
    do {
        p[ALARM].fd = pc_hold_alarm();
        p[RECORDS] = (struct pollfd){.fd = pc_records_alarm(), .events = POLLIN};
        int for_turn = left(patience, begin), for_hold = pc_hold_patience();
        bool hold_first = for_hold >= 0 && (for_turn < 0 || for_hold < for_turn);
        ready = poll(p, ALL, hold_first ? for_hold : for_turn);
        hold = ready == 0 ? hold_first : ready > 0 && p[ALARM].revents != 0;
        if (hold) {
            pc_hold_tick();
        }
    } while (hold && p[SIDE].revents == 0 && p[RECORDS].revents == 0);
    if (ready > 0 && p[RECORDS].revents != 0) {
        pc_records_tick();
    }
    if (ready == 0) { /* and that was the turn's */
        pc_turn_remind();
    }
    return ready >= 0 || errno == EINTR;
}

/* Records go out only behind everything else, so what is pending stays small. */
static enum pc_io send_all(struct pc_outbox *out, int fd) {
    enum pc_io put;
    do {
        put = pc_outbox_flush(out, fd);
    } while (put == PC_IO_DONE && pc_records_take(out));
    return put;
}

static void serve_side(struct pc_inbox *in, struct pc_outbox *out, int fd) {
    for (;;) {
        const uint8_t *payload;
        size_t n;
        enum pc_io got = pc_inbox_read(in, fd, MAX_FRAME, SIZE_MAX, &payload, &n);
        if (got == PC_IO_DONE) {
            if (!answer(out, payload, n)) {
                return;
            }
            pc_inbox_consume(in);
        } else if (got != PC_IO_AGAIN) {
            (void)send_all(out, fd); /* it is not to be heard any more, and may speak */
            return;
        }
        enum pc_io put = send_all(out, fd);
        if (put == PC_IO_EOF || (got == PC_IO_AGAIN && !wait_for_event(out, fd))) {
            return;
        }
    }
}

static void *run(void *up) {
    (void)sem_post(up);
    serve_side(&inbox, &outbox, side_fd);
    pc_hold_unwatch();
    return NULL;
}

/* So that the thread allocates nothing for pings: a tool may fork at any moment, and not every allocator's locks survive that. */
static bool prepare_buffers(void) {
    pc_inbox_init(&inbox);
    pc_outbox_init(&outbox);
    inbox.data = malloc(BUFFER);
    inbox.cap = inbox.data == NULL ? 0 : BUFFER;
    outbox.w.max = OUT_BUFFER;
    return inbox.data != NULL && pc_grow_malloc(&outbox.w, OUT_BUFFER);
}

static void free_buffers(void) {
    pc_inbox_destroy(&inbox);
    pc_outbox_destroy(&outbox);
}

int pc_side_start(int fd) {
    if (!prepare_buffers()) {
        free_buffers();
        return -ENOMEM;
    }
    side_fd = fd;
    int error = pc_thread_start(&thread, STACK, run);
    running = error == 0;
    if (!running) {
        free_buffers();
    }
    return error;
}

void pc_side_stop(void) {
    if (running) {
        (void)shutdown(side_fd, SHUT_RD); /* what is there to say can still be said */
        (void)pthread_join(thread, NULL);
        (void)shutdown(side_fd, SHUT_RDWR);
        free_buffers();
        running = false;
    }
}
