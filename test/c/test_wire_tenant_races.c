/*
 * Tenants raced without a VM: callers that share lanes, wait for one of their own, call through them and end them while calls wait and are out,
 * beside calls for any lane; and a worker for each lane, which answers what it reads. Each call ends once, nothing is lost, and nobody gets into a
 * lane that somebody has for himself. Under ThreadSanitizer: make -C c_src races.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "fake_lanes.h"
#include "wire/tenant.h"

enum { LANES = 3, CALLERS = 6, ROUNDS = 300, BATCH = 4 };

/* cmocka's assertions are for one thread. */
#define demand(truth)                                                                                                  \
    do {                                                                                                               \
        if (!(truth)) {                                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth);                                                \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static struct pc_dispatch d;
static struct fake_lane lanes[LANES];
static _Atomic(struct pc_tenant *) lords[LANES]; /* who has a lane for himself */
static atomic_int answered, ended, reserved, shared, refused;
static sem_t stops;

struct job {
    struct pc_call call; /* first, so that one is the other */
    sem_t over;
    atomic_int ends;
};

struct caller {
    struct pc_owner owner;
    pthread_t thread;
    unsigned seed;
    struct job jobs[BATCH];
};

static struct caller callers[CALLERS];

/* Released by whoever comes last; the channels outlive everything here. */
static void keep(void *channel) { (void)channel; }

static const struct pc_lane_ops ops = {.keep = keep, .release = keep, .close = NULL};
static const struct pc_lane_actor actor = {.ops = &ops, .env = NULL};

static void end_job(struct pc_call *call) {
    struct job *job = (struct job *)call;
    demand(atomic_fetch_add(&job->ends, 1) == 0);
    sem_post(&job->over);
}

static void end_list(struct pc_call *list) {
    struct pc_call *next;
    for (struct pc_call *call = list; call != NULL; call = next) {
        next = call->next;
        free(call->body.data);
        atomic_fetch_add(&ended, 1);
        end_job(call);
    }
}

/* Where the socket is full, its worker flushes again behind each of the calls that it reads from there. */
static void send_on(struct pc_lane *lane) {
    demand(pc_lane_flush(lane, false) != PC_IO_EOF);
    pc_lane_unpin(lane, actor);
}

static void settle(void) {
    struct pc_lane *lane;
    while (pc_dispatch_is_unsettled(&d) && (lane = pc_dispatch_settle(&d, 0, actor)) != NULL) {
        send_on(lane);
    }
}

static void flush(struct pc_lane *lane) {
    send_on(lane);
    settle();
}

/* ---- Workers */

static bool read_all(int fd, uint8_t *to, size_t n) {
    for (size_t got = 0; got < n;) {
        ssize_t some = read(fd, to + got, n - got);
        if (some <= 0) {
            return false;
        }
        got += (size_t)some;
    }
    return true;
}

static void answer(struct fake_lane *l, uint64_t id) {
    bool left, known;
    struct pc_call *call = pc_lane_take(&l->lane, id, PC_MESSAGEPACK, 0, &left, &known);
    demand(call != NULL && !left);
    const struct pc_tenant *lord = atomic_load(&lords[l->lane.index]);
    demand(lord == NULL || call->tenant == lord);
    atomic_fetch_add(&answered, 1);
    end_job(call);
    if (pc_lane_pin(&l->lane, actor)) {
        flush(&l->lane);
    }
}

static void *work(void *argument) {
    struct fake_lane *l = argument;
    uint8_t header[PC_FRAME_HEADER], payload[256];
    while (read_all(l->peer, header, sizeof header)) {
        uint32_t n = pc_frame_length(header), count;
        struct pc_reader r;
        int64_t kind;
        uint64_t id;
        demand(n <= sizeof payload && read_all(l->peer, payload, n));
        pc_reader_init(&r, payload, n);
        demand(pc_read_array(&r, &count) == PC_OK && pc_read_int(&r, &kind) == PC_OK && pc_read_uint(&r, &id) == PC_OK);
        answer(l, id);
    }
    return NULL;
}

/* ---- Callers */

/* Whether the call will end. */
static bool submit(struct caller *c, unsigned i, struct pc_tenant *t) {
    struct job *job = &c->jobs[i];
    uint8_t fields[] = {0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0};
    struct pc_body body = {.data = fields, .n = sizeof fields, .owned = false};
    struct pc_lane *lane;
    memset(&job->call, 0, sizeof job->call);
    atomic_store(&job->ends, 0);
    job->call.tenant = t;
    job->call.target = t == NULL ? NULL : pc_tenant_lane(t);
    switch (pc_dispatch_submit(&d, c->owner.key, &job->call, &body, rand_r(&c->seed), actor, &lane)) {
    case PC_SUBMIT_OUT:
        flush(lane);
        return true;
    case PC_SUBMIT_READY:
    case PC_SUBMIT_QUEUED:
        return true;
    case PC_SUBMIT_GONE:
        atomic_fetch_add(&refused, 1);
        return false;
    default:
        demand(false);
        return false;
    }
}

static void wait_for(struct caller *c, unsigned i) {
    while (sem_wait(&c->jobs[i].over) < 0) {}
}

static void end_tenant(struct pc_tenant *t) {
    struct pc_lane *lane = pc_tenant_lane(t);
    end_list(pc_tenant_end(t));
    if (lane != NULL && pc_lane_nudge(lane, 0, actor)) {
        flush(lane);
    } else {
        settle();
    }
}

static void share(struct caller *c) {
    struct pc_tenant t;
    bool comes[BATCH];
    pc_tenant_init(&t, &d, 1, false, keep);
    if (!pc_tenant_share(&t, &lanes[(unsigned)rand_r(&c->seed) % LANES].lane)) {
        return;
    }
    atomic_fetch_add(&shared, 1);
    if (pc_lane_nudge(pc_tenant_lane(&t), 0, actor)) {
        flush(pc_tenant_lane(&t));
    }
    for (unsigned i = 0; i < BATCH; i++) {
        comes[i] = submit(c, i, &t);
        if (i == BATCH / 2 && rand_r(&c->seed) % 2 == 0) {
            end_tenant(&t);
        }
    }
    for (unsigned i = 0; i < BATCH; i++) {
        if (comes[i]) {
            wait_for(c, i);
        }
    }
    end_tenant(&t);
    demand(!pc_tenant_is_busy(&t));
}

static void reserve(struct caller *c) {
    struct pc_tenant t;
    pc_tenant_init(&t, &d, 1, true, keep);
    demand(submit(c, 0, &t));
    if (rand_r(&c->seed) % 4 == 0) { /* perhaps while it waits */
        end_tenant(&t);
        wait_for(c, 0);
        return;
    }
    wait_for(c, 0);
    struct pc_lane *lane = pc_tenant_lane(&t);
    demand(lane != NULL && atomic_exchange(&lords[lane->index], &t) == NULL);
    atomic_fetch_add(&reserved, 1);
    for (unsigned i = 1; i < BATCH; i++) {
        demand(submit(c, i, &t));
    }
    for (unsigned i = 1; i < BATCH; i++) {
        wait_for(c, i);
    }
    demand(atomic_exchange(&lords[lane->index], NULL) == &t);
    end_tenant(&t);
    demand(!pc_tenant_is_busy(&t));
}

static void call_any(struct caller *c) {
    demand(submit(c, 0, NULL));
    wait_for(c, 0);
}

static void *call(void *argument) {
    struct caller *c = argument;
    for (unsigned i = 0; i < ROUNDS; i++) {
        switch (rand_r(&c->seed) % 4) {
        case 0:
            share(c);
            break;
        case 1:
            reserve(c);
            break;
        default:
            call_any(c);
            break;
        }
    }
    sem_post(&stops);
    return NULL;
}

static void race(unsigned depth) {
    pthread_t workers[LANES];
    demand(pc_dispatch_init(&d, depth, 1, false));
    demand(sem_init(&stops, 0, 0) == 0);
    for (unsigned i = 0; i < LANES; i++) {
        fake_lane_init(&lanes[i], &d, i);
        demand(pc_lane_open(&lanes[i].lane, 0, false, 0, actor));
        pc_lane_unpin(&lanes[i].lane, actor);
        demand(pthread_create(&workers[i], NULL, work, &lanes[i]) == 0);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        struct caller *c = &callers[i];
        c->owner.key = 100 + i;
        c->seed = depth * 1000 + i;
        demand(pc_dispatch_meet(&d, &c->owner) == NULL);
        for (unsigned j = 0; j < BATCH; j++) {
            demand(sem_init(&c->jobs[j].over, 0, 0) == 0);
        }
        demand(pthread_create(&c->thread, NULL, call, c) == 0);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
    }
    struct pc_dispatch_counts n;
    pc_dispatch_count(&d, &n);
    assert_true(n.lanes == LANES && n.idle == LANES && n.out == 0 && n.queued == 0);
    for (unsigned i = 0; i < LANES; i++) {
        assert_int_equal(lanes[i].lane.tenants, 0);
        assert_false(lanes[i].lane.reserved);
        assert_int_equal(shutdown(lanes[i].lane.fd, SHUT_RDWR), 0);
        pthread_join(workers[i], NULL);
        pc_lane_stop(&lanes[i].lane);
        pc_lane_destroy(&lanes[i].lane);
        close(lanes[i].lane.fd);
        close(lanes[i].peer);
    }
    while (pc_dispatch_part_any(&d) != NULL) {}
    pc_dispatch_destroy(&d);
}

static void everybody_at_once(void **state) {
    (void)state;
    race(1);
    race(4);
    print_message("%d answered, %d ended, %d refused; %d lanes reserved, %d shared\n", answered, ended, refused,
                  reserved, shared);
    assert_true(answered > 0 && ended > 0 && refused > 0 && reserved > 0 && shared > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(everybody_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
