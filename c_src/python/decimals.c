/*
 * Goes through Decimal's own methods and its exact constructor. Coefficients of 64 bits cross as text of the number;
 * larger ones as a tuple of digits, because int and str of many digits are refused by newer Pythons.
 */

#include "decimals.h"

#include "lazy.h"

enum { OTHER_TYPE = 1, FIELDS = 3 };

/* ---- Writing */

/* The digits as an int: Decimal's conversion knows no limit of digits. */
static PyObject *coefficient(PyObject *digits) {
    PyObject *class = pc_lazy_get(PC_LAZY_DECIMAL);
    PyObject *whole = class == NULL ? NULL : PyObject_CallFunction(class, "((iOi))", 0, digits, 0);
    PyObject *number = whole == NULL ? NULL : PyNumber_Long(whole);
    Py_XDECREF(whole);
    return number;
}

static int write_finite(struct pc_encoder *e, PyObject *digits, PyObject *exponent) {
    PyObject *number = coefficient(digits);
    int result = number == NULL || pc_encode_value(e, number) < 0 ? -1 : pc_encode_value(e, exponent);
    Py_XDECREF(number);
    return result;
}

/* The exponent of what is not finite is a letter: F, n, N. */
static int write_special(struct pc_encoder *e, PyObject *digits, PyObject *letter) {
    if (PyUnicode_CompareWithASCIIString(letter, "F") == 0) {
        pc_write_cstr(e->w, "inf");
    } else if (PyUnicode_CompareWithASCIIString(letter, "N") == 0) {
        return pc_encode_fail("a signaling NaN has no form on the wire");
    } else if (PyTuple_GET_SIZE(digits) > 0) {
        return pc_encode_fail("a NaN with diagnostic digits has no form on the wire");
    } else {
        pc_write_cstr(e->w, "NaN");
    }
    pc_write_int(e->w, 0);
    return 0;
}

static int write_parts(struct pc_encoder *e, PyObject *parts) {
    int sign;
    PyObject *digits, *exponent;
    if (!PyArg_ParseTuple(parts, "iO!O", &sign, &PyTuple_Type, &digits, &exponent)) {
        return -1;
    }
    size_t mark = pc_write_ext_begin(e->w);
    pc_write_array(e->w, FIELDS);
    pc_write_int(e->w, sign == 0 ? 1 : -1);
    int result = PyUnicode_Check(exponent) ? write_special(e, digits, exponent) : write_finite(e, digits, exponent);
    pc_write_ext_end(e->w, mark, PC_EXT_DECIMAL);
    return result;
}

int pc_decimal_write(struct pc_encoder *e, PyObject *value) {
    int is = pc_lazy_is(value, PC_LAZY_DECIMAL);
    if (is <= 0) {
        return is < 0 ? -1 : OTHER_TYPE;
    }
    PyObject *parts = PyObject_CallMethod(value, "as_tuple", NULL);
    int result = parts == NULL ? -1 : write_parts(e, parts);
    Py_XDECREF(parts);
    return result;
}

/* ---- Reading */

static PyObject *invalid(const char *reason) {
    PyErr_SetString(pc_DecodeError, reason);
    return NULL;
}

static PyObject *from_text(const char *text) {
    PyObject *class = pc_lazy_get(PC_LAZY_DECIMAL);
    return class == NULL ? NULL : PyObject_CallFunction(class, "s", text);
}

/* A coefficient of more than 64 bits. */
static PyObject *from_digits(int sign, PyObject *number, long long exponent) {
    PyObject *class = pc_lazy_get(PC_LAZY_DECIMAL);
    PyObject *whole = class == NULL ? NULL : PyObject_CallOneArg(class, number);
    PyObject *parts = whole == NULL ? NULL : PyObject_CallMethod(whole, "as_tuple", NULL);
    PyObject *decimal = NULL;
    if (parts != NULL) {
        decimal = PyObject_CallFunction(class, "((iOL))", sign < 0, PyTuple_GET_ITEM(parts, 1), exponent);
    }
    Py_XDECREF(whole);
    Py_XDECREF(parts);
    return decimal;
}

static PyObject *from_number(int sign, PyObject *number, long long exponent) {
    int overflow;
    long long small = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow < 0 || (overflow == 0 && small < 0)) {
        return invalid("a decimal whose coefficient is negative");
    }
    if (overflow > 0) {
        return from_digits(sign, number, exponent);
    }
    char text[64];
    (void)PyOS_snprintf(text, sizeof text, "%s%lldE%lld", sign < 0 ? "-" : "", small, exponent);
    return from_text(text);
}

static PyObject *from_word(int sign, PyObject *word, long long exponent) {
    if (exponent != 0) {
        return invalid("a decimal that is not finite, and has an exponent, which Python's cannot have");
    }
    if (PyUnicode_CompareWithASCIIString(word, "NaN") == 0) {
        return from_text(sign < 0 ? "-NaN" : "NaN");
    }
    if (PyUnicode_CompareWithASCIIString(word, "inf") == 0) {
        return from_text(sign < 0 ? "-Infinity" : "Infinity");
    }
    return invalid("a decimal whose coefficient is neither a number nor \"NaN\" nor \"inf\"");
}

/* Decimal's limits on digits and exponents are wider than any number that is used; the VM has none. */
static PyObject *checked(PyObject *decimal) {
    if (decimal == NULL && !PyErr_ExceptionMatches(pc_DecodeError) && PyErr_ExceptionMatches(PyExc_ArithmeticError)) {
        PyErr_Clear();
        return invalid("a decimal with more digits, or a larger exponent, than Python's can have");
    }
    return decimal;
}

PyObject *pc_decimal_read(struct pc_decoder *d) {
    struct pc_token array, sign, exponent;
    if (pc_decode_token(d, &array) < 0 || pc_decode_token(d, &sign) < 0) {
        return NULL;
    }
    if (array.type != PC_ARRAY || array.len != FIELDS || sign.type != PC_INT || (sign.i != 1 && sign.i != -1)) {
        return invalid("a decimal that is not [sign, coefficient, exponent]");
    }
    PyObject *number = pc_decode_value(d);
    PyObject *decimal = NULL;
    if (number == NULL || pc_decode_token(d, &exponent) < 0) {
        goto done;
    }
    if (exponent.type != PC_INT) {
        (void)invalid("a decimal whose exponent is no integer, or does not fit 64 bits");
    } else if (PyUnicode_Check(number)) {
        decimal = from_word((int)sign.i, number, exponent.i);
    } else if (PyLong_CheckExact(number)) {
        decimal = checked(from_number((int)sign.i, number, exponent.i));
    } else {
        (void)invalid("a decimal whose coefficient is no integer");
    }
done:
    Py_XDECREF(number);
    return decimal;
}
