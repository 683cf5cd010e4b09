/*
 * The channel raced without a VM: an owner that calls and gives up, whoever kills it, the worker's process with its verdict
 * and its close, the other end of a small socket, and the thread that fires selects, over and over, with their steps
 * shifted against each other. Run it under ThreadSanitizer too, as tools/asan does: make -C c_src races.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include "fake_channel.h"

enum { ROUNDS = 10000, CALLS = 4 };

/* ---- The owner's process, as in src/pitcrew_slot.erl */

/* So many select messages are there, or about to come. */
static void take_selects(struct world *w, struct owner *o, unsigned n) {
    struct mailbox *m = &o->mailbox;
    pthread_mutex_lock(&m->lock);
    for (; n > 0 && wait_message(w, m, true, false); n--) {
        m->selects--;
    }
    pthread_mutex_unlock(&m->lock);
}

/* `taken` select messages that it counts have been received already. */
static void take_verdict(struct world *w, struct owner *o, unsigned taken) {
    struct mailbox *m = &o->mailbox;
    pthread_mutex_lock(&m->lock);
    bool there = wait_message(w, m, false, true);
    unsigned owed = m->owed;
    m->verdict = false;
    pthread_mutex_unlock(&m->lock);
    if (there) {
        expect(w, owed >= taken);
        take_selects(w, o, owed > taken ? owed - taken : 0);
        w->verdicts++;
    }
}

static enum pc_end end_claim(struct world *w, struct owner *o) {
    withdrawn = 0;
    enum pc_end how = PC_END_POISONED;
    if (begin(w, o)) {
        how = pc_machine_end(&w->m, at, withdraw);
        (void)end(o, SENT);
    }
    return how;
}

/* Check-in and abandon are one. */
static void leave(struct world *w, struct owner *o, unsigned taken) {
    if (end_claim(w, o) == PC_END_VERDICT) {
        expect(w, withdrawn == 0);
        take_verdict(w, o, taken);
    } else {
        expect(w, withdrawn == 0 || withdrawn >= taken);
        take_selects(w, o, withdrawn > taken ? withdrawn - taken : 0);
    }
}

static void judged(struct world *w, struct owner *o, unsigned taken) {
    take_verdict(w, o, taken);
    (void)end_claim(w, o);
}

enum came { CAME_SELECT, CAME_VERDICT, CAME_DEADLINE, CAME_NOTHING };

static enum came await(struct world *w, struct owner *o, bool select) {
    struct mailbox *m = &o->mailbox;
    enum came came = CAME_DEADLINE;
    pthread_mutex_lock(&m->lock);
    if (atomic_load(&w->steps) < w->leave_at && !wait_message(w, m, select, true)) {
        came = CAME_NOTHING;
    } else if (m->verdict) {
        came = CAME_VERDICT;
    } else if (select && m->selects > 0) {
        m->selects--;
        came = CAME_SELECT;
    }
    pthread_mutex_unlock(&m->lock);
    return came;
}

static void await_verdict(struct world *w, struct owner *o, unsigned taken) {
    enum came came = await(w, o, false);
    if (came == CAME_VERDICT) {
        judged(w, o, taken);
    } else if (came == CAME_DEADLINE) {
        leave(w, o, taken);
    }
}

/* One call; whether it was answered, and the owner still has the slot. */
static bool exchange(struct world *w, struct owner *o) {
    enum outcome outcome = nif_call(w, o);
    if (outcome != SENT) {
        leave(w, o, 0);
        return false;
    }
    enum came came;
    while ((came = await(w, o, true)) == CAME_SELECT) {
        outcome = nif_reply(w, o);
        if (outcome == ANSWER) {
            w->answers++;
            return true;
        }
        if (outcome == LOST || outcome == POISONED) {
            await_verdict(w, o, outcome == POISONED ? 1 : 0);
        }
        if (outcome != AGAIN) {
            return false;
        }
    }
    if (came == CAME_VERDICT) {
        judged(w, o, 0);
    } else if (came == CAME_DEADLINE) {
        w->abandoned++;
        leave(w, o, 0);
    }
    return false;
}

