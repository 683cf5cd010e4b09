/* See send.h. A thread that is no scheduler may send in nobody's name; it is waited for, so it outlives nothing. */

#include "nif/send.h"

#include <sched.h>
#include <stdbool.h>

enum { MOST_TRIES = 100 };

struct letter {
    ErlNifPid to;
    ErlNifEnv *env;
    ERL_NIF_TERM message;
};

static void *deliver(void *object) {
    struct letter *letter = object;
    (void)enif_send(NULL, &letter->to, letter->env, letter->message);
    return NULL;
}

static bool is_for_the_dead(ErlNifEnv *env) {
    int type = enif_thread_type();
    return (type == ERL_NIF_THR_DIRTY_CPU_SCHEDULER || type == ERL_NIF_THR_DIRTY_IO_SCHEDULER) &&
           !enif_is_current_process_alive(env);
}

void pc_send(ErlNifEnv *env, const ErlNifPid *to, ErlNifEnv *message_env, ERL_NIF_TERM message) {
    struct letter letter = {.to = *to, .env = message_env, .message = message};
    if (!enif_send(env, &letter.to, message_env, message) && is_for_the_dead(env)) {
        ErlNifTid thread;
        int tries = 0;
        while (enif_thread_create((char *)"pitcrew_send", &thread, deliver, &letter, NULL) != 0) {
            if (++tries == MOST_TRIES) {
                break; /* no threads are to be had: the machine has other troubles */
            }
            (void)sched_yield();
        }
        if (tries < MOST_TRIES) {
            (void)enif_thread_join(thread, NULL);
        }
    }
    enif_free_env(message_env);
}
