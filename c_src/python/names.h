#ifndef PC_PYTHON_NAMES_H
#define PC_PYTHON_NAMES_H

/*
 * Short ASCII strings and atoms that were decoded before: map keys and keyword names repeat from call to call, and a str
 * that is found again needs no memory and has its hash already. A fixed number of slots, last one in wins.
 */

#include <stdint.h>

#include "core.h"

/* A str. UnicodeDecodeError if the bytes are not UTF-8. */
PyObject *pc_name_get(const uint8_t *utf8, uint32_t n);

/* The same as an Atom. */
PyObject *pc_name_get_atom(const uint8_t *utf8, uint32_t n);

#endif
