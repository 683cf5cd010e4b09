/* See stay.h; and longest_stay/1. */

#include "stay.h"

#include <time.h>

#include "atoms.h"

static int64_t processor_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t pc_stay_begin(ErlNifEnv *env) {
    return atomic_load_explicit(&pc_nif_state(env)->watches_stays, memory_order_relaxed) ? processor_ns() : 0;
}

void pc_stay_end(ErlNifEnv *env, int64_t begin) {
    if (__builtin_expect(begin == 0, 1)) {
        return;
    }
    int64_t stay = processor_ns() - begin;
    atomic_llong *longest = &pc_nif_state(env)->longest_stay;
    long long so_far = atomic_load(longest);
    while (stay > so_far && !atomic_compare_exchange_weak(longest, &so_far, stay)) {}
}

/* The longest since the last time, in nanoseconds; true goes on measuring, false stops. */
ERL_NIF_TERM nif_longest_stay(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_nif_state *state = pc_nif_state(env);
    if (argv[0] != am_true && argv[0] != am_false) {
        return enif_make_badarg(env);
    }
    atomic_store(&state->watches_stays, argv[0] == am_true);
    return enif_make_int64(env, atomic_exchange(&state->longest_stay, 0));
}
