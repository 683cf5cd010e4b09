/* Two direct-mapped tables. A slot owns what it holds; nobody else frees it. */

#include "names.h"

#include <string.h>

#include "text.h"
#include "types.h"

enum { SLOTS = 1024, LONGEST = 32 };

static PyObject *strs[SLOTS];
static PyObject *atoms[SLOTS];

static inline uint64_t load(const uint8_t *bytes, size_t width) {
    uint64_t word = 0;
    memcpy(&word, bytes, width);
    return word;
}

/* Looks at the ends and the length alone: names that differ only in between share a slot, and nothing worse. */
static uint32_t slot_of(const uint8_t *bytes, uint32_t n) {
    uint64_t mix = n;
    if (n >= 8) {
        mix ^= load(bytes, 8) + load(bytes + n - 8, 8) * UINT64_C(0x9e3779b97f4a7c15);
    } else if (n >= 4) {
        mix ^= load(bytes, 4) << 32 | load(bytes + n - 4, 4);
    } else if (n > 0) {
        mix ^= (uint64_t)bytes[0] << 32 | (uint64_t)bytes[n / 2] << 16 | (uint64_t)bytes[n - 1] << 8;
    }
    mix *= UINT64_C(0xff51afd7ed558ccd);
    return (uint32_t)(mix >> 40) % SLOTS;
}

/* Only compact ASCII goes into the tables. */
static inline int holds(PyObject *text, const uint8_t *bytes, uint32_t n) {
    if (text == NULL || PyUnicode_GET_LENGTH(text) != (Py_ssize_t)n) {
        return 0;
    }
    const uint8_t *kept = PyUnicode_DATA(text);
    if (n >= 8) {
        return load(kept, 8) == load(bytes, 8) && load(kept + n - 8, 8) == load(bytes + n - 8, 8) &&
               (n <= 16 || memcmp(kept + 8, bytes + 8, n - 16) == 0);
    }
    return memcmp(kept, bytes, n) == 0;
}

static PyObject *make(const uint8_t *utf8, uint32_t n, int atom) {
    PyObject *text = pc_text_new(utf8, n, NULL);
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
