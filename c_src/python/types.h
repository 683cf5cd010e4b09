#ifndef PC_PYTHON_TYPES_H
#define PC_PYTHON_TYPES_H

/*
 * The Python types that stand for terms which Python has no type for.
 *
 * Atom        a str that equals and hashes like its text, and goes back as an atom
 * FrozenList  an immutable, hashable list: a list inside a map key; goes back as a list
 * FrozenDict  an immutable, hashable dict: a map inside a map key; goes back as a map
 */

#include "core.h"

extern PyTypeObject pc_Atom_Type;
extern PyTypeObject pc_FrozenList_Type;
extern PyTypeObject pc_FrozenDict_Type;

int pc_types_init(PyObject *module);

#endif