static void play_owners(struct world *w) {
    for (int i = 0; i < OWNERS; i++) {
        struct owner *o = &w->owners[i];
        enum outcome claimed = nif_claim_for(w, o);
        if (claimed == POISONED) {
            return;
        }
        bool going = claimed == SENT;
        for (int call = 0; call < CALLS && going; call++) {
            going = exchange(w, o);
        }
        if (going) {
            leave(w, o, 0);
        }
    }
}

/* ---- The others, each in a thread of its own */

static void judge(struct world *w) {
    sem_wait(&w->verdict_due);
    pc_machine_verdict(&w->m, at);
    for (unsigned i = w->seed % 3; i > 0; i--) {
        sched_yield();
    }
    pc_machine_close(&w->m, at);
}

static void kill_owner(struct world *w) {
    if (w->kill_at < 0) {
        return;
    }
    sem_wait(&w->kill_due);
    struct owner *o = atomic_load(&w->current);
    if (o == NULL) {
        return;
    }
    pthread_mutex_lock(&o->running);
    bool monitored = o->monitored;
    o->monitored = false;
    pthread_mutex_lock(&o->mailbox.lock);
    o->mailbox.dead = true;
    pthread_cond_broadcast(&o->mailbox.changed);
    pthread_mutex_unlock(&o->mailbox.lock);
    pthread_mutex_unlock(&o->running);
    if (monitored) {
        pc_machine_owner_gone(&w->m, at);
    }
}

static bool send_in_pieces(struct world *w, const uint8_t *data, size_t n) {
    for (size_t piece = 1 + w->seed % 7; n > 0; piece = 1 + piece * 13 % 4096) {
        size_t next = piece < n ? piece : n;
        ssize_t put = send(w->peer, data, next, MSG_NOSIGNAL);
        if (put < 0) {
            return false;
        }
        step(w);
        data += put;
        n -= (size_t)put;
    }
    return true;
}

/* Answers every call until the channel is closed, or it has enough. */
static void play_peer(struct world *w) {
    struct pc_inbox in;
    struct pc_outbox out;
    uint8_t id = 0;
    bool going = true;
    pc_inbox_init(&in);
    pc_outbox_init(&out);
    while (going) {
        const uint8_t *payload;
        size_t n;
        struct pollfd p = {.fd = w->peer, .events = POLLIN};
        enum pc_io io = pc_inbox_read(&in, w->peer, LIMIT, 500, &payload, &n);
        if (io == PC_IO_AGAIN) {
            (void)poll(&p, 1, -1);
        } else if (io == PC_IO_DONE) {
            id++;
            expect(w, is_frame(payload, n, id, size_of(id, w->seed)));
            pc_inbox_consume(&in);
            write_frame(&out, id, size_of(id, w->seed + 1));
            bool last = id == w->hang_up_at;
            going = send_in_pieces(w, out.w.data, last ? out.w.len / 2 : out.w.len) && !last;
            out.w.len = 0;
        } else {
            going = io == PC_IO_MORE;
        }
    }
    close(w->peer);
    pc_inbox_destroy(&in);
    pc_outbox_destroy(&out);
}

struct part {
    void (*play)(struct world *);
    struct world *_Atomic *world;
    sem_t go, done;
    pthread_t thread;
};

static void *run_part(void *argument) {
    struct part *p = argument;
    for (;;) {
        sem_wait(&p->go);
        struct world *w = atomic_load(p->world);
        if (w == NULL) {
            return NULL;
        }
        p->play(w);
        sem_post(&p->done);
    }
}

static void part_start(struct part *p, struct world *_Atomic *world) {
    p->world = world;
    assert_int_equal(sem_init(&p->go, 0, 0), 0);
    assert_int_equal(sem_init(&p->done, 0, 0), 0);
    assert_int_equal(pthread_create(&p->thread, NULL, run_part, p), 0);
}

