/* Texts of enum pc_status. */

#include "limits.h"

const char *pc_status_text(enum pc_status status) {
    switch (status) {
    case PC_OK:
        return "no error";
    case PC_NO_MEMORY:
        return "out of memory";
    case PC_TOO_BIG:
        return "larger than the limit";
    case PC_TRUNCATED:
        return "the input ends inside a value";
    case PC_INVALID:
        return "not valid MessagePack";
    case PC_TOO_DEEP:
        return "nested too deeply";
    case PC_BUDGET:
        return "the work budget ran out";
    case PC_WRONG_TYPE:
        return "a value of another type was expected";
    }
    return "unknown status";
}
