/* What is done for the side thread, which must not wait for the GIL: the attendant does it, as soon as it has that. */

#include "attendant.h"
#include "crowd.h"
#include "crowd_function.h"
#include "crowd_stream.h"
#include "driver.h"
#include "turn.h"
#include "vitals.h"

static void interrupt(struct pc_call *call) {
    PyObject *driver = call->driver;
    if (driver != NULL && pc_driver_steps(driver)) {
        pc_turn_signal(call->q.from.id);
    } else if (driver != NULL) {
        Py_INCREF(driver); /* the call may end while the loop is told */
        if (pc_driver_interrupt(driver, false) < 0) {
            PyErr_Clear();
        }
        Py_DECREF(driver);
    } else {
        call->interrupts++;
        if (call->thread != 0) {
            (void)PyThreadState_SetAsyncExc(call->thread, pc_Cancelled);
            pc_crowd_stream_ring(call);
            pc_crowd_function_ring(call);
        }
    }
}

bool pc_crowd_poke(void) {
    pc_attendant_wake();
    return true;
}

void pc_crowd_attend(void *crowd) {
    struct pc_crowd *c = crowd;
    pc_vitals_back();
    if (pc_vitals_due() != 0) {
        pc_crowd_ring(c);
    }
    uint64_t ids[PC_TURN_MOST];
    size_t n = pc_turn_take_interrupts(ids);
    for (size_t i = 0; i < n; i++) {
        struct pc_call *call = pc_crowd_find(c, ids[i]);
        if (call != NULL) {
            interrupt(call);
        }
    }
}
