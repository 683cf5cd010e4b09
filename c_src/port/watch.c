/*
 * A zygote owes an exit for every worker whose pidfd says that it has died, and an answer for every fork that was asked for. Time is
 * counted in looks, not by the clock, so that a port that was itself held up (a frozen container) blames nobody for that;
 * and every packet begins the count anew, so that a slow machine with many deaths at once is no fault.
 */

#include "watch.h"

#include <signal.h>

#include "sweep.h"
#include "zygote.h"

/* Of one that is stopped; of one that runs, and may be short of a processor or of memory. A fork may take long, with hooks of the user's. */
enum { LOOK_MS = 250, LOOKS_STOPPED = 4, LOOKS_FOR_EXIT = 8, LOOKS_FOR_FORK = 40 };

enum debt { NONE, FORK, EXIT };

static enum debt debt_of(const struct pc_port *p, const struct pc_zygote *z) {
    enum debt debt = NONE;
    for (const struct pc_worker *w = p->workers; w != NULL; w = w->next) {
        if (w->zygote != z || w->done) {
            continue;
        }
        if (w->dead) {
            return EXIT;
        }
        debt = w->pid == 0 ? FORK : debt;
    }
    return debt;
}

static unsigned patience(const struct pc_zygote *z, enum debt debt) {
    return pc_sweep_stopped(z->pid) ? LOOKS_STOPPED : debt == FORK ? LOOKS_FOR_FORK : LOOKS_FOR_EXIT;
}

void pc_watch_heard(struct pc_zygote *z) {
    z->silent = 0;
    z->look_at = 0;
}

static void look(struct pc_port *p, struct pc_zygote *z, enum debt debt, int64_t now) {
    z->look_at = now + LOOK_MS;
    z->silent++;
    if (z->silent >= patience(z, debt)) {
        pc_output_note(&p->output, "pitcrew_port: zygote %u is killed: it does not %s", z->zid,
                       debt == EXIT ? "report that a worker has died" : "answer a request for a worker");
        pc_zygote_signal(z, SIGKILL);
        pc_watch_heard(z); /* and counted anew, should even that take long */
    }
}

void pc_watch_settle(struct pc_port *p, int64_t now) {
    for (struct pc_zygote *z = p->zygotes; z != NULL; z = z->next) {
        enum debt debt = z->ready && !z->ended && z->link >= 0 ? debt_of(p, z) : NONE;
        if (debt == NONE) {
            pc_watch_heard(z);
        } else if (z->look_at == 0) {
            z->look_at = now + LOOK_MS;
        } else if (now >= z->look_at) {
            look(p, z, debt, now);
        }
    }
}
