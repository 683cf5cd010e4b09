/* pitcrew._core: the table of functions, and the constants. Each function is documented in the header of its file. */

#include "around.h"
#include "batch.h"
#include "blocks.h"
#include "channel.h"
#include "codec.h"
#include "codec/limits.h"
#include "context.h"
#include "converters.h"
#include "core.h"
#include "current.h"
#include "deadline.h"
#include "driver.h"
#include "events.h"
#include "function.h"
#include "hello.h"
#include "loans.h"
#include "logging.h"
#include "mark.h"
#include "process.h"
#include "refs.h"
#include "serve.h"
#include "session.h"
#include "text.h"
#include "types.h"
#include "unpacker.h"
#include "wire/kinds.h"
#include "zygote.h"

static PyMethodDef methods[] = {
    {"encode", pc_codec_encode, METH_O, "encode(value) -> bytes: one value as MessagePack, as in calls."},
    {"decode", pc_codec_decode, METH_O, "decode(data) -> object: one value, and nothing after it, as in calls."},
    {"packb", (PyCFunction)(void (*)(void))pc_codec_packb, METH_FASTCALL | METH_KEYWORDS,
     "packb(value, **options) -> bytes: see pitcrew.codec."},
    {"unpackb", (PyCFunction)(void (*)(void))pc_codec_unpackb, METH_FASTCALL | METH_KEYWORDS,
     "unpackb(data, **options) -> object: see pitcrew.codec."},
    {"register_type", pc_converters_register, METH_VARARGS, "register_type(type, encode): see pitcrew.register_type."},
    {"session_id", pc_session_id, METH_NOARGS, "session_id() -> int: see pitcrew.session."},
    {"session_state", pc_session_state, METH_NOARGS, "session_state() -> dict: see pitcrew.session."},
    {"live_sessions", pc_session_count, METH_NOARGS, "live_sessions() -> int: how many keep a state here."},
    {"live_refs", pc_refs_count, METH_NOARGS, "live_refs() -> int: how many objects the VM refers to."},
    {"tell", pc_function_tell, METH_VARARGS, "tell(function, args): calls it, and waits for nothing."},
    {"vm_tool", pc_function_tool, METH_O, "vm_tool(name) -> Function: see pitcrew.elixir."},
    {"deadline", pc_deadline, METH_NOARGS,
     "deadline() -> float | None\n\n"
     "Seconds until the caller gives up, 0.0 if it has by now; None if it waits for ever, or this thread runs no "
     "call.\n"
     "What the call spent waiting for its turn has been taken off. Most time-outs of Python take it as it is."},
    {"connect", pc_channel_connect, METH_VARARGS, "connect(path, token, role) -> fd: connects and sends `auth`."},
    {"read_hello", pc_hello_read, METH_O, "read_hello(fd) -> (list, or None at end of file; list of descriptors)."},
    {"open_buffers", pc_process_open_buffers, METH_VARARGS, "open_buffers(fd, most): takes the socket over."},
    {"block", pc_block_new, METH_O, "block(n) -> Block: see pitcrew.buffers."},
    {"write_frame", pc_channel_write_frame, METH_VARARGS, "write_frame(fd, frame): a list, or its bytes."},
    {"limit", pc_process_limit, METH_VARARGS, "limit(name, value): see pitcrew.limits."},
    {"log", pc_logging_log, METH_VARARGS,
     "log(level, message, logger, module, function, path, line, time_us) -> bool."},
    {"emit", (PyCFunction)(void (*)(void))pc_events_emit, METH_FASTCALL | METH_KEYWORDS,
     "emit(name, measurements=None, metadata=None) -> bool\n\n"
     "Tells the VM of an event, for its telemetry. The name is words with dots between them, or a sequence of words; "
     "measurements\n"
     "are a dict of numbers, metadata one of anything that calls can carry. False if it could not be sent: there was "
     "no room\n"
     "for it, or this process is no worker that serves. Never waits."},
    {"emit_span", (PyCFunction)(void (*)(void))pc_events_emit_span, METH_FASTCALL,
     "emit_span(name, duration_ns, measurements, metadata) -> bool: see pitcrew.events."},
    {"open_events", pc_events_open, METH_O, "open_events(credit): so many events may be sent at first."},
    {"serve", (PyCFunction)(void (*)(void))pc_serve, METH_VARARGS | METH_KEYWORDS,
     "serve(call_fd, side_fd, tools, max_frame=…, max_depth=…, …) -> 'eof' | 'shutdown'."},
    {"around", pc_around_set, METH_O, "around(callable or None): see pitcrew.profiler."},
    {"zygote_loop", pc_zygote_loop, METH_VARARGS, "zygote_loop(link_fd, argv) -> (wid, payload), in each worker."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pitcrew._core",
    .m_doc = "The part of Pitcrew that is written in C. Private: use `pitcrew`.",
    .m_size = -1,
    .m_methods = methods,
};

static int add_kinds(PyObject *module) {
#define X(name, number)                                                                                                \
    if (PyModule_AddIntConstant(module, "KIND_" #name, number) < 0) {                                                  \
        return -1;                                                                                                     \
    }
#include "wire/kinds.def"
#undef X
    return 0;
}

PyMODINIT_FUNC PyInit__core(void); /* for -Wmissing-prototypes */

PyMODINIT_FUNC PyInit__core(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL) {
        return NULL;
    }
    (void)pc_mark_find(); /* as early as possible; who needs it looks at the result */
    if (pc_errors_init(module) < 0 || pc_types_init(module) < 0 || pc_text_init() < 0 || pc_unpacker_init(module) < 0 ||
        pc_driver_init() < 0 || pc_loans_init() < 0 || pc_blocks_init(module) < 0 || pc_function_init(module) < 0 ||
        pc_batch_init() < 0 || pc_deadline_init() < 0 || pc_current_init() < 0 || pc_session_init() < 0 ||
        pc_events_init() < 0 || pc_context_init(module) < 0 || add_kinds(module) < 0 ||
        PyModule_AddStringConstant(module, "__version__", PC_VERSION) < 0 ||
        PyModule_AddIntConstant(module, "PROTOCOL", PC_PROTOCOL_VERSION) < 0 ||
        PyModule_AddIntConstant(module, "MAX_DEPTH", PC_MAX_DEPTH) < 0 ||
        PyModule_AddIntConstant(module, "MAX_FRAME", PC_MAX_FRAME) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