static void part_end(struct part *p) {
    sem_post(&p->go);
    pthread_join(p->thread, NULL);
    sem_destroy(&p->go);
    sem_destroy(&p->done);
}

/* ---- Rounds */

static void prepare(struct world *w, struct fake_select *select, unsigned seed) {
    int fd[2];
    const int small = 4096;
    *w = (struct world){.select = select, .seed = seed};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    assert_int_equal(setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    assert_int_equal(setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    w->fd = fd[0];
    w->peer = fd[1];
    w->verdict_at = 1 + (int)(rand_r(&seed) % 80);
    w->kill_at = seed % 3 == 0 ? 1 + (int)(rand_r(&seed) % 60) : -1;
    assert_int_equal(sem_init(&w->verdict_due, 0, 0), 0);
    assert_int_equal(sem_init(&w->kill_due, 0, 0), 0);
    w->leave_at = seed % 4 == 0 ? (int)(rand_r(&seed) % 60) : INT_MAX;
    w->hang_up_at = seed % 5 == 0 ? 1 + (int)(rand_r(&seed) % 3) : 0;
    w->dirty_until = (int)(rand_r(&seed) % 4);
    for (int i = 0; i < OWNERS; i++) {
        mailbox_init(&w->owners[i].mailbox);
        pthread_mutex_init(&w->owners[i].running, NULL);
    }
    pc_machine_init(&w->m, w);
    atomic_store(&w->m.word, PC_FREE);
    pc_inbox_init(&w->in);
    pc_outbox_init(&w->out);
    fake_select_open(select, w->fd);
}

static void check(struct world *w) {
    assert_int_equal(w->violated_at, 0);
    assert_int_equal(w->closed, 1);
    assert_int_equal(w->fd, -1);
    assert_int_equal(w->m.word & PC_INSIDE, 0);
    assert_true(w->told <= 1 && w->cut <= 1 && w->lost <= 1);
    for (int i = 0; i < OWNERS; i++) {
        struct mailbox *m = &w->owners[i].mailbox;
        assert_true(m->dead || (m->selects == 0 && !m->verdict));
        mailbox_destroy(m);
        pthread_mutex_destroy(&w->owners[i].running);
    }
    sem_destroy(&w->verdict_due);
    sem_destroy(&w->kill_due);
    pc_inbox_destroy(&w->in);
    pc_outbox_destroy(&w->out);
}

static void everybody_at_once(void **state) {
    (void)state;
    static struct world w;
    struct world *_Atomic shared = &w;
    struct fake_select select;
    struct part parts[] = {{.play = judge}, {.play = kill_owner}, {.play = play_peer}};
    enum { PARTS = sizeof parts / sizeof parts[0] };
    int answers = 0, verdicts = 0, abandoned = 0, cut = 0, lost = 0;
    assert_true(fake_select_start(&select));
    for (int i = 0; i < PARTS; i++) {
        part_start(&parts[i], &shared);
    }
    for (unsigned round = 1; round <= ROUNDS; round++) {
        prepare(&w, &select, round);
        for (int i = 0; i < PARTS; i++) {
            sem_post(&parts[i].go);
        }
        play_owners(&w);
        set_over(&w);
        for (int i = 0; i < PARTS; i++) {
            sem_wait(&parts[i].done);
        }
        fake_select_settle(&select);
        check(&w);
        answers += w.answers, verdicts += w.verdicts, abandoned += w.abandoned, cut += w.cut, lost += w.lost;
    }
    atomic_store(&shared, NULL);
    for (int i = 0; i < PARTS; i++) {
        part_end(&parts[i]);
    }
    fake_select_end(&select);
    print_message("%d answers, %d verdicts, %d abandoned; %d cut, %d lost\n", answers, verdicts, abandoned, cut, lost);
    assert_true(answers > 0 && verdicts > 0 && abandoned > 0 && cut > 0 && lost > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(everybody_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
