/* See process.h. */

#include "process.h"

#include <errno.h>

#include "buffers.h"
#include "limits.h"

PyObject *pc_process_limit(PyObject *module, PyObject *args) {
    (void)module;
    static const char *const names[] = {[PC_LIMIT_ADDRESS_SPACE] = "address_space",
                                        [PC_LIMIT_CPU] = "cpu",
                                        [PC_LIMIT_FILES] = "files",
                                        [PC_LIMIT_NICE] = "nice"};
    const char *name;
    unsigned long long value;
    if (!PyArg_ParseTuple(args, "sK:limit", &name, &value)) {
        return NULL;
    }
    for (int i = 0; i <= PC_LIMIT_NICE; i++) {
        if (strcmp(name, names[i]) == 0) {
            int error = pc_limit_set((enum pc_limit)i, value);
            if (error == 0) {
                return Py_NewRef(Py_None);
            }
            errno = -error;
            return PyErr_SetFromErrno(PyExc_OSError);
        }
    }
    return PyErr_Format(PyExc_ValueError, "there is no limit named %s", name);
}

PyObject *pc_process_open_buffers(PyObject *module, PyObject *args) {
    (void)module;
    int fd;
    unsigned long long most;
    if (!PyArg_ParseTuple(args, "iK:open_buffers", &fd, &most)) {
        return NULL;
    }
    int error = pc_buffers_open(fd, most > SIZE_MAX ? SIZE_MAX : (size_t)most);
    if (error != 0) {
        errno = -error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return Py_NewRef(Py_None);
}
