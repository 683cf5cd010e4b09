#ifndef PC_PYTHON_PATH_H
#define PC_PYTHON_PATH_H

/*
 * Where in a value something went wrong. Costs nothing until then: the parts are pushed while the recursion unwinds,
 * innermost first, with the exception set.
 */

#include "core.h"

struct pc_path {
    PyObject *parts; /* list, innermost first; NULL while empty */
};

/* Both keep the exception that is set, whatever happens. */
void pc_path_push_index(struct pc_path *path, Py_ssize_t index);
void pc_path_push_key(struct pc_path *path, PyObject *key);

/* Forgets the parts; any time. */
void pc_path_clear(struct pc_path *path);

/*
 * Completes the exception that is set: an EncodeError or DecodeError, raised with its reason as the only argument, gets
 * `path`, `reason` and a message such as `result["x"][3]: …`, `root` being the first word. Others stay as they are. Clears the path.
 */
void pc_path_complete(struct pc_path *path, const char *root);

/* The same where there is no path. */
void pc_path_none(const char *root);

#endif
