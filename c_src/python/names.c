/* Two direct-mapped tables. A slot owns what it holds; nobody else frees it. */

#include "names.h"

#include <string.h>

#include "types.h"

enum { SLOTS = 512, LONGEST = 32 };

static PyObject *strs[SLOTS];
static PyObject *atoms[SLOTS];

static uint32_t slot_of(const uint8_t *bytes, uint32_t n) {
    uint32_t hash = UINT32_C(2166136261); /* FNV-1a */
    for (uint32_t i = 0; i < n; i++) {
        hash = (hash ^ bytes[i]) * UINT32_C(16777619);
    }
    return (hash ^ hash >> 16) % SLOTS;
}

static int holds(PyObject *text, const uint8_t *bytes, uint32_t n) {
    return text != NULL && PyUnicode_GET_LENGTH(text) == (Py_ssize_t)n && memcmp(PyUnicode_DATA(text), bytes, n) == 0;
}

static PyObject *make(const uint8_t *utf8, uint32_t n, int atom) {
    PyObject *text = PyUnicode_DecodeUTF8((const char *)utf8, (Py_ssize_t)n, "strict");
    if (text == NULL || !atom) {
        return text;
    }
    PyObject *made = PyObject_CallOneArg((PyObject *)&pc_Atom_Type, text);
    Py_DECREF(text);
    return made;
}

static PyObject *get(PyObject **table, const uint8_t *utf8, uint32_t n, int atom) {
    if (n > LONGEST) {
        return make(utf8, n, atom);
    }
    PyObject **slot = &table[slot_of(utf8, n)];
    if (holds(*slot, utf8, n)) {
        return Py_NewRef(*slot);
    }
    PyObject *text = make(utf8, n, atom);
    if (text != NULL && PyUnicode_IS_ASCII(text)) {
        Py_XSETREF(*slot, Py_NewRef(text));
    }
    return text;
}

PyObject *pc_name_get(const uint8_t *utf8, uint32_t n) { return get(strs, utf8, n, 0); }

PyObject *pc_name_get_atom(const uint8_t *utf8, uint32_t n) { return get(atoms, utf8, n, 1); }
