#ifndef PC_PYTHON_BLOCKS_H
#define PC_PYTHON_BLOCKS_H

/*
 * Memory that an array can be made in and handed to the VM as it is (pitcrew.empty, pitcrew.give): in a segment of our own, or, where there
 * is none to be had, of this process alone. It stays until the block is deallocated, also when the VM has had it and let go of it: so
 * nothing else is ever written where an array of the user's still points to. A child that a tool forks does not have it.
 */

#include <stdbool.h>

#include "core.h"
#include "wire/segment.h"

/* Adds the type to the module. */
int pc_blocks_init(PyObject *module);

/*
 * Module function block(n) -> Block, which exports a buffer and has one method, give(address, n): the first n bytes, whose address that is, are
 * complete, and from now on only read. ValueError if they are not, or have been given.
 */
PyObject *pc_block_new(PyObject *module, PyObject *size);

bool pc_block_is(PyObject *object);

/* The segment, and how much of it is to be sent. False if it is in none, or so little that it is better copied. */
bool pc_block_name(PyObject *block, struct pc_segment_name *name);

/* It becomes a part of an answer; an EncodeError if it has been one. And what has become of that. */
int pc_block_begin(PyObject *block);
void pc_block_end(PyObject *block, bool complete);

#endif
