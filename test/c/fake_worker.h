#ifndef PC_TEST_FAKE_WORKER_H
#define PC_TEST_FAKE_WORKER_H

/*
 * The worker at the other end of a channel, in a thread of its own: answers calls in order, as a whole or in pieces, at once or slowly, drops
 * those that were cancelled before they began, and may die of one: before it starts it, in it, in the middle of its answer, or behind that.
 */

#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include "fake_duties.h"

enum death { BEFORE, WITHIN, HALFWAY, BEHIND, DEATHS };

/* Kind and id as call_head.h writes them, and the body behind. */
static const uint8_t *open_call(const uint8_t *payload, size_t n, uint64_t *id, size_t *size) {
    if (pc_frame_is_json(payload, n)) {
        struct pc_json_head head;
        demand(pc_json_head_read(payload, n, &head) && head.kind == PC_KIND_CALL);
        *id = head.id;
        *size = n - head.end - 1;
        return payload + head.end + 1;
    }
    struct pc_reader r;
    uint32_t count;
    int64_t kind;
    pc_reader_init(&r, payload, n);
    demand(pc_read_array(&r, &count) == PC_OK && pc_read_int(&r, &kind) == PC_OK && kind == PC_KIND_CALL &&
           pc_read_uint(&r, id) == PC_OK);
    *size = pc_reader_left(&r);
    return r.p;
}

/* What `cancel` is answered with: whether the call had not begun, and will not. */
static bool worker_cancel(struct worker *v, uint64_t id) {
    pthread_mutex_lock(&v->lock);
    bool unstarted = !v->dead && id > v->started && v->cancelled_count < LETTERS;
    if (unstarted) {
        v->cancelled[v->cancelled_count++] = id;
    }
    pthread_mutex_unlock(&v->lock);
    return unstarted;
}

/* A signal; the end is told by its thread. */
static void worker_kill(struct worker *v) {
    pthread_mutex_lock(&v->lock);
    if (!v->dead) {
        (void)shutdown(v->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&v->lock);
}

/* Whether the call is to run. */
static bool worker_start(struct channel *c, uint64_t id, unsigned number) {
    struct worker *v = &c->worker;
    bool runs = true;
    pthread_mutex_lock(&v->lock);
    for (unsigned i = 0; i < v->cancelled_count; i++) {
        runs = runs && v->cancelled[i] != id;
    }
    if (runs) {
        v->started = id;
        atomic_fetch_add(&record_of(c->world, number)->runs, 1);
    }
    pthread_mutex_unlock(&v->lock);
    return runs;
}

static bool send_piece(int fd, const uint8_t *data, size_t n) {
    while (n > 0) {
        ssize_t put = send(fd, data, n, MSG_NOSIGNAL);
        if (put < 0) {
            return false;
        }
        data += put;
        n -= (size_t)put;
    }
    return true;
}

static bool send_answer(struct worker *v, const uint8_t *data, size_t n) {
    size_t piece = v->seed % 3 == 0 ? 1 + v->seed % 13 : n;
    for (size_t at = 0; at < n; at += piece, piece *= 4) {
        if (!send_piece(v->fd, data + at, piece < n - at ? piece : n - at)) {
            return false;
        }
    }
    return true;
}

static bool answer(struct channel *c, uint64_t id, unsigned number, bool half) {
    struct worker *v = &c->worker;
    struct pc_outbox out;
    pc_outbox_init(&out);
    size_t mark = pc_outbox_begin(&out, LIMIT);
    pc_writer_append(&out.w, &id, sizeof id);
    size_t n = size_of(number, c->world->seed + 1);
    uint8_t *p = pc_writer_claim(&out.w, n);
    demand(p != NULL);
    fill(p, n, number ^ MASK);
    demand(pc_outbox_end(&out, mark) == PC_OK);
    for (unsigned i = v->seed % 4 == 0 ? 1 + (unsigned)id % 7 : 0; i > 0; i--) {
        sched_yield();
    }
    bool sent = send_answer(v, out.w.data, half ? out.w.len / 2 : out.w.len);
    pc_outbox_destroy(&out);
    return sent;
}

static bool is_shutdown(const uint8_t *payload, size_t n) { return n == 3 && payload[1] == PC_KIND_SHUTDOWN; }

/* Whether it lives on. */
static bool serve(struct channel *c, const uint8_t *payload, size_t n, uint64_t *last) {
    struct world *w = c->world;
    struct worker *v = &c->worker;
    uint64_t id;
    size_t size;
    const uint8_t *body = open_call(payload, n, &id, &size);
    unsigned number = number_in(body);
    enum death death = id == v->dies_at ? (enum death)(v->seed / 7 % DEATHS) : DEATHS;
    expect(w, id == *last + 1); /* each comes, once, in its turn */
    *last = id;
    expect(w, pc_frame_is_json(payload, n) == is_json(number));
    expect(w, is_filled(body, size, size_of(number, w->seed), number));
    if (death == BEFORE) {
        return false;
    }
    if (!worker_start(c, id, number)) {
        return true;
    }
    return death != WITHIN && answer(c, id, number, death == HALFWAY) && death == DEATHS;
}

static void play_worker(struct channel *c) {
    struct worker *v = &c->worker;
    struct pc_inbox in;
    uint64_t last = 0;
    bool alive = true;
    pc_inbox_init(&in);
    while (alive) {
        const uint8_t *payload;
        size_t n;
        struct pollfd p = {.fd = v->fd, .events = POLLIN};
        enum pc_io io = pc_inbox_read(&in, v->fd, LIMIT, LIMIT, &payload, &n);
        if (io == PC_IO_AGAIN) {
            (void)poll(&p, 1, -1);
        } else if (io == PC_IO_DONE) {
            step(c->world);
            v->dismissed = is_shutdown(payload, n);
            alive = !v->dismissed && serve(c, payload, n, &last);
            pc_inbox_consume(&in);
        } else {
            alive = io == PC_IO_MORE;
        }
    }
    pthread_mutex_lock(&v->lock);
    v->dead = true;
    close(v->fd);
    pthread_mutex_unlock(&v->lock);
    post(c->world, NOTE_EXIT, c, 0);
    pc_inbox_destroy(&in);
}

#endif
