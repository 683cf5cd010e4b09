#ifndef PC_PYTHON_TURN_H
#define PC_PYTHON_TURN_H

/*
 * Whose turn it is: which call runs, and which ones the VM has cancelled before theirs came (docs/protocol.md section 4). The serve
 * loop and the side thread decide about a call at the same moment in only one way: either it has begun, or it never will.
 *
 * No Python here. "Serve loop" is the thread that opened the turn; "side thread" is the other one. Not for a process that a tool
 * forked: the lock may be held there by a thread that is not.
 */

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What interrupts a call. Ignored by default, so it cannot end a program that the worker has become by exec; like every signal
 * that is sent to a thread it reaches no child; and hardly anything uses it (TCP's urgent data, the scheduler of Go).
 */
enum { PC_TURN_SIGNAL = SIGURG };

enum { PC_TURN_MOST_OUTER = 65 };     /* calls that wait for one on top of them */
enum { PC_TURN_MOST_WAITING = 1024 }; /* calls that are cancelled before their turn */

enum pc_turn_state {
    PC_TURN_UNSTARTED, /* it had not begun, and never will */
    PC_TURN_STARTED,   /* it runs, and was interrupted if it can be */
    PC_TURN_RUNNING,   /* it runs, and goes on */
    PC_TURN_ENDED,     /* it had begun, or a later one had, and does not run any more */
    PC_TURN_FULL,      /* it had not begun, but so many wait already: nothing was changed */
    PC_TURN_HELD, /* it runs, and nobody has come to raise the interrupt of before: something holds the GIL. Only with many */
};

/* ---- The serve loop */

/* No call runs. With `signals` the calling thread can be interrupted: it has a handler for PC_TURN_SIGNAL. */
void pc_turn_open(bool signals);

/* The call begins; false if it must not, and then it has not. Ids grow. Two atomics where nobody cancels anything. */
bool pc_turn_begin(uint64_t id);

/* It has ended. A signal that was meant for it has been sent by now. */
void pc_turn_end(void);

/*
 * The call that runs waits, and one that begins then runs on top of it; and goes on. Whoever cancels a call that waits so interrupts what runs on top, and then that call, when
 * it goes on.
 */
void pc_turn_suspend(void);
void pc_turn_resume(void);

/* In the signal's handler, but not in the kernel's: takes the interrupt that was asked for; whether it is for the call that runs. */
bool pc_turn_interrupted(void);

/* ---- The same where many calls run at once. Whoever calls these holds the GIL, so none of them comes between another's steps. */

enum { PC_TURN_MOST = 1024 }; /* calls that run, whether they wait or not; for whoever has them begin to see to */

/*
 * `wake` is called by the side thread when pc_turn_take_interrupts has something new. The thread that opens is the only one
 * that can be interrupted by the signal, during pc_turn_step.
 */
void pc_turn_open_many(bool signals, void (*wake)(void));

/* Begins, as pc_turn_begin; and ends: whoever interrupts it afterwards is told so. */
bool pc_turn_join(uint64_t id);
void pc_turn_leave(uint64_t id);

/* Calls that the caller must interrupt, at most PC_TURN_MOST; they are told once. Not those that the signal was sent for. */
size_t pc_turn_take_interrupts(uint64_t *ids);

/* The thread that opened goes on with one of the calls, until pc_turn_step is called with what this returns. */
uint64_t pc_turn_step(uint64_t id);
/* Whether an interrupt was on its way to that step and will not come any more, the thread having left the call. */
bool pc_turn_missed(uint64_t id);
/* Sends the signal if the step goes on. */
void pc_turn_signal(uint64_t id);

/* ---- The side thread */

/* The call that runs, of many the oldest; or 0. */
uint64_t pc_turn_running(void);

/* Cancels; a call that runs only if it is to be interrupted. */
enum pc_turn_state pc_turn_cancel(uint64_t id, bool interrupts);

/*
 * Has the serve loop look up from its wait for the next call, if it waits: it handles a signal that means nothing. A call that runs, or
 * begins just now, is not disturbed. It may come to nothing. With many calls the attendant is woken instead.
 */
void pc_turn_nudge(void);

/*
 * A signal that comes just before a system call does not end that call. So it is repeated until the interrupt has been taken:
 * milliseconds until pc_turn_remind must be called, or -1 for never.
 */
int pc_turn_patience(void);
void pc_turn_remind(void);

#endif
