#ifndef PC_PYTHON_TWINS_H
#define PC_PYTHON_TWINS_H

/*
 * Keys of a map and elements of a set that differ in Python and would be one term in the VM, where one of them would be lost: "a" and
 * b"a", None and Atom("nil"), two NaNs. Kinds are noted while keys are written, which costs little; only what may hold twins
 * is looked at again.
 */

#include "encoder.h"

struct pc_twins {
    bool text, bytes, other;
};

/* Whether a key that is neither str nor bytes is unequal to every other key in the VM as it is in Python. */
bool pc_twins_has_none(PyObject *key);

static inline void pc_twins_note(struct pc_twins *t, PyObject *key) {
    if (PyUnicode_CheckExact(key)) {
        t->text = true;
    } else if (PyBytes_CheckExact(key)) {
        t->bytes = true;
    } else {
        t->other |= !pc_twins_has_none(key);
    }
}

static inline bool pc_twins_possible(const struct pc_encoder *e, const struct pc_twins *t) {
    return (t->other || (t->text && t->bytes)) && !e->opts->plain;
}

/* -1 with an EncodeError that names two of the keys in the list, or with what Python raised. `what` is "keys" or "elements". */
int pc_twins_refuse(const struct pc_encoder *e, PyObject *keys, const char *what);

#endif
