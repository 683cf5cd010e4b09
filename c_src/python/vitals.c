/*
 * See vitals.h. Atomics only: neither side waits for the other. What has been done is written before it is counted, and not written again
 * before the side thread, which has told of it then, asks once more; so it needs no lock.
 */

#include "vitals.h"

#include <stdatomic.h>
#include <string.h>

#include "os/os.h"
#include "wire/clock.h"

static pc_vitals_poke poke;
static atomic_bool poked;          /* the main thread was asked to come by, and has not */
static int64_t asked_ns;           /* since when the call `asked_for` has not come back; the side thread's */
static uint64_t asked_for;         /* its too */
static atomic_uint due;            /* set by the side thread, cleared by the main one */
static atomic_uint_fast64_t limit; /* bytes; written before `due` */

/* What was done of one kind. */
struct work {
    atomic_uint_fast64_t count;            /* how often */
    uint64_t told;                         /* how often as far as the VM knows; the side thread's */
    struct pc_vitals_step steps[PC_STEPS]; /* the last time; written before `count`, and read when that has grown */
};

static struct work trims, collects;
static atomic_uint_fast64_t after_trim; /* bytes; written before the trims are counted */

static void reset(struct work *w) {
    atomic_store(&w->count, 0);
    w->told = 0;
}

void pc_vitals_open(pc_vitals_poke function) {
    poke = function;
    asked_for = 0;
    atomic_store(&poked, false);
    atomic_store(&due, 0);
    atomic_store(&limit, 0);
    atomic_store(&after_trim, 0);
    reset(&trims);
    reset(&collects);
}

/* ---- The main thread */

void pc_vitals_back(void) { atomic_store(&poked, false); }

unsigned pc_vitals_due(void) { return atomic_load_explicit(&due, memory_order_acquire); }

uint64_t pc_vitals_limit(void) { return atomic_load(&limit); }

static void finish(struct work *w, unsigned what) {
    atomic_fetch_add(&w->count, 1);
    atomic_fetch_and(&due, ~what);
}

void pc_vitals_trimmed(const struct pc_vitals_step steps[PC_STEPS]) {
    memcpy(trims.steps, steps, sizeof trims.steps);
    atomic_store(&after_trim, steps[PC_STEP_TRIM].after);
    finish(&trims, PC_ASK_TRIM);
}

void pc_vitals_collected(const struct pc_vitals_step *step) {
    collects.steps[0] = *step;
    finish(&collects, PC_ASK_COLLECT);
}

/* ---- The side thread */

/* Milliseconds. The first ping that finds a call running only asks; so a quick call never pays for that. */
static int64_t in_c(uint64_t started) {
    int64_t now = pc_clock_ns();
    bool away = started != 0 && started == asked_for && atomic_load(&poked);
    if (!away) {
        asked_ns = now;
        asked_for = started;
        if (started != 0 && !atomic_exchange(&poked, true) && !poke()) {
            atomic_store(&poked, false);
        }
    }
    return away ? (now - asked_ns) / 1000000 : 0;
}

/* Whether the main thread has to be told; else it has done so already, and the VM does not know yet. */
static bool want(const struct work *w, uint64_t done, unsigned what) {
    bool new = done == w->told;
    if (new) {
        atomic_fetch_or(&due, what);
    }
    return new;
}

static void write_step(struct pc_writer *w, const char *name, const struct pc_vitals_step *step) {
    enum { FIELDS = 5 };
    pc_write_array(w, FIELDS);
    pc_write_cstr(w, name);
    pc_write_uint(w, step->before);
    pc_write_uint(w, step->after);
    pc_write_int(w, step->ns);
    if (step->objects < 0) {
        pc_write_nil(w);
    } else {
        pc_write_int(w, step->objects);
    }
}

/* How often, what was left the last time, and, if that is news, by which steps. */
static void write_trims(struct pc_writer *w, uint64_t done) {
    static const char *const names[PC_STEPS] = {"hooks", "collect", "trim"};
    uint32_t n = 0;
    for (size_t i = 0; done != trims.told && i < PC_STEPS; i++) {
        n += trims.steps[i].done;
    }
    pc_write_cstr(w, "trims");
    pc_write_uint(w, done);
    pc_write_cstr(w, "trimmed");
    pc_write_uint(w, atomic_load(&after_trim));
    pc_write_cstr(w, "steps");
    pc_write_array(w, n);
    for (size_t i = 0; n > 0 && i < PC_STEPS; i++) {
        if (trims.steps[i].done) {
            write_step(w, names[i], &trims.steps[i]);
        }
    }
    trims.told = done;
}

static void write_collects(struct pc_writer *w, uint64_t done) {
    pc_write_cstr(w, "collects");
    pc_write_uint(w, done);
    pc_write_cstr(w, "collected");
    if (done == collects.told) {
        pc_write_nil(w);
    } else {
        write_step(w, "collect", &collects.steps[0]);
    }
    collects.told = done;
}

bool pc_vitals_answer(struct pc_writer *w, uint64_t asks, uint64_t most, uint64_t started) {
    uint64_t bytes = 0;
    bool time = (asks & PC_ASK_IN_C) != 0, memory = (asks & PC_ASK_MEMORY) != 0;
    bool trim = (asks & PC_ASK_TRIM) != 0, collect = (asks & PC_ASK_COLLECT) != 0, trims_too = memory || trim;
    bool known = memory && pc_os_private_memory(&bytes) == 0;
    /* Looked at once: what is done from here on is told the next time. */
    uint64_t trimmed = atomic_load(&trims.count), collected = atomic_load(&collects.count);
    bool wake = false;
    if (trim) {
        atomic_store(&limit, most);
        wake = want(&trims, trimmed, PC_ASK_TRIM);
    }
    if (collect) {
        wake = want(&collects, collected, PC_ASK_COLLECT) || wake;
    }
    pc_write_map(w, 1U + (time ? 1U : 0U) + (trims_too ? 3U : 0U) + (collect ? 2U : 0U) + (known ? 1U : 0U));
    pc_write_cstr(w, "started");
    pc_write_uint(w, started);
    if (time) {
        pc_write_cstr(w, "in_c_ms");
        pc_write_int(w, in_c(started));
    }
    if (trims_too) {
        write_trims(w, trimmed);
    }
    if (collect) {
        write_collects(w, collected);
    }
    if (known) {
        pc_write_cstr(w, "private");
        pc_write_uint(w, bytes);
    }
    return wake;
}
