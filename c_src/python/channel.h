#ifndef PC_PYTHON_CHANNEL_H
#define PC_PYTHON_CHANNEL_H

/* Whole frames over a socket, as a Python thread needs them: waits without the GIL, and runs signal handlers. */

#include "core.h"
#include "wire/io.h"
#include "wire/spin.h"

/* 1: *payload is borrowed until pc_inbox_consume. 0: end of file. -1: exception. May poll, as `spin` says, before it sleeps. */
int pc_channel_next(struct pc_inbox *in, int fd, size_t max_frame, struct pc_spin *spin, const uint8_t **payload,
                    size_t *n);

/* The first frame, of which part of the header may be in the inbox. Nothing behind it is taken from the socket. */
int pc_channel_next_alone(struct pc_inbox *in, int fd, size_t max_frame, const uint8_t **payload, size_t *n);

/* Until there is something to read, or a signal handler has run. 0 or -1. */
int pc_channel_wait_input(int fd);

/* Until the socket takes more, or a signal handler has run. 0 or -1. */
int pc_channel_wait_room(int fd);

/* Writes everything. 1: written. 0: the other end is gone. -1: exception. */
int pc_channel_flush(struct pc_outbox *out, int fd);

/*
 * Module functions: connect(path, token, role) -> fd; write_frame(fd, frame), which is a list or what encode() has made of one.
 */
PyObject *pc_channel_connect(PyObject *module, PyObject *args);
PyObject *pc_channel_write_frame(PyObject *module, PyObject *args);

#endif
