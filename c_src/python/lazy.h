#ifndef PC_PYTHON_LAZY_H
#define PC_PYTHON_LAZY_H

/*
 * Classes and functions of Python modules that are imported when the first value needs them, so that `import pitcrew` costs
 * nothing for types that nobody sends.
 */

#include "core.h"

enum pc_lazy {
    PC_LAZY_OPAQUE,
    PC_LAZY_EXT,
    PC_LAZY_TIMESTAMP,
    PC_LAZY_MAP,
    PC_LAZY_MAP_OF_PAIRS,
    PC_LAZY_TIME,
    PC_LAZY_DATETIME,
    PC_LAZY_MAKE_TIME,
    PC_LAZY_MAKE_DATETIME,
    PC_LAZY_MAKE_ZONED,
    PC_LAZY_DESCRIBE_ZONE,
    PC_LAZY_TENSOR,
    PC_LAZY_GIVEN,
    PC_LAZY_DESCRIBE_TENSOR,
    PC_LAZY_MAKE_TENSOR,
    PC_LAZY_READ_JSON,
    PC_LAZY_ARROW,
    PC_LAZY_DUMP_ARROW,
    PC_LAZY_REF,
    PC_LAZY_DECIMAL,
    PC_LAZY_NUMPY_GENERIC,
    PC_LAZY_NUMPY_ARRAY,
    PC_LAZY_ARROW_TABLE,
    PC_LAZY_ARROW_BATCH,
    PC_LAZY_PANDAS_FRAME,
    PC_LAZY_POLARS_FRAME,
    PC_LAZY_LOOP,
    PC_LAZY_INNER_LOOP,
    PC_LAZY_STREAM,
    PC_LAZY_WAIT_INPUT,
    PC_LAZY_EVENT,
    PC_LAZY_WAIT_EVENT,
    PC_LAZY_CANCELLED,
    PC_LAZY_CANCELLED_ERROR,
    PC_LAZY_START_HAND,
    PC_LAZY_MAKE_ELIXIR_ERROR,
    PC_LAZY_ITERATOR,
    PC_LAZY_BATCH_EACH,
    PC_LAZY_BATCH_AT_ONCE,
    PC_LAZY_EVENT_WORDS,
    PC_LAZY_EVENT_MEASUREMENTS,
    PC_LAZY_EVENT_METADATA,
    PC_LAZY_EVENT_RESERVED,
    PC_LAZY_EVENT_RESERVED_NUMBERS,
    PC_LAZY_TRACE_ATTACH,
    PC_LAZY_TRACE_DETACH,
    PC_LAZY_COUNT,
};

/* Borrowed, and never freed. Imports the module if need be. */
PyObject *pc_lazy_get(enum pc_lazy which);

/* Whether value is an instance of a class. A class whose module nobody has imported has none, and is not imported. -1 on error. */
int pc_lazy_is(PyObject *value, enum pc_lazy which);

#endif
