/* See vitals.h. Atomics only: neither side waits for the other. */

#include "vitals.h"

#include <stdatomic.h>

#include "os/os.h"
#include "wire/clock.h"

static pc_vitals_poke poke;
static atomic_bool poked;               /* the main thread was asked to come by, and has not */
static int64_t asked_ns;                /* since when the call `asked_for` has not come back; the side thread's */
static uint64_t asked_for;              /* its too */
static atomic_bool trim_due;            /* set by the side thread, cleared by the main one */
static atomic_uint_fast64_t trims;      /* how many there have been */
static uint64_t told;                   /* how many the VM knows of; the side thread's */
static atomic_uint_fast64_t after_trim; /* bytes; written before `trims` */

void pc_vitals_open(pc_vitals_poke function) {
    poke = function;
    asked_for = told = 0;
    atomic_store(&poked, false);
    atomic_store(&trim_due, false);
    atomic_store(&trims, 0);
    atomic_store(&after_trim, 0);
}

/* ---- The main thread */

void pc_vitals_back(void) { atomic_store(&poked, false); }

bool pc_vitals_trim_due(void) { return atomic_load_explicit(&trim_due, memory_order_relaxed); }

void pc_vitals_trimmed(void) {
    uint64_t bytes = 0; /* 0: not known */
    (void)pc_os_private_memory(&bytes);
    atomic_store(&after_trim, bytes);
    atomic_fetch_add(&trims, 1);
    atomic_store(&trim_due, false);
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

bool pc_vitals_answer(struct pc_writer *w, uint64_t asks, uint64_t started) {
    uint64_t bytes = 0;
    bool time = (asks & PC_ASK_IN_C) != 0, memory = (asks & PC_ASK_MEMORY) != 0;
    bool trims_too = (asks & (PC_ASK_MEMORY | PC_ASK_TRIM)) != 0;
    bool known = memory && pc_os_private_memory(&bytes) == 0;
    uint64_t done = atomic_load(&trims);
    bool wake = (asks & PC_ASK_TRIM) != 0 && done == told; /* else it is done, and the VM does not know yet */
    if (wake) {
        atomic_store(&trim_due, true);
    }
    pc_write_map(w, 1U + (time ? 1U : 0U) + (trims_too ? 2U : 0U) + (known ? 1U : 0U));
    pc_write_cstr(w, "started");
    pc_write_uint(w, started);
    if (time) {
        pc_write_cstr(w, "in_c_ms");
        pc_write_int(w, in_c(started));
    }
    if (trims_too) {
        pc_write_cstr(w, "trims");
        pc_write_uint(w, done);
        told = done;
        pc_write_cstr(w, "trimmed");
        pc_write_uint(w, atomic_load(&after_trim));
    }
    if (known) {
        pc_write_cstr(w, "private");
        pc_write_uint(w, bytes);
    }
    return wake;
}
