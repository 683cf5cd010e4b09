#ifndef PC_PYTHON_ARGV_H
#define PC_PYTHON_ARGV_H

/* A command line as execve wants it. */

#include "core.h"

/* From a list of str; *argv stays NULL for None. What it holds after a failure is freed all the same. */
int pc_argv_read(PyObject *list, char ***argv);
void pc_argv_free(char **argv);

#endif
